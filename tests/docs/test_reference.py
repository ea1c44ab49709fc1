"""The generated reference is up to date, and it describes all that is there and nothing else."""

import csv
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mrecg
from mrecg.cli.main import VERBS
from mrecg.config.paths import choices
from mrecg.config.schema import RunConfig
from mrecg.errors import DataError
from mrecg.methods.registry import METHODS
from mrecg.pipeline import run as pipeline
from mrecg.runs import layout

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"


def _load() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / "docs"))


make_reference = _load()


def text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def block(page: str, name: str) -> set[str]:
    """The names in the first cells of a block's tables."""
    found = re.search(rf"<!-- reference {re.escape(name)} -->\n(.*?)<!-- end -->", text(page), re.DOTALL)
    assert found is not None, name
    cells = re.findall(r"^\| (`.*?`) \|", found[1], re.MULTILINE)
    return {one for cell in cells for one in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("page", make_reference.pages(), ids=lambda page: page.stem)
def test_pages_are_up_to_date(page: Path) -> None:
    same = make_reference.page(page) == page.read_text(encoding="utf-8")
    assert same, "run python docs/make_reference.py write"


def test_every_block_is_on_a_page() -> None:
    assert [page.stem for page in make_reference.pages()] == ["commands", "errors", "run-folder", "settings"]
    found = [
        name
        for page in make_reference.pages()
        for _, name, _ in make_reference.BLOCK.findall(page.read_text())
    ]
    assert sorted(found) == sorted(make_reference.BLOCKS)


def keys(kind: Any, prefix: str = "") -> Iterator[str]:
    for part in fields(kind):
        if is_dataclass(part.type):
            yield from keys(part.type, f"{prefix}{part.name}.")
        elif part.name != "method":
            yield f"{prefix}{part.name}"


def test_every_key_has_a_row_and_an_anchor() -> None:
    anchors = re.findall(
        r'^\| <a id="([\w.]+)"></a>`([\w.]+)` \| `[^`]+` \| .+ \| .+\. \|$', text("settings"), re.M
    )
    own = {key for anchor, key in anchors if anchor == key}
    assert own >= set(keys(RunConfig))
    assert len(dict(anchors)) == len(anchors) > 120
    for name in METHODS:
        for part in fields(METHODS.get(name).settings):
            assert part.name == "name" or f"method.{part.name}" in {key for _, key in anchors}


def test_every_group_and_choice_is_there() -> None:
    groups = [*(group for group in choices("") if group != "hydra"), "hydra/launcher", "hydra/sweeper"]
    for group in groups:
        assert f"\n## {group}\n" in text("settings")
        for name in choices(group):
            assert f"\n| `{group}={name}` | " in text("settings")


@dataclass(frozen=True, kw_only=True)
class Undocumented:
    """A group with a key without help."""

    told: int = 1
    """The first one."""
    untold: int = 2


def test_a_key_without_help_is_refused() -> None:
    rows = make_reference._keys(Undocumented, "new.", {"told": 1, "untold": 2})
    anchor = '<a id="new.told"></a>`new.told`'
    assert next(rows) == (anchor, "`1`", "whole number", "The first one.")
    with pytest.raises(DataError, match=r"^new\.untold: has no text; write"):
        next(rows)


@pytest.mark.parametrize("kind", [Undocumented])
def test_a_column_without_meaning_is_refused(kind: type) -> None:
    with pytest.raises(DataError, match=r"^Undocumented\.untold: has no text"):
        make_reference.described(kind, {})


def test_every_command_and_argument_is_there() -> None:
    page = text("commands")
    for verb in VERBS:
        assert f"\n## {verb}\n" in page and f"\nmrecg {verb}" in page
    flags = [
        flag
        for make in make_reference.PARSERS.values()
        for parser in (make(), *_inner(make()))
        for action in parser._actions
        for flag in action.option_strings
        if flag not in ("-h", "--help")
    ]
    assert len(flags) > 15
    for flag in flags:
        assert re.search(rf"`{flag}[ `]", page), flag
    for key in make_reference.export.KEYS:
        assert f"| `{key}=` |" in page


def _inner(parser: Any) -> list[Any]:
    return [
        inner
        for action in parser._actions
        if isinstance(action.choices, dict)
        for inner in action.choices.values()
    ]


def test_every_exit_code_and_class_is_there() -> None:
    page = text("errors")
    kinds = make_reference.error_classes()
    assert block("errors", "errors") == {kind.__name__ for kind in kinds} and len(kinds) > 10
    codes = set(map(int, re.findall(r"^\| (\d+) \|", page, re.MULTILINE)))
    assert codes == {0, *(kind.exit_code for kind in kinds)}


def test_every_environment_variable_that_is_read_is_there() -> None:
    source = "".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    read = set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', source)) | set(
        re.findall(r'"(MRECG_[A-Z_]+)"', source)
    )
    read -= {"HYDRA_FULL_ERROR", "COMP_LINE", "PWD"}  # of Hydra and shells, for our own use
    assert len(read) > 6
    for name in read:
        assert f"`{name}`" in text("errors"), name


