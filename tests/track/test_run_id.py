"""A run that is resumed goes on with the same W&B run, and none of its rows is there twice."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun

from mrecg.config.outputs import LoggerConfig
from mrecg.config.schema import RunConfig
from mrecg.config.validate import run_config
from mrecg.pipeline import run as pipeline
from mrecg.reconstruct.events import CurvePoint, GroupResult, UnitResult
from mrecg.track.wandb_logger.offline import read_history, records
from mrecg.track.wandb_logger.run_id import FILE, forget, run_id
from mrecg.track.wandb_logger.wandb_run import WandbRun

ROW = tuple[int, dict[str, Any]]


def rows(folder: Path) -> list[ROW]:
    """Numbers and values, without the times."""
    return [
        (row["_step"], {key: value for key, value in row.items() if not key.startswith("_")})
        for row in read_history(str(folder))
    ]


def identity(folder: Path) -> str:
    return next(str(r.run.run_id) for r in records(folder) if r.WhichOneof("record_type") == "run")


def test_a_resumed_run_has_the_same_id_and_goes_on_behind_the_rows_that_are_kept(
    tiny_config: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settled: Callable[[Path], OfflineRun],
) -> None:
    config = tiny_config(
        logger={"wandb": "offline"}, trainer={"steps": 3}, method={"name": "brecq", "scale_steps": 1.0}
    )

    def stop() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mrecg.track.csv_files.CsvFiles.unit", _third(stop))
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(config, tmp_path)
    assert (tmp_path / FILE).is_file()
    (first,) = tmp_path.glob("wandb/offline-run-*")
    settled(first)
    pipeline.run(config, tmp_path)
    assert not (tmp_path / FILE).exists()
    (second,) = set(tmp_path.glob("wandb/offline-run-*")) - {first}
    assert settled(second).summary["status"] == "completed"
    assert identity(first) == identity(second)
    whole = tmp_path / "whole"
    pipeline.run(config, whole)
    settled(whole)
    before, after, expected = ([row for _, row in rows(folder)] for folder in (first, second, whole))
    tables = after.pop(), expected.pop()  # the last row, whose files W&B names by chance
    assert all("tables/units._type" in row for row in tables)
    assert 0 < len(before) < len(expected) and before + after == expected
    for folder in (first, second, whole):
        assert [number for number, _ in rows(folder)] == list(range(len(rows(folder))))


def _third(then: Callable[..., None]) -> Callable[..., None]:
    from mrecg.track.csv_files import CsvFiles

    unit, calls = CsvFiles.unit, []

    def do(self: CsvFiles, index: int, result: UnitResult) -> None:
        calls.append(index)
        unit(self, index, result)
        if len(calls) == 3:
            then()

    return do


def test_an_id_lives_as_long_as_its_run(tmp_path: Path) -> None:
    config = run_config({})
    one = run_id(config, tmp_path)
    assert one is not None and run_id(config, tmp_path) == one
    assert run_id(run_config({"name": "other", "logger": {"wandb": "online"}}), tmp_path) == one
    assert run_id(run_config({"seed": 1}), tmp_path) != one
    one = run_id(config, tmp_path)
    assert run_id(run_config({"resume": "never"}), tmp_path) != one
    one = run_id(config, tmp_path)
    forget(tmp_path)
    forget(tmp_path)
    assert run_id(config, tmp_path) != one


@pytest.mark.parametrize("content", ["", "[]", '{"id": "../../x"}', '{"id": 1}', "\x00"])
def test_a_file_that_is_no_id_is_replaced(content: str, tmp_path: Path) -> None:
    config = run_config({})
    one = run_id(config, tmp_path)
    assert one is not None
    (tmp_path / FILE).write_text(content)
    assert run_id(config, tmp_path) not in (one, None)


def test_a_folder_that_cannot_hold_it_costs_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "wandb").write_text("no folder")
    assert run_id(run_config({}), tmp_path) is not None
    assert "mrecg-run.json is not written" in caplog.text


def test_the_agents_id_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "theirs")
    assert run_id(run_config({}), tmp_path) is None and not (tmp_path / "wandb").exists()


def walk(run: WandbRun, *, attempts: tuple[int, ...]) -> None:
    """A group whose earlier attempts end after some points, and a second one."""
    run.begin(["a", "b"], 8)
    for count in (*attempts, 4):
        run.group("a", ["a"], 4, 0.0)
        run.curve("a", "joint", [_point(i) for i in range(count)], count)
    run.unit(0, UnitResult(name="a", group=0, error=0.1, loss=0.2))
    run.finished(GroupResult(name="a", task="joint", steps=4, seconds=0.0, curve=(), retries=2))
    run.group("b", ["b"], 4, 0.0)
    run.curve("b", "joint", [_point(i) for i in range(4)], 4)
    run.finish({})


def _point(step: int) -> CurvePoint:
    return CurvePoint(step=step, reconstruction=1.0, rounding=None, total=1.0, beta=None)


def test_rows_behind_a_group_that_diverged_have_the_numbers_that_a_resumed_run_gives_them(
    tmp_path: Path, settled: Callable[[Path], OfflineRun]
) -> None:
    found = []
    for name, attempts in (("live", (3, 2)), ("again", ())):
        walk(WandbRun(LoggerConfig(), folder=tmp_path / name, name=name, settings={}), attempts=attempts)
        settled(tmp_path / name)
        found.append([(number, row) for number, row in rows(tmp_path / name) if "total/b" in row])
    assert found[0] == found[1] and len(found[0]) == 4


def test_what_the_server_has_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.track.test_sender import Fake

    fake = Fake("", lambda: None, starting_step=3)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="x", settings={}, run_id="0" * 8)
    run.begin(["a"], 8)
    run.curve("a", "joint", [_point(i) for i in range(6)], 6)
    assert sorted(fake.rows) == [3, 4, 5] and [row["step"] for row in fake.rows.values()] == [3, 4, 5]
