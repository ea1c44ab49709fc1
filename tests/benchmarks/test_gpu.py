"""The check of a GPU, rehearsed on the CPU: it fits its time, says what is missing, and loses nothing."""

import json
import os
import time
import warnings
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import accuracy, jobs, kernels, needs, pages, passes, same, speed
from benchmarks.gpu.options import Options
from benchmarks.gpu.parts import PARTS, START, Part, fitted
from benchmarks.gpu.record import Record
from mrecg.system.tf32 import float32_flags

CPU = torch.device("cpu")


@pytest.mark.parametrize("minutes", [0.5, 1, 2, 4, 8, 15, 60, 600])
def test_parts_share_the_time(minutes: float) -> None:
    limits = fitted(PARTS, 60 * minutes)
    assert [part for part, _ in limits] == list(PARTS[: len(limits)])  # the last are left out first
    assert sum(limit + START for _, limit in limits) <= 60 * minutes + 1e-6
    assert all(part.least <= limit <= part.most for part, limit in limits)
    assert len(limits) == len(PARTS) if minutes >= 8 else len(limits) < len(PARTS) or minutes >= 4
    if minutes >= 60:  # what takes as long as one lets it gets all that the others leave
        assert dict(limits)[PARTS[-1]] > 60 * minutes - sum(part.most for part in PARTS[:-1]) - 7 * START


def test_no_time_is_no_part() -> None:
    assert fitted(PARTS, 10) == [] and fitted([], 100) == []


def test_what_is_missing_is_said_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(needs.PACKAGES, "no_such.module", "no-such-package")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "missing: package no-such-package (import no_such.module)" in said
    assert "missing: a GPU that torch" in said
    assert needs.missing("cpu") == ["package no-such-package (import no_such.module)"]
    assert not list(tmp_path.iterdir())


def test_what_is_found_is_written_at_once(tmp_path: Path) -> None:
    record = Record(tmp_path / "speed.json", {"device": "cpu"}, seconds=100)
    record.put("first", {"ratio": 1.25})
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["status"] == "begun" and content["items"] == {"first": {"ratio": 1.25}}
    assert record.has_time("second", 50) and not record.has_time("third", 200)
    record.end("two lines", holds=False)
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["left_out"] == {"third": "takes about 200 s, and 100 s are left"}
    assert content["status"] == "does not hold" and content["headline"] == "two lines"


def chosen(folder: Path) -> Namespace:
    return Namespace(out=folder, device="cpu", images=None, part=None, minutes=1.0)


def test_a_part_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "START", 0.0)
    found = command.apart(Part("passes", "", 0, 0), chosen(tmp_path), 0.3)
    assert found["status"] == "out of time" and found["seconds"] < 30
    assert json.loads((tmp_path / "passes.json").read_text())["status"] == "out of time"


