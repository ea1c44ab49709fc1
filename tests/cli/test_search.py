"""A search at work, on a tiny network."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
SEARCH = ("sweep=search", "hydra.sweeper.n_trials=3", "planner=modcap", "planner.merge_count=range(0,3)")


@pytest.mark.slow
def test_a_search_runs_and_goes_on(mrecg: Call, small: list[str]) -> None:
    pytest.importorskip("optuna")
    words = ("quantize", *SEARCH, *small, "hydra.sweep.dir=found")
    code, out, err = mrecg(*words)
    assert code == 0, err
    found = json.loads(Path("found/search.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["completed"] * 3 and found["front"]
    for trial in found["trials"]:
        summary = json.loads((Path("found") / trial["folder"] / "summary.json").read_text())
        seconds = sum(summary["timing_s"].values()) + sum(summary["reused_s"].values())
        assert trial["values"] == [summary["quantized"]["top1"], pytest.approx(seconds)]
        assert 0.001 <= float(trial["params"]["method.regulariser"]) <= 1
        assert summary["options"]["method.regulariser"] == float(trial["params"]["method.regulariser"])
    assert "no other trial is better in both" in out and "search.png" in out and "report.html" in out
    assert "Traceback" not in out + err

    runs = {path: path.stat().st_mtime_ns for path in Path("found").glob("*/summary.json")}
    code, _, err = mrecg(*words, "hydra.sweeper.n_trials=4")
    assert code == 0, err
    again = {path: path.stat().st_mtime_ns for path in Path("found").glob("*/summary.json")}
    assert len(again) == 4 and runs.items() <= again.items()
    assert "sqlalchemy" not in sys.modules
    arguments = json.loads(Path("found/sweep.json").read_text())["arguments"]
    assert "hydra.sweeper.n_trials=4" in arguments and not any("sweep.dir" in word for word in arguments)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "planner.merge_count=interval(0,3)"), "hydra/sweeper=search chooses from it"),
        (("sweep=search", "method.lr_rounding=interval(0,1)"), "method.lr_rounding: 0.0"),
        (("sweep=search", "bits=w2a4,w9a9"), "'w9a9'"),
    ],
)
def test_a_wrong_axis_is_one_line_before_anything_runs(
    mrecg: Call, words: tuple[str, ...], message: str
) -> None:
    outcome = mrecg("quantize", *words)
    assert outcome.code == 2 and message in outcome.line
    assert not any(Path().iterdir())
