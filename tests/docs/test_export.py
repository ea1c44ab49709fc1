"""docs/how-to/export.md has the tables of what was measured."""

import json
from pathlib import Path

from benchmarks.inference import BEGIN, END, lines

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_are_up_to_date():
    content = json.loads((DOCS / "inference.json").read_text())
    page = (DOCS / "how-to" / "export.md").read_text()
    found = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    text = "\n".join(lines(content))
    assert found == f"\n{text}\n", (
        "run python -m benchmarks.inference --json ... --write docs/how-to/export.md"
    )


def test_every_network_and_width_is_there_and_agrees():
    runs = json.loads((DOCS / "inference.json").read_text())["runs"]
    widths = {(run["bits"]["weight"], run["bits"]["activation"]) for run in runs}
    models = {run["model"] for run in runs}
    assert widths == {(8, 8), (4, 8), (4, 4), (2, 4)} and len(models) == 3 and len(runs) == 12
    for run in runs:
        assert run["bytes"]["packed"] < 1.03 * run["bytes"]["by_bits"]
        for form in ("onnx", "pt2"):
            for one in run["agreement"][form]:
                assert one["images"] >= 256 and one["farthest"] < 1e-3
                assert one["flips"] <= one["images"] - one["same"]