def test_a_part_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The processes are replaced: what matters is what the command makes of how they end."""

    class Process:
        def __init__(self, words: list[str], *, stdout: Any, **_: Any) -> None:
            name = words[words.index("--part") + 1]
            record = Record(tmp_path / f"{name}.json", {"device": "cpu"}, 10)
            record.put("found before", 1)
            self.code = 0
            if name == "same":
                stdout.write("x" * 5000 + " CUDA error: an illegal memory access")
                self.code = -6
            else:
                record.end(f"{name} is fine")

        def wait(self, _: float | None = None) -> int:
            return self.code

        def kill(self) -> None:
            pass

    monkeypatch.setattr(command.subprocess, "Popen", Process)
    assert command.main(["--device", "cpu", "--out", str(tmp_path), "--minutes", "30"]) == 1
    said = capsys.readouterr().err
    assert "accuracy: left out; it needs --images" in said and "passes: done" in said
    content = json.loads((tmp_path / "same.json").read_text())
    assert content["status"] == "failed" and content["items"] == {"found before": 1}
    assert content["error"].startswith("exit code -6: ") and content["error"].endswith(
        "illegal memory access"
    )
    assert len(content["error"]) < 2000
    assert command.main(["--device", "cpu", "--out", str(tmp_path), "--part", "jobs"]) == 0


def measured(part: ModuleType, folder: Path, *, images: Path | None = None) -> dict[str, Any]:
    """Rehearse a part in this process."""
    record = Record(folder / "part.json", {"device": "cpu", "device_name": "a CPU"}, 600)
    flags, threads = float32_flags(), torch.get_num_threads()
    part.measure(record, Options(CPU, images))
    assert (float32_flags(), torch.get_num_threads()) == (flags, threads)
    content: dict[str, Any] = json.loads((folder / "part.json").read_text())
    assert content["status"] == "done", content
    return content


@pytest.mark.slow
def test_a_run_is_the_same_twice_and_resumed(tmp_path: Path) -> None:
    found = measured(same, tmp_path)["items"]["qdrop"]
    assert found["cpu"] | {"top1": 0} == {
        **{"weights": 394_848, "differ": 0, "ties": 0, "loss": 0.0, "loss_all": 0.0, "error": 0.0},
        **{"top1": 0, "holds": True},
    }
    assert found["twice"] == found["resumed"] == {"differ": []}


def test_differences_are_found(tmp_path: Path) -> None:
    for name, last, weights in (("one", "1.0", b"a"), ("other", "1.001", b"b")):
        (tmp_path / name / "curves").mkdir(parents=True)
        for file in same.FILES:
            (tmp_path / name / file).write_bytes(b"same")
        (tmp_path / name / "quantized.safetensors").write_bytes(weights)
        (tmp_path / name / "units.csv").write_text("index,name,error\n0,stem,0.5\n1,b,0.25\n")
        for curve in ("b.csv", "stem.csv"):
            text = f"step,reconstruction,total\n0,2.0,2.0\n1,{last},1.0\n2,,\n"
            (tmp_path / name / "curves" / curve).write_text(text)
    one, other = tmp_path / "one", tmp_path / "other"
    assert set(same.differing(one, other)) == {"quantized.safetensors", "curves/b.csv", "curves/stem.csv"}
    assert same.curves(one) == ["stem.csv", "b.csv"] and same.differing(one, one) == []
    assert same.relative(same.rows(one, "b.csv"), same.rows(other, "b.csv")) == pytest.approx(1e-3)
    assert same.relative([1.0], [1.0, 2.0]) == float("inf")


@pytest.mark.slow
def test_speed_is_measured_on_the_network_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two steps more cost nothing that shows on a clock of a machine that does other work.
    clock = SimpleNamespace(perf_counter=time.process_time, monotonic=time.monotonic)
    monkeypatch.setattr(speed, "time", clock)
    (found,) = measured(speed, tmp_path)["items"].values()
    assert found["ratio"] == pytest.approx(found["step_ms"] / found["floor_ms"], rel=1e-2)
    assert found["step_ms"] > 0 and found["waits"] is None and found["peak_mb"] > 0


def test_waits_for_the_device_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[object] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with speed.waiting(torch.device("cuda")) as found:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert len(found) == 2 and modes == ["warn", 0]
    with speed.waiting(CPU) as none:
        pass
    assert none == []


def test_what_decides_the_defaults_is_measured_first() -> None:
    assert {(way.kernels, way.graphs) for way in speed.WAYS[: speed.FIRST]} == {
        *(("fused", False), ("fused", True), ("plain", False))
    }
    assert len({way.name for way in speed.WAYS}) == len(speed.WAYS)


@pytest.mark.slow
def test_ranges_and_cache_are_measured(tmp_path: Path) -> None:
    found = measured(passes, tmp_path)["items"]["embedded"]
    assert found["calibration_passes"] > 0 and found["prefix_passes"] > 0 and found["peak_memory_mb"] > 0


@pytest.mark.slow
def test_two_processes_claim_and_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    assert jobs.claimed(1) == [(0, True), (0, False)]


def test_jobs_that_differ_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps are replaced here: tests/sweep/test_engines.py has real ones on several processes."""
    monkeypatch.setattr(jobs, "claimed", lambda count: [(0, True), (count - 1, count == 2)])

    def sweep(folder: Path, *words: str) -> None:
        for seed in (0, 1):
            job = folder / f"{seed}"
            job.mkdir(parents=True)
            summary = {"status": "completed", "seed": seed}
            (job / "summary.json").write_text(json.dumps(summary))
            value = float(seed == wrong and "hydra.launcher.n_jobs=2" in words)
            save_file({"x": torch.tensor([value])}, job / "quantized.safetensors")

    monkeypatch.setattr(jobs, "sweep", sweep)
    wrong = None
    assert measured(jobs, tmp_path)["items"]["two jobs at once"] == {"jobs": 2, "differ": [], "holds": True}
    wrong = 1
    record = Record(tmp_path / "jobs.json", {}, 10)
    jobs.measure(record, Options(CPU, None))
    assert record.content["status"] == "does not hold"
    assert record.content["items"]["two jobs at once"]["differ"] == [1]


@pytest.mark.slow
def test_kernels_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    for name in [name for name in os.environ if name.startswith("PYTEST")]:
        monkeypatch.delenv(name)
    content = measured(kernels, tmp_path)
    assert set(content["items"].values()) == {"passed"} and "3 of 3 checks hold" in content["headline"]


def test_what_a_check_of_kernels_says_names_no_place_of_this_machine() -> None:
    text = f"{kernels.TESTS}:7: in {kernels.ROOT}/src/a.py"
    case = ElementTree.fromstring(f'<testcase><failure message="not close">{text}</failure></testcase>')
    said = kernels._outcome(case)
    assert said == "failure: not close tests/quant/kernels/test_gpu.py:7: in src/a.py"


def test_steps_are_as_many_as_fit() -> None:
    assert accuracy.fitting(1e9, 0.1) == accuracy.FULL
    assert accuracy.fitting(1.0, 0.1) == accuracy.LEAST
    steps = accuracy.fitting(3600, 0.01)
    spent = sum(accuracy.COST[kind] * steps * 0.01 for *_, kind in accuracy.ITEMS)
    assert accuracy.LEAST < steps < accuracy.FULL and 0.8 * 3600 < spent <= 3600


def test_accuracy_needs_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --images FOLDER"):
        accuracy.measure(Record(tmp_path / "a.json", {}, 10), Options(CPU, None))


@pytest.mark.slow
@pytest.mark.shared_data
def test_accuracy_is_that_of_runs(tmp_path: Path) -> None:
    content = measured(accuracy, tmp_path, images=Path(os.environ["MRECG_TEST_DATA"], "imagenet-mini"))
    assert list(content["items"]) == [" ".join(item) for item in accuracy.ITEMS[:2]]
    assert all(found["images"] == 16 and len(found["errors"]) == 18 for found in content["items"].values())
    assert content["steps"] == 2
    page = pages.accuracy({"accuracy": content})
    assert "2 steps per unit" in page and "| w2a4 best mixed |" in page
