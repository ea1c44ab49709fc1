"""docs/results/benchmarks.md is what the generator makes of the numbers beside it."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.report import page

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS = DOCS / "benchmarks"


def test_the_page_is_up_to_date() -> None:
    files = sorted(path for path in NUMBERS.glob("*.json") if path.name != "growth.json")
    machines = [(path.name, json.loads(path.read_text())) for path in files]
    growth = ("growth.json", json.loads((NUMBERS / "growth.json").read_text()))
    made = page(machines, growth, "../images/growth.png")
    assert (DOCS / "results" / "benchmarks.md").read_text() == made, (
        "run python -m benchmarks.report docs/benchmarks/cpu*.json --growth docs/benchmarks/growth.json"
    )
    assert (DOCS / "images" / "growth.png").is_file()


def test_all_networks_are_there() -> None:
    for file, threads in (("cpu.json", 1), ("cpu_two_threads.json", 2)):
        content = json.loads((NUMBERS / file).read_text())
        assert content["device"]["threads"] == threads
        assert list(content["networks"]) == ["embedded", "efficientnet_lite0", "resnet18", "resnet50"]


STORED = sorted(DOCS.rglob("*.json"))
PLACE = re.compile(r"(?<![\w:/.$~])/(?:[\w.-]+/){2,}[\w.-]+")
"""An absolute path of three parts or more."""


@pytest.mark.parametrize("file", STORED, ids=lambda path: path.name)
def test_stored_results_name_no_place_of_a_machine(file: Path) -> None:
    assert PLACE.findall(file.read_text(encoding="utf-8")) == []


def test_places_are_recognised() -> None:
    assert PLACE.findall('"of /home/me/x.py:3", "pkg://a/models/b.pth", "docs/a/b/c", "1/2/3"') == [
        "/home/me/x.py"
    ]
