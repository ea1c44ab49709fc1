"""A sweep's folder: one sweep at a time, each job's own result in its folder, and nothing left over."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrecg.cli import report
from mrecg.pipeline import resume
from mrecg.pipeline import run as pipeline
from mrecg.runs.layout import COMPLETED, FAILED
from mrecg.runs.lock import sweep_lock
from mrecg.runs.manifest import read_jobs
from mrecg.sweep.job_state import state

Call = Callable[..., Any]


@pytest.fixture
def words(small: list[str]) -> list[str]:
    return [*small, "granularity=block", "method=rtn", "seed=0,1", "hydra.sweep.dir=sweep"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the runs that were computed."""
    seeds, real = list[int](), pipeline.run

    def run(config: Any, *rest: Any, **more: Any) -> Any:
        seeds.append(config.seed)
        return real(config, *rest, **more)

    monkeypatch.setattr(pipeline, "run", run)
    return seeds


def seed_of(folder: Path) -> int:
    return int(json.loads((folder / "summary.json").read_text())["seed"])


def test_a_second_sweep_in_the_folder_is_refused(words: list[str], mrecg: Call) -> None:
    folder = Path("sweep")
    folder.mkdir()
    with sweep_lock(folder):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        outcome = mrecg("quantize", "-m", *words)
        assert outcome.code == 2
        line = outcome.err.splitlines()[-1]  # on a slow machine the check has a line of its own
        assert line.startswith("mrecg: sweep: process ") and "runs a sweep in it" in line
        assert line.endswith("see how far it is by: mrecg sweep status sweep")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.slow
def test_each_job_gets_its_own_result_and_its_whole_folder(
    words: list[str], mrecg: Call, ran: list[int]
) -> None:
    assert mrecg("quantize", "-m", *words).code == 0 and ran == [0, 1]
    first, second = (
        Path("sweep", job["folder"]) for job in json.loads(Path("sweep/sweep.json").read_text())["jobs"]
    )

    # As two sweeps at once have left them: the second one's result in the first one's folder.
    shutil.rmtree(first)
    shutil.copytree(second, first)
    # As a kill between summary and page leaves it.
    (second / "report.html").unlink()
    (second / "checkpoint").mkdir()
    (second / "checkpoint" / "group.entry").write_bytes(b"x")
    for name in (".config.yaml.zi3s8_l3", ".report.html.abcdefgh"):
        (second / name).touch()
    (second / ".mine.of_eight").touch()
    outcome = mrecg("sweep", "resume", "sweep", "--allow-import")
    assert outcome.code == 0, outcome.err
    assert ran == [0, 1, 0]
    assert seed_of(first) == 0 and seed_of(first.with_name(f"{first.name}.other1")) == 1
    assert "holds a run with other settings" in outcome.out
    assert (second / "report.html").is_file() and not (second / "checkpoint").exists()
    assert [path.name for path in second.glob(".*") if path.is_file()] == [".mine.of_eight"]
    assert "all 2 jobs are done" in outcome.out

    assert mrecg("sweep", "resume", "sweep", "--allow-import").code == 0 and ran == [0, 1, 0]


