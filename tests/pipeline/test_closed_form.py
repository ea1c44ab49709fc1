"""A run with method=closed_form: its plan, its folder, and what a user is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mrecg.config.schema import RunConfig
from mrecg.pipeline import planning
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.planning import cut, moment_notes

Configure = Callable[..., RunConfig]
METHOD = {"name": "closed_form", "images": 16, "held_out": 8}


def test_a_run_leaves_a_whole_folder_and_resumes(tiny_config: Configure, tmp_path: Path) -> None:
    config = tiny_config(method=METHOD, granularity={"name": "mixed"}, planner={"name": "loss"})
    result = pipeline.run(config, tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert result.plan.note == (
        "method=closed_form solves each layer by itself, so no units are merged and no probe was run."
    )
    assert plan["note"] == result.plan.note and plan["planner"] == "loss"
    assert all(len(group) == 1 for group in result.plan.groups)
    assert result.summary["optimisation_steps"] == 0 and result.summary["method"] == "closed_form"
    assert (tmp_path / "run" / "report.html").exists()
    before = result.network.state()
    # As if it had been interrupted: only the summary is missing.
    (tmp_path / "run" / "summary.json").unlink()
    again = pipeline.run(config, tmp_path / "run")
    after = again.network.state()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_very_wide_layers_are_named(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrecg.quant.layer_rows.LARGEST", 20)
    monkeypatch.setattr(planning, "LARGEST", 20)
    solved, plain = tiny_config(method=METHOD), tiny_config(method={"name": "rtn"})
    ranges = tiny_config(method={"name": "rtn"}, calibration={"weight_range": "output"})
    built = pipeline.build(plain.model, seed=0)
    network = cut(built.model, plain, built.preprocessing.input_shape)
    assert moment_notes(network, plain) == []
    notes = moment_notes(network, solved)
    assert any("more than 20: their moments are taken in" in note for note in notes)
    assert all(note.endswith("only the mean of its output is corrected") for note in notes)
    assert len(moment_notes(network, ranges)) == len(notes)
    assert not any("corrected" in note for note in moment_notes(network, ranges))
