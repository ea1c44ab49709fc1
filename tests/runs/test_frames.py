"""Run folders as a pandas table."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from run_folders import write_failed, write_run

import mrecg
from mrecg.errors import ConfigError, DataError


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_run(tmp_path / "10", seed=1)
    write_run(tmp_path / "deep" / "2", seed=2)
    write_failed(tmp_path / "9", error="no memory")
    summary = json.loads((tmp_path / "10" / "summary.json").read_text())
    own: dict[str, Any] = {"fp": {"mIoU": 0.5}, "quantized": {"mIoU": None}}
    summary |= {"metrics": own, "options": {"method.loss": "fisher_diag"}}
    (tmp_path / "10" / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_a_run_is_a_row_with_its_settings_and_numbers(runs: Path) -> None:
    frame = mrecg.read_runs(runs).set_index("folder")
    assert list(frame.index) == [str(runs / place) for place in ("9", "10", "deep/2")]
    summary = json.loads((runs / "deep" / "2" / "summary.json").read_text())
    row = frame.loc[str(runs / "deep" / "2")]
    assert row["top1"] == summary["quantized"]["top1"] and row["top1_fp"] == summary["fp"]["top1"]
    assert (row["seed"], row["weight_bits"], row["status"]) == (2, summary["bits"]["weight"], "completed")
    first = frame.loc[str(runs / "10")]
    assert first["method.loss"] == "fisher_diag" and first["metric_mIoU_fp"] == 0.5
    assert math.isnan(first["metric_mIoU"]) and math.isnan(row["metric_mIoU_fp"])
    assert (
        frame.loc[str(runs / "9"), "status"] == "failed"
        and frame.loc[str(runs / "9"), "error"] == "no memory"
    )


def test_one_folder_or_several_may_be_named(runs: Path) -> None:
    assert len(mrecg.read_runs(str(runs / "10"))) == 1
    assert len(mrecg.read_runs([runs / "10", str(runs / "deep")])) == 2


def test_a_broken_run_is_left_out_with_a_warning(runs: Path) -> None:
    (runs / "10" / "summary.json").write_text("{")
    with pytest.warns(
        UserWarning,
        match=r"1 of 3 runs cannot be read and are left out: .*summary.json: not readable as JSON",
    ):
        assert len(mrecg.read_runs(runs)) == 2


def test_no_runs_and_no_pandas_are_a_line(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such folder"):
        mrecg.read_runs(runs / "nothing")
    (runs / "empty").mkdir()
    with pytest.raises(DataError, match="no run in it"):
        mrecg.read_runs(runs / "empty")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"a table needs the package pandas: pip install 'mrecg\[pandas\]'"):
        mrecg.read_runs(runs)