@pytest.mark.slow
def test_pages_that_fail_fail_no_run(words: list[str], mrecg: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no such\nfont")

    with monkeypatch.context() as patched:
        patched.setattr(resume.report, "write_report", fail)
        patched.setattr(report, "compare", fail)
        code, out, err = mrecg("quantize", "-m", *words)
        assert code == 0, err
        assert out.count("its page or table could not be made (ValueError: no such font)") == 3
        single = mrecg("quantize", *words[:-2], "hydra.run.dir=single")
        assert single.code == 0 and "report:" not in single.out
        assert single.out.count("/single shows them") == 1
    for folder in (*Path("sweep").glob("[01]-*"), Path("single")):
        found = json.loads((folder / "summary.json").read_text())
        assert found["status"] == "completed" and found["quantized"]["top1"] >= 0
        assert not (folder / "report.html").exists() and not (folder / "checkpoint").exists()
    assert mrecg("report", "single").code == 0 and Path("single/report.html").is_file()


def test_a_sweep_that_runs_again_runs_what_is_missing(small: list[str], mrecg: Call, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    own = [word for word in small if not word.startswith(("model.target=", "model.arguments="))]
    own += ["model.target=fateful.build", "granularity=block", "method=rtn", "hydra.sweep.dir=sweep"]

    def sweep(*fates: str) -> Any:
        axis = ",".join(f"{{fate:{fate},marks:{tmp_path}/marks}}" for fate in fates)
        return mrecg("quantize", "-m", *own, f"model.arguments={axis}")

    def calls() -> dict[str, int]:
        return {file.name: len(file.read_text().splitlines()) for file in (tmp_path / "marks").iterdir()}

    def states() -> list[str]:
        return [state(tmp_path / "sweep" / job.folder) for job in read_jobs(tmp_path / "sweep")]

    first = sweep("fine1", "fail")
    assert first.code == 1 and states() == [COMPLETED, FAILED]
    assert "mrecg: run 1 failed: model.arguments: " in first.err and "Traceback" not in first.err
    again = sweep("fine2", "fail", "fine1")  # in another order, and with one more
    assert again.code == 1
    assert [job.number for job in read_jobs(tmp_path / "sweep")] == [0, 1, 2]
    assert states() == [COMPLETED, FAILED, COMPLETED]
    assert calls() == {"fine1": 1, "fail": 2, "fine2": 1}
    # Nothing is left to do: no job runs, and the comparison is made again.
    third = sweep("fine1", "fine2")
    assert third.code == 1  # the sweep still has a failed job
    assert calls() == {"fine1": 1, "fail": 2, "fine2": 1}


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a run folder but for what any command leaves there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".hydra", "run.lock", "run.log"} & {*path.parts}
    }


def test_a_finished_run_is_replaced_only_where_that_is_asked_for(words: list[str], mrecg: Call) -> None:
    own = [*words[:-2], "shared.folder=null"]
    assert mrecg("quantize", *own, "hydra.run.dir=one").code == 0
    (Path("one") / "quantized.onnx").write_text("of the first run")
    before, hydra = contents(Path("one")), contents(Path("one/.hydra"))
    says = (
        "mrecg: one: holds a finished run with other settings (bits.weight: 2 there, 3 here) (and 1 more); "
        'choose another folder, or replace it by resume=never (Python: resume="never")'
    )
    other = ["seed=1", "bits.weight=3"]
    for verb in ("quantize", "plan"):
        ended = mrecg(verb, *own, *other, "hydra.run.dir=one")
        assert (ended.code, ended.err.splitlines()[-1]) == (2, says)
    ended = mrecg("quantize", "resume=one", "seed=1", "allow_import=true")
    assert ended.code == 2 and "holds a finished run with other settings (seed" in ended.line
    assert contents(Path("one")) == before and contents(Path("one/.hydra")) == hydra
    jobs = ["hydra/sweeper=basic", "hydra.sweep.dir=.", "hydra.sweep.subdir=one", "seed=1,2"]
    ended = mrecg("quantize", "-m", *own, *jobs)  # it does not move away what is not its own
    assert ended.code != 0 and "holds a finished run with other settings (seed: 0 there, 1" in ended.err
    assert contents(Path("one")) == before

    assert mrecg("quantize", *own, "hydra.run.dir=one", "name=again").code == 0  # the same run
    assert (Path("one") / "quantized.onnx").is_file() and seed_of(Path("one")) == 0
    assert mrecg("quantize", *own, *other, "hydra.run.dir=one", "resume=never").code == 0
    assert seed_of(Path("one")) == 1 and not (Path("one") / "quantized.onnx").exists()
    (Path("one") / "config.yaml").write_text("method: {name: of_a_package_that_is_gone}")
    ended = mrecg("quantize", *own, "hydra.run.dir=one")
    assert ended.code == 2 and "one: holds a finished run whose settings cannot be read (" in ended.err
