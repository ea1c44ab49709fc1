"""The drawing of the packages is that of the code, and what the page names is there."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_drawing_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_architecture.py"))
    assert made["PICTURE"].read_text() == made["picture"](), "python docs/make_architecture.py write"


def test_every_import_leads_downwards() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_architecture.py"))
    floors = made["floors"]()
    place = {name: i for i, row in enumerate(floors) for name in row}
    graph = made["imports"](place)
    assert sum(map(len, graph.values())) > 50
    assert all(place[name] < place[other] for name, others in graph.items() for other in others)
    packages = {path.stem for path in (ROOT / "src" / "mrecg").glob("[!_]*") if path.suffix in ("", ".py")}
    assert packages == set(place)


def test_every_file_that_is_named_is_there() -> None:
    for page in ("docs/development/architecture.md", "docs/how-to/extending.md", "CONTRIBUTING.md"):
        named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|toml))[`:]", (ROOT / page).read_text())
        missing = {
            name
            for name in named
            if not any(
                (ROOT / start / name).is_file() for start in ("", "src", "src/mrecg", "docs", "docs/plugin")
            )
        }
        assert missing <= {"utils.py", "methods/NAME.py", "data/NAME.py", "evaluate.py"}, page


def test_every_test_that_the_promises_name_is_there() -> None:
    text = (ROOT / "docs" / "development" / "reliability.md").read_text()
    tests = {path.name: path for path in (ROOT / "tests").rglob("*.py")}
    functions = {
        name for path in tests.values() for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    files = set(re.findall(r"`(tests/[\w/.]+)", text))
    assert len(files) > 30 and not {name for name in files if not (ROOT / name).exists()}
    assert not set(re.findall(r"`(test_\w+)`", text)) - functions
    assert not set(re.findall(r"`(test_\w+\.py)`", text)) - set(tests)
