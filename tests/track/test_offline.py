"""The reader of W&B's offline files: its framing, and files that a kill has cut."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from offline_run import OfflineRun, read_run

from mrecg.config.outputs import LoggerConfig
from mrecg.errors import DataError
from mrecg.pipeline.result import Result
from mrecg.reconstruct.events import CurvePoint
from mrecg.track.wandb_logger.offline import log_records, read_history
from mrecg.track.wandb_logger.wandb_run import WandbRun


def test_a_killed_run_is_read_up_to_its_end(
    finished: tuple[Path, Result], read: OfflineRun, tmp_path: Path
) -> None:
    content = next(finished[0].rglob("run-*.wandb")).read_bytes()
    lengths = []
    for size in (7, 9, 500, len(content) // 2, len(content) - 1):
        cut = tmp_path / f"run-{size}.wandb"
        cut.write_bytes(content[:size])
        found = list(read_history(cut))
        assert found == read.history[: len(found)] == read_run(cut).history
        assert read_run(cut).exit_code is None
        lengths.append(len(found))
    assert lengths[0] == 0 and lengths == sorted(lengths) and 0 < lengths[3] < len(read.history)


def test_long_runs_span_blocks(tmp_path: Path, settled: Callable[[Path], OfflineRun]) -> None:
    run = WandbRun(LoggerConfig(), folder=tmp_path, name="long", settings={"text": "x" * 70_000})
    points = [
        CurvePoint(step=i, reconstruction=i / 7, rounding=None, total=i / 3, beta=None) for i in range(300)
    ]
    run.begin(["a"], 300)
    run.curve("a", "joint", points, 300)
    run.finish({})
    found = settled(tmp_path)
    assert next(tmp_path.rglob("run-*.wandb")).stat().st_size > 4 * 32768
    assert found.curve("total/a") == [(point.step, point.total) for point in points]
    assert found.config["text"] == "x" * 70_000


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
    assert list(log_records(path)) == written


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 0 \.wandb files"):
        list(read_history(tmp_path))
    wrong = tmp_path / "run-1.wandb"
    wrong.write_bytes(b"something else")
    with pytest.raises(DataError, match="does not begin as a W&B file"):
        read_run(wrong)
