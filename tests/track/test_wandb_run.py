"""W&B offline: a real run, read back from the file that it leaves."""

import os
import random
import socket
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mrecg import pipeline
from mrecg.config.schema import LoggerConfig, RunConfig
from mrecg.errors import DataError
from mrecg.reconstruct.records import CurvePoint
from mrecg.result import Result
from mrecg.track.wandb_run import WandbRun, _log_records, read_history

Config = Callable[..., RunConfig]


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[pytest.MonkeyPatch]:
    """Forget what the machine says about W&B, and let no name be looked up from this process."""
    patch = pytest.MonkeyPatch()
    for name in ("WANDB_MODE", "WANDB_ERROR_REPORTING", "WANDB_SILENT", "WANDB_API_KEY"):
        patch.setenv(name, "")
        patch.delenv(name)

    def refuse(host: str, *rest: object, **more: object) -> None:
        if host not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"looked up {host}")

    patch.setattr(socket, "getaddrinfo", refuse)
    yield patch
    patch.undo()


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("runs") / "one"
    config = tiny_config(
        logger={"wandb": "offline", "tags": ["a", "b"], "group": "sweep"},
        trainer={"steps": 3},
        method={"name": "brecq", "scale_steps": 1.0},
        planner={"name": "modcap", "merge_count": 1},
        name="tiny-run",
    )
    result = pipeline.run(config, folder)
    return settled(folder), result


@pytest.fixture(scope="module")
def rows(finished: tuple[Path, Result]) -> list[dict[str, Any]]:
    return list(read_history(finished[0]))


def settled(folder: Path) -> Path:
    """Wait until W&B's own process has written the end of the run, which it does behind our back."""
    for _ in range(200):
        if any(record.HasField("exit") for record in records(folder)):
            return folder
        time.sleep(0.05)
    pytest.fail(f"the run in {folder} has no end")


def records(folder: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2 as pb

    for data in _log_records(next(folder.rglob("run-*.wandb"))):
        record = pb.Record()
        record.ParseFromString(data)
        yield record


def test_one_run_a_job_and_nothing_online(finished: tuple[Path, Result]) -> None:
    assert len(list(finished[0].rglob("*.wandb"))) == 1
    assert next(finished[0].rglob("run-*.wandb")).parent.name.startswith("offline-run-")
    assert os.environ["WANDB_MODE"] == "offline" and os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_every_curve_is_there_with_its_own_steps(
    finished: tuple[Path, Result], rows: list[dict[str, Any]]
) -> None:
    groups = finished[1].groups
    assert sorted(group.steps for group in groups) == [0, 3, 3, 3, 3, 3, 6, 6]  # the head has no scale
    for group in groups:
        key = f"unit/{group.name}/{group.task}/"
        own = [row for row in rows if f"{key}step" in row]
        assert [row[f"{key}step"] for row in own] == [point.step for point in group.curve]
        assert len(own) == group.steps
        for quantity in ("reconstruction", "rounding", "total", "beta"):
            found = [row.get(key + quantity) for row in own]
            assert found == pytest.approx([getattr(point, quantity) for point in group.curve])


def test_unit_errors_and_capacities_are_curves_over_the_units(
    finished: tuple[Path, Result], rows: list[dict[str, Any]]
) -> None:
    result = finished[1]
    errors = [row for row in rows if "network/error" in row]
    assert [row["network/unit"] for row in errors] == list(range(5))
    assert [row["network/error"] for row in errors] == pytest.approx([unit.error for unit in result.units])
    assert [row["network/loss"] for row in errors] == pytest.approx([unit.loss for unit in result.units])
    capacities = [row for row in rows if "network/capacity/modcap" in row]
    assert [row["network/unit"] for row in capacities] == list(range(5))
    expected = result.plan.criteria[0].capacities
    assert tuple(row["network/capacity/modcap"] for row in capacities) == pytest.approx(expected)


def test_axes_are_defined_by_exact_names(finished: tuple[Path, Result]) -> None:
    axes = {r.metric.name: r.metric.step_metric for r in records(finished[0]) if r.HasField("metric")}
    for group in (group for group in finished[1].groups if group.steps):
        key = f"unit/{group.name}/{group.task}"
        assert axes[f"{key}/total"] == axes[f"{key}/reconstruction"] == f"{key}/step"
    assert axes["network/error"] == axes["network/loss"] == axes["network/capacity/modcap"] == "network/unit"
    assert not any("*" in name for name in axes)


def test_config_plan_and_summary_are_kept(finished: tuple[Path, Result]) -> None:
    config, summary, exits, run = defaultdict(str), {}, [], None
    for record in records(finished[0]):
        updates = record.run.config.update if record.HasField("run") else record.config.update
        config.update({item.key or item.nested_key[0]: item.value_json for item in updates})
        summary.update({item.key or item.nested_key[0]: item.value_json for item in record.summary.update})
        exits += [record.exit.exit_code] if record.HasField("exit") else []
        run = record.run if record.HasField("run") else run
    assert '"brecq"' in config["method"] and "first" in config["plan"]
    assert summary["status"] == '"completed"' and "quantized" in summary
    assert exits == [0]
    assert run is not None and run.display_name == "tiny-run" and run.run_group == "sweep"
    assert list(run.tags) == ["a", "b"]


def test_a_failed_run_says_so(tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise RuntimeError("on the way")

    monkeypatch.setattr(pipeline, "reconstruct", fail)
    with pytest.raises(RuntimeError, match="on the way"):
        pipeline.run(tiny_config(logger={"wandb": "offline"}, granularity={"name": "block"}), tmp_path)
    exits = [record.exit.exit_code for record in records(settled(tmp_path)) if record.HasField("exit")]
    assert exits == [1]


def test_a_killed_run_is_read_up_to_its_end(
    finished: tuple[Path, Result], rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    content = next(finished[0].rglob("run-*.wandb")).read_bytes()
    lengths = []
    for size in (7, 9, 500, len(content) // 2, len(content) - 1):
        cut = tmp_path / f"run-{size}.wandb"
        cut.write_bytes(content[:size])
        found = list(read_history(cut))
        assert found == rows[: len(found)]
        lengths.append(len(found))
    assert lengths[0] == 0 and lengths == sorted(lengths) and 0 < lengths[3] < len(rows)


def test_long_runs_span_blocks(tmp_path: Path) -> None:
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="long", settings={"text": "x" * 70_000})
    points = [
        CurvePoint(step=i, reconstruction=i / 7, rounding=None, total=i / 3, beta=None) for i in range(300)
    ]
    run.curve("a", "joint", points, 300)
    run.finish({})
    assert next(settled(tmp_path).rglob("run-*.wandb")).stat().st_size > 4 * 32768
    assert [row["unit/a/joint/total"] for row in read_history(tmp_path)] == [point.total for point in points]


def test_log_records_are_leveldb_blocks(tmp_path: Path) -> None:
    draw = random.Random(0)
    written = [draw.randbytes(draw.choice([0, 5, 300, 32751, 32754, 32768, 100_000])) for _ in range(60)]
    out = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for data in written:
        first, rest = True, data
        while first or rest:
            left = 32768 - len(out) % 32768
            if left < 7:
                out += bytes(left)
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not rest]
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    path = tmp_path / "run-x.wandb"
    path.write_bytes(out)
    assert list(_log_records(path)) == written


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 0 \.wandb files"):
        list(read_history(tmp_path))
    wrong = tmp_path / "run-1.wandb"
    wrong.write_bytes(b"something else")
    with pytest.raises(DataError, match="does not begin as a W&B file"):
        list(read_history(wrong))