def test_every_constant_of_the_layout_is_a_file_of_a_table() -> None:
    listed = {*make_reference.RUN, *make_reference.SWEEP, *make_reference.OTHERS}
    other = {"DECISION_COLUMNS", "OPENED", "FOLDERS", "COMPLETED", "FAILED", "RUNNING", "OPEN"}
    assert {name for name in vars(layout) if name.isupper()} == listed | other


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_config: Callable[..., RunConfig]) -> Path:
    """The folder of a run with all that a run can do."""
    place = tmp_path_factory.mktemp("reference") / "run"
    config = tiny_config(
        method={"name": "brecq"},
        rebasis={"name": "full"},
        finish={"name": "network", "steps": 2},
        planner={"name": "modcap", "merge_boundary": True, "accept": "held_out"},
        bits={"layers": {"kind:depthwise": 4}},
    )
    pipeline.run(config, place)
    return place


def test_every_file_of_a_run_is_described(folder: Path) -> None:
    found = {file.name for file in folder.iterdir()}
    listed = {name for constant in make_reference.RUN for name in make_reference.names_of(constant)}
    of_command_line = {layout.LOG, layout.WANDB, layout.HYDRA, layout.LOCK}
    assert found <= listed
    assert listed - found == of_command_line | {layout.CHECKPOINT}
    assert block("run-folder", "files of a run") >= listed


CSV = {"units.csv": "units.csv", "finishing.csv": "finishing.csv", "decisions.csv": "decisions.csv"}


@pytest.mark.parametrize("name", CSV)
def test_every_column_is_described(name: str, folder: Path) -> None:
    with (folder / name).open() as file:
        assert set(next(csv.reader(file))) == block("run-folder", name)


def test_every_column_of_a_curve_is_described(folder: Path) -> None:
    curves = list((folder / "curves").iterdir())
    assert any(curve.name.endswith(".scales.csv") for curve in curves)
    for curve in curves:
        with curve.open() as file:
            assert set(next(csv.reader(file))) == block("run-folder", "curves")


def described(name: str, found: dict[str, Any]) -> None:
    assert set(found) == block("run-folder", name), name


def test_every_key_of_the_json_files_is_described(folder: Path) -> None:
    plan, weights, environment, images = (
        json.loads((folder / name).read_text())
        for name in ("plan.json", "weights.json", "environment.json", "images.json")
    )
    described("Plan", plan)
    described("Criterion", plan["criteria"][0])
    described("UnitFacts", plan["facts"][0])
    described("LayerFacts", plan["facts"][0]["layers"][0])
    described("Verdict", plan["verdicts"][0])
    described("LayerBits", next(iter(plan["layer_bits"].values())))
    for merge in plan["merges"]:
        described("Merge", merge)
    described("Weights", weights)
    described("environment.json", environment)
    assert set(images) == {"calibration", "evaluation"}
    for part in images.values():
        described("Draw", part)


def test_every_key_of_the_summary_is_described(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    absent = {"metrics", "output_error", "error", "block_errors", "average_bits"}
    assert set(summary) | absent == block("run-folder", "RunSummary")
    for key, name in {
        "bits": "Bits", "fp": "Accuracy", "quantized": "Accuracy", "to_fp": "ToFullPrecision",
        "oscillation": "Oscillation", "cache": "CacheUse", "preprocessing": "Preprocessing",
        "rebasis": "rebasis",
    }.items():  # fmt: skip
        described(name, summary[key])
    described("UnitResult", summary["units"][0])
    described("GroupSummary", summary["group_results"][0])
    for key in ("weight_ranges", "activation_ranges"):
        described(key, next(iter(summary[key].values())))
    assert set(summary["finish"]) | {"diverged_after"} == block("run-folder", "finish")
    for key in ("calibration", "evaluation"):
        assert {*summary[key], "names"} == block("run-folder", "Draw")
    assert {*summary["weights"], "mapping"} == block("run-folder", "Weights")


def test_every_name_of_the_python_api_is_on_its_page() -> None:
    shown = set(re.findall(r"^::: mrecg\.(\w+)$", text("python-api"), re.MULTILINE))
    assert shown == {name for name in mrecg.__all__ if name != "__version__"}
    assert "`mrecg.__version__`" in text("python-api")
