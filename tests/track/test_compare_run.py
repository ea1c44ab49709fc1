"""The comparison of a sweep as a W&B run of its own, read back from its offline file, and the last line."""

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from offline_run import OfflineRun

from mrecg.config.schema import RunConfig
from mrecg.runs.load import load_run
from mrecg.runs.manifest import Job, write_jobs
from mrecg.track.trackers import commands, compare_sweep
from mrecg.track.wandb_logger import compare_run

Config = Callable[..., RunConfig]
Settled = Callable[[Path], OfflineRun]


@pytest.fixture
def sweep(folders: SimpleNamespace, tmp_path: Path) -> Path:
    """A sweep of a block-wise run, a merged one, a control and one that failed."""
    place = tmp_path / "2026-01-31" / "12-00-00-sweep"
    words = (("granularity=block",), ("granularity=mixed",), ("granularity=block", "trainer.steps=240"))
    jobs = [Job(number=i, identity=f"{i:016x}", folder=f"{i}", overrides=own) for i, own in enumerate(words)]
    write_jobs(place, jobs, command="", verb="quantize", arguments=[])
    for i, merged in enumerate(((), folders.merged, ())):
        folders.write_run(place / f"{i}", method="brecq_joint", merged=merged, level=1 + i)
    folders.write_failed(place / "3")
    return place


def test_it_compares_every_run_that_is_complete_once(
    sweep: Path, tiny_config: Config, settled: Settled
) -> None:
    config = tiny_config(logger={"wandb": "offline", "tags": ["paper"], "project": "mine"})
    for _ in range(2):  # also where the sweep is run again on its folder
        compare_sweep(config, sweep)
    (local,) = sweep.glob("wandb/offline-run-*")
    read = settled(sweep / "wandb")
    assert (read.job_type, read.group, read.project) == ("compare", "2026-01-31-12-00-00-sweep", "mine")
    assert read.tags == ("paper",) and read.exit_code == 0 and read.summary["runs"] == 3
    (row,) = read.history
    table = json.loads((local / "files" / row[f"{compare_run.TABLE}.path"]).read_text())
    found = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    assert [one["label"] for one in found] == ["BRECQ", "MRECG + BRECQ", "BRECQ, 240 steps"]
    for one, place in zip(found, "012", strict=True):
        summary = json.loads((sweep / place / "summary.json").read_text())
        assert one["oscillation_loss_peak"] == summary["oscillation"]["loss_peak"]
        assert one["top1"] == summary["quantized"]["top1"]
    picture = local / "files" / row[f"{compare_run.CURVES}.path"]
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_only_its_own_earlier_run_makes_room(sweep: Path, tiny_config: Config) -> None:
    config = tiny_config(logger={"wandb": "offline"})
    (others := sweep / "wandb" / "offline-run-20260131_120000-abcd1234").mkdir(parents=True)
    compare_sweep(config, sweep)
    (first,) = set(sweep.glob("wandb/offline-run-*")) - {others}
    compare_sweep(config, sweep)
    (second,) = set(sweep.glob("wandb/offline-run-*")) - {others}
    assert others.is_dir() and first.name.rpartition("-")[2] == second.name.rpartition("-")[2]


def test_sweeps_of_one_name_have_runs_of_their_own(
    sweep: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids(place: Path) -> set[str]:
        compare_sweep(tiny_config(logger={"wandb": "offline", "group": "ours"}), place)
        return {run.name.rpartition("-")[2] for run in place.glob("wandb/offline-run-*")}

    for name in ("one", "two"):
        shutil.copytree(sweep, tmp_path / name / "sweep")
    found = ids(tmp_path / "one" / "sweep"), ids(tmp_path / "two" / "sweep")
    monkeypatch.chdir(tmp_path / "one")
    assert ids(Path("sweep")) == found[0]
    monkeypatch.setattr(platform, "node", lambda: "another")
    shutil.rmtree(tmp_path / "one" / "sweep" / "wandb")
    assert len({*map(frozenset, found), frozenset(ids(Path("sweep")))}) == 3


def test_a_run_is_read_once_and_without_its_curves(
    sweep: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    read: list[Path] = []

    def load(path: Path, **how: Any) -> Any:
        read.append(path)
        assert how == {"detailed": False}
        return load_run(path, **how)

    monkeypatch.setattr(compare_run, "load_run", load)
    compare_sweep(tiny_config(logger={"wandb": "offline"}), sweep)
    assert settled(sweep / "wandb").summary["runs"] == 3
    assert sorted(read) == [sweep / name for name in "0123"]


@pytest.mark.parametrize("left", [0, 1])
def test_one_run_is_nothing_to_compare(
    left: int, sweep: Path, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    for place in range(left, 3):
        (sweep / f"{place}" / "summary.json").unlink()
    compare_sweep(tiny_config(logger={"wandb": "offline"}), sweep)
    assert not (sweep / "wandb").exists() and not caplog.text


def test_without_wandb_nothing_is_written(sweep: Path, tiny_config: Config) -> None:
    compare_sweep(tiny_config(), sweep)
    assert not (sweep / "wandb").exists()


def test_what_goes_wrong_is_a_warning(
    sweep: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise RuntimeError("no\nway")

    monkeypatch.setattr(compare_run, "send", fail)
    compare_sweep(tiny_config(logger={"wandb": "offline"}), sweep)
    assert "the comparison was not sent (RuntimeError: no way)" in caplog.text


@pytest.mark.parametrize(
    ("made", "line"),
    [
        ([], []),
        (["wandb/offline-run-1"], ["wandb sync {0}/wandb && mrecg dashboard {0}"]),
        (["0/wandb/offline-run-1"], ["wandb sync {0}/*/wandb && mrecg dashboard {0}"]),
        (
            ["wandb/offline-run-1", "0/wandb/offline-run-2"],
            ["wandb sync {0}/wandb {0}/*/wandb && mrecg dashboard {0}"],
        ),
        (["0/wandb/run-2"], ["mrecg dashboard {0}"]),
    ],
    ids=str,
)
def test_the_last_line_names_the_commands(made: list[str], line: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    for name in made:
        (folder / name).mkdir(parents=True)
    assert commands(folder) == [f"W&B: {one.format(repr(str(folder)))}" for one in line]
