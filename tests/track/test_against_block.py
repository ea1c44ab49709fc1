"""Errors against the block-wise run of the same settings: known where there is one, and said nowhere else."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun

from mrecg.config.outputs import LoggerConfig
from mrecg.config.schema import RunConfig
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.result import Result
from mrecg.reconstruct.events import UnitResult
from mrecg.track.wandb_logger.metrics import AGAINST_BLOCK, ERROR, FLOOR, LOSS
from mrecg.track.wandb_logger.wandb_run import WandbRun

Settled = Callable[[Path], OfflineRun]
Run = Callable[..., Result]
BLOCK: dict[str, Any] = {"granularity": {"name": "block"}}
MERGED: dict[str, Any] = {"granularity": {"name": "fixed", "groups": [["first", "second"]]}}
PROBED: dict[str, Any] = {"planner": {"name": "error", "merge_count": 1, "merge_boundary": True}}


@pytest.fixture
def run(tiny_config: Callable[..., RunConfig], tmp_path: Path) -> Run:
    """Run the tiny network in a folder of a name, all with one shared folder."""

    def go(name: str, **settings: Any) -> Result:
        settings = {"shared": {"folder": str(tmp_path / "shared")}, **settings}
        return pipeline.run(tiny_config(**settings), tmp_path / name)

    return go


def errors(result: Result) -> list[float]:
    return [unit.error for unit in result.units]


def test_a_merged_run_is_compared_with_the_block_wise_one_before_it(
    run: Run, tmp_path: Path, settled: Settled
) -> None:
    block = run("block", **BLOCK)
    merged = run("merged", **MERGED, logger={"wandb": "offline"})
    read = settled(tmp_path / "merged")
    expected = [after / before - 1 for after, before in zip(errors(merged), errors(block), strict=True)]
    assert read.curve(AGAINST_BLOCK) == [(i, pytest.approx(value)) for i, value in enumerate(expected)]
    assert expected[0] == 0.0 and any(expected)  # the unit before the merge is the same in both
    definition = read.definitions[AGAINST_BLOCK]
    assert definition.axis == "unit" and not definition.hidden and not definition.in_summary
    kept = json.loads((tmp_path / "merged" / "summary.json").read_text())
    assert kept["block_errors"] == errors(block)  # what W&B shows is in the folder, too
    assert kept["reused_s"]["plan"] == 0.0  # nothing was made of that run, so it is no cost of this one


def test_floors_stand_after_the_last_unit_of_each_group(run: Run, tmp_path: Path, settled: Settled) -> None:
    merged = run("merged", **MERGED, logger={"wandb": "offline"})
    read = settled(tmp_path / "merged")
    floors = {group.name.rpartition("+")[2]: group.floor for group in merged.groups}
    names = merged.plan.units
    assert read.curve(FLOOR) == [(i, floors[name]) for i, name in enumerate(names) if name != "first"]
    assert len(read.curve(LOSS)) == len(read.curve(ERROR)) == len(names)
    rows = [row for row in read.history if FLOOR in row]
    assert all(LOSS in row for row in rows)  # in the rows of the units: a resumed run counts rows


def test_a_second_pass_has_floors_of_its_own(run: Run, tmp_path: Path, settled: Settled) -> None:
    brecq = {"name": "brecq", "scale_steps": 1.0}
    result = run("brecq", **BLOCK, method=brecq, logger={"wandb": "offline"})
    last = {group.name: group.floor for group in result.groups if group.task == result.groups[-1].task}
    read = settled(tmp_path / "brecq")
    assert read.curve(FLOOR) == [
        (i, last[name]) for i, name in enumerate(result.plan.units) if last[name] is not None
    ]


def test_the_plans_own_probe_is_enough(run: Run) -> None:
    merged = run("merged", **PROBED, shared={"folder": None})
    assert merged.plan.merges
    block = run("block", **BLOCK, shared={"folder": None})
    assert list(merged.summary["block_errors"]) == errors(block)


@pytest.mark.parametrize("planner", ["safe", "budget"])
def test_every_planner_finds_the_run_before_it(planner: str, run: Run) -> None:
    block = run("block", **BLOCK)
    merged = run("merged", planner={"name": planner, "merge_boundary": True, "min_gain": 0})
    if merged.plan.merges or merged.plan.verdicts:
        assert list(merged.summary["block_errors"]) == errors(block)
    else:
        assert "block_errors" not in merged.summary


@pytest.mark.parametrize(
    "before",
    [
        {"seed": 1},
        {"bits": {"weight": 3}},
        {"trainer": {"steps": 3}},
        {"method": {"name": "brecq_joint"}},
        {"data": {"calibration_images": 11}},
    ],
    ids=str,
)
def test_other_settings_are_no_comparison(before: dict[str, Any], run: Run) -> None:
    run("block", **BLOCK, **before)
    assert "block_errors" not in run("merged", **MERGED).summary


def test_a_shorter_probe_is_no_comparison(run: Run) -> None:
    planner = {**PROBED["planner"], "probe_steps": 1}
    assert "block_errors" not in run("merged", planner=planner).summary


def test_what_merges_nothing_is_the_block_wise_run(run: Run, tmp_path: Path, settled: Settled) -> None:
    run("block", **BLOCK)
    none = {"planner": {"name": "modcap", "merge_count": 0}}
    assert "block_errors" not in run("none", **none, logger={"wandb": "offline"}).summary
    assert AGAINST_BLOCK not in settled(tmp_path / "none").definitions


@pytest.mark.parametrize("block", [0.0, math.nan, math.inf])
def test_an_error_that_nothing_compares_with_is_left_out(
    block: float, tmp_path: Path, settled: Settled
) -> None:
    one = WandbRun(LoggerConfig(), folder=tmp_path, name="one", settings={})
    one.block_wise([block, 0.5])
    for index, name in enumerate("ab"):
        one.unit(index, UnitResult(name=name, group=index, error=0.25, loss=1.0))
    one.finish({})
    read = settled(tmp_path)
    assert read.curve(AGAINST_BLOCK) == [(1, -0.5)] and len(read.curve(ERROR)) == 2
