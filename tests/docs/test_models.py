"""docs/reference/models.md says what the code does."""

import importlib.util
from pathlib import Path

from conf_networks import each, network

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("make_models", DOCS / "make_models.py")
assert spec is not None and spec.loader is not None
make_models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_models)
TEXT = (DOCS / "reference" / "models.md").read_text()


@each(make_models.names())
def test_the_line_of_each_network_is_up_to_date(name: str) -> None:
    _, _, parameters, blocks = network(name)
    line, notes = make_models.describe(name, parameters, blocks)
    assert line in TEXT.splitlines(), "run python docs/make_models.py"
    assert all(note in TEXT.splitlines() for note in notes)


def test_no_line_is_left_over() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| `") and "`model=`" not in line]
    assert [line.split("`")[1] for line in lines] == make_models.names()
