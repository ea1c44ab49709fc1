"""The verbs at work, in this process, on a tiny network."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrecg.cli.doctor import OPTIONAL
from mrecg.reconstruct import optimise
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.helpers import Team
from mrecg.runs.lock import locked
from mrecg.system.machine import PACKAGES

Call = Callable[..., Any]
DATA = os.environ.get("MRECG_TEST_DATA", "")


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def runs(pattern: str = "outputs/*/*") -> list[Path]:
    return sorted(path.parent for path in Path.cwd().glob(f"{pattern}/summary.json"))


def same_but_for_times(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def timeless(found: dict[str, Any]) -> dict[str, Any]:
        kept = {
            key: value
            for key, value in found.items()
            if key not in ("timing_s", "reused_s", "peak_memory_mb", "cache")
        }
        kept["group_results"] = [
            {k: v for k, v in g.items() if k != "seconds"} for g in found["group_results"]
        ]
        return kept

    return timeless(one) == timeless(other)


def test_quantize_evaluate_report(mrecg: Call, small: list[str]) -> None:
    code, out, err = mrecg("quantize", *small, "planner=loss", "planner.merge_count=1")
    assert code == 0, err
    (run,) = runs()
    assert run.name.endswith("-tiny-w2a4-qdrop-mixed-s0")
    assert {path.name for path in run.iterdir()} >= {
        *("config.yaml", "environment.json", "plan.json", "units.csv", "curves", "quantized.safetensors"),
        *("summary.json", "report.html", "run.log"),
    }
    found = summary(run)
    assert found["status"] == "completed" and found["run_name"] == "tiny-w2a4-qdrop-mixed-s0"
    assert "report.html" in out and "Traceback" not in out + err
    stages = ("calibrate: 5/5", "reconstruct: 10/10", "evaluate FP: 12/12", "evaluate: 12/12")
    assert all(stage in err for stage in stages), err
    assert "begins in" in (run / "run.log").read_text()
    command = json.loads((run / "environment.json").read_text())["command"]
    assert command == shlex.join(["mrecg", "quantize", *small, "planner=loss", "planner.merge_count=1"])
    assert len(list(Path("outputs/shared").glob("probe-*.entry"))) == 1

    code, out, _ = mrecg("evaluate", f"run={run}", "trainer.device=cpu", "allow_import=true")
    assert code == 0
    top = found["quantized"]
    assert f"top-1 {100 * top['top1']:.2f} %, top-5 {100 * top['top5']:.2f} % on 12 images" in out
    (evaluation,) = Path.cwd().glob("outputs/*/*/evaluation.json")
    measured = json.loads(evaluation.read_text())
    assert (measured["top1"], measured["top5"], measured["images"]) == (top["top1"], top["top5"], 12)

    code, out, _ = mrecg("evaluate", *small)
    assert code == 0
    assert f"tiny (FP): top-1 {100 * found['fp']['top1']:.2f} %" in out

    code, out, _ = mrecg("report", str(run), "--out", "page.html")
    assert code == 0 and "page.html" in out
    assert "<html" in Path("page.html").read_text()


@pytest.mark.slow
def test_calibration_images_are_read_only_where_they_are_used(
    mrecg: Call, small: list[str], tmp_path: Path
) -> None:
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    broken = [*small, f"data.calibration_path={tmp_path}"]
    code, out, err = mrecg("evaluate", *broken)
    assert code == 0, err
    assert "on 12 images" in out
    for verb, hint in (("quantize", ""), ("plan", "planner=modcap plans without images")):
        code, _, err = mrecg(verb, *broken, "planner=loss")
        assert code == 2 and "0.png: is no image that can be read" in err.splitlines()[-1]
        assert hint in err.splitlines()[-1]
    code, out, err = mrecg("plan", *broken)
    assert code == 0, err
    assert "no picture" not in err and "by safe" in out + err


def test_images_of_any_data_set(mrecg: Call, small: list[str]) -> None:
    words = [word for word in small if not word.startswith("data")]
    code, _, err = mrecg(
        *("quantize", *words, "granularity=block", "data=dataset"),
        *("data.calibration_dataset=tiny_data.Squares", "data.calibration_arguments={size:9,label:null}"),
        *("data.evaluation_dataset=tiny_data.Squares", "data.evaluation_arguments={kind:float}"),
        *("data.calibration_images=4", "data.workers=2"),
    )
    assert code == 0, err
    (run,) = runs()
    drawn, found = json.loads((run / "images.json").read_text()), summary(run)
    assert drawn["evaluation"]["names"] == list("012345") and len(drawn["calibration"]["names"]) == 4
    for part, (images, available, seed) in {"calibration": (4, 9, 0), "evaluation": (6, 6, None)}.items():
        brief = {"images": images, "available": available, "seed": seed, "sha256": drawn[part]["sha256"]}
        assert found[part] == brief and {**brief, "names": drawn[part]["names"]} == drawn[part]
    assert found["data"] == "dataset" and found["quantized"] is not None


def test_plan_prints_a_table(mrecg: Call, small: list[str]) -> None:
    code, out, _ = mrecg("plan", *small, "planner=modcap", "planner.merge_count=1", "data=none")
    assert code == 0
    (plan,) = Path.cwd().glob("outputs/*/*/plan.json")
    content = json.loads(plan.read_text())
    assert content["units"] == ["stem", "first", "second", "third", "head"] and len(content["merges"]) == 1
    assert all(unit in out for unit in content["units"])
    assert not list(plan.parent.glob("plan.*g"))  # pictures are drawn on request


def test_plan_by_loss_runs_a_probe(mrecg: Call, small: list[str]) -> None:
    code, _, err = mrecg("plan", *small, "planner=loss", "planner.merge_count=1")
    assert code == 0 and "probe for the plan: 10/10" in err


def test_a_sweep_goes_on_behind_a_failing_run(mrecg: Call, small: list[str]) -> None:
    words = [word for word in small if not word.startswith("data.calibration_images")]
    code, out, err = mrecg("quantize", "-m", *words, "data.calibration_images=100,12", "granularity=block")
    assert code == 1
    assert "mrecg: run 0 failed: data.calibration_images: 100 images are asked for" in err
    assert err.splitlines()[-1].startswith(
        "mrecg: 1 failed of 2 jobs (run 0: data.calibration_images: 100 images"
    )
    failed, completed = runs("outputs/*/*-sweep/*")
    assert failed.name.startswith("0-") and completed.name.startswith("1-")
    assert summary(failed)["status"] == "failed" and "100 images" in summary(failed)["error"]
    assert summary(completed)["status"] == "completed"
    assert (completed / "report.html").is_file()
    assert (failed.parent / "report.html").is_file() and "report.html" in out
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_a_sweep_is_compared(mrecg: Call, small: list[str]) -> None:
    code, out, _ = mrecg("quantize", "sweep=brecq_vs_mrecg", *small, "method=qdrop", "planner.merge_count=1")
    assert code == 0
    block, mixed, control = runs("outputs/*/*-sweep/*")
    found = [(summary(run)["granularity"], summary(run)["steps"]) for run in (block, mixed, control)]
    assert found == [("block", 2), ("mixed", 2), ("block", 5)]
    assert "probe" not in json.dumps(summary(mixed)["timing_s"])
    page = (block.parent / "report.html").read_text()
    assert "block" in page and "mixed" in page and out.count("report:") == 1
    # The block run served as the probe; the control could be one for other runs.
    assert len(list(Path("outputs/shared").glob("probe-*.entry"))) == 2


def test_an_interrupted_run_goes_on_where_it_was(
    mrecg: Call, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*small, "granularity=block", "shared.folder=null"]
    code, _, err = mrecg("quantize", *words, "hydra.run.dir=whole")
    assert code == 0, err
    fitted: list[str] = []
    real = optimise.fit

    def fit(context: Context, members: range, *rest: Any, **more: Any) -> Any:
        if len(fitted) == 3:
            raise KeyboardInterrupt
        fitted.append(context.network.units[members.start].name)
        return real(context, members, *rest, **more)

    monkeypatch.setattr(optimise, "fit", fit)
    code, out, err = mrecg("quantize", *words)
    assert code == 130 and "Traceback" not in out + err
    (folder,) = [path.parent for path in Path("outputs").glob("*/*/checkpoint")]
    go_on = f"mrecg quantize resume={folder} allow_import=true"  # the network's class is the test's own
    assert err.splitlines()[-1] == f"mrecg: interrupted; continue with: {go_on}"
    code, _, err = mrecg("quantize", f"resume={folder}")
    assert code == 2 and "import and run model.target=tiny_net.build" in err.splitlines()[-1]
    assert not (folder / "summary.json").exists() and not locked(folder)

    # Other settings are refused, with the difference; nothing is lost by that.
    code, _, err = mrecg("quantize", f"resume={folder}", "seed=1", "allow_import=true")
    assert code == 2 and "seed: 0 there, 1 here" in err.splitlines()[-1]
    code, _, err = mrecg("quantize", *words, "bits=w3a3", f"hydra.run.dir={folder}")
    assert code == 2 and "bits.weight: 2 there, 3 here" in err.splitlines()[-1]

    fitted.clear()

    def noted(context: Context, members: range, *rest: Any, **more: Any) -> Any:
        fitted.append(context.network.units[members.start].name)
        return real(context, members, *rest, **more)

    monkeypatch.setattr(optimise, "fit", noted)
    code, out, err = mrecg("quantize", f"resume={folder}", "allow_import=true")
    assert code == 0, err
    assert fitted == ["third", "head"] and not (folder / "checkpoint").exists()
    for name in ("quantized.safetensors", "units.csv", "plan.json", "decisions.csv", "curves/stem.csv"):
        assert (folder / name).read_bytes() == (Path("whole") / name).read_bytes(), name
    assert same_but_for_times(summary(folder), summary(Path("whole")))


def test_resume_names_a_run_folder(mrecg: Call) -> None:
    code, _, err = mrecg("quantize", "resume=nowhere")
    assert code == 2 and "nowhere" in err and "is nowhere a run folder?" in err.splitlines()[-1]


@pytest.mark.parametrize("debug", ["", "0", "1"])
def test_a_defect_is_one_line_and_leaves_its_traceback_and_a_summary(
    debug: str, mrecg: Call, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Team, "reconstruct", fail)
    monkeypatch.setenv("MRECG_DEBUG", debug)
    code, out, err = mrecg("quantize", *small, "granularity=block")
    assert code == 1 and err.splitlines()[-1] == (
        "mrecg: ZeroDivisionError: a defect (a defect in mrecg: MRECG_DEBUG=1 shows where; please report it)"
    )
    assert ("Traceback" in err) == (debug == "1") and "Traceback" not in out
    assert "Error executing job" not in out + err
    (run,) = runs()
    assert summary(run)["error"] == "ZeroDivisionError: a defect"
    assert "Traceback" in (run / "run.log").read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["evaluate", "run=nowhere"], 2, "nowhere: is no finished run, config.yaml is missing"),
        (["quantize", "model.checkpoint=nowhere.pth"], 2, "model.checkpoint: nowhere.pth does not exist"),
        (["evaluate", "data.evaluation_path=null"], 2, "has no images to evaluate on"),
        (["quantize", "data=digits"], 2, "images of shape (3, 32, 32), the model takes (3, 16, 16)"),
        (
            ["quantize", "model.input_shape=[3,17,16]"],
            2,
            "is 16 x 16 pixels (height x width) with data.resize=model",
        ),
        (["quantize", "model.input_shape=[1,16,16]"], 2, "model.preprocessing.mean: 3 values"),
        (
            ["quantize", "granularity=fixed", "granularity.groups=[[first,third]]"],
            2,
            "third does not follow first",
        ),
        (["quantize", "granularity=fixed", "granularity.groups=[[first,secnd]]"], 2, "did you mean 'second'"),
        (["quantize", "planner=published"], 2, "planner.schedule: 'tiny' is not a choice"),
        (["plan", "data=none", "planner=loss"], 2, "data=none has no images"),
        (["quantize", "cache.folder=nowhere"], 2, "cache.folder: nowhere is not writable"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_on_the_way_are_one_line_at_the_end(
    words: list[str], code: int, message: str, mrecg: Call, small: list[str]
) -> None:
    verb, *own = words
    outcome = mrecg(verb, *small, *own)
    assert outcome.code == code
    last = outcome.err.splitlines()[-1]
    assert last.startswith("mrecg: ") and message in last
    assert "Traceback" not in outcome.out + outcome.err


def test_report_of_nothing_is_an_error(mrecg: Call, tmp_path: Path) -> None:
    outcome = mrecg("report", str(tmp_path))
    assert outcome.code != 0 and outcome.line.startswith("mrecg: ")


def test_doctor_finds_nothing_missing(mrecg: Call) -> None:
    code, out, _ = mrecg("doctor")
    assert code == 0
    for word in ("python", "torch", "hydra-core", "data=digits", "model=embedded", "outputs/", "W&B"):
        assert word in out
    assert "missing" not in out
    assert "─" in out and not {"┃", "│", "┏"} & set(out)  # as light as all other tables


def test_doctor_names_the_extra_that_brings_a_package(mrecg: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    found = "mrecg.system.machine.installed"
    monkeypatch.setattr(found, lambda package: "1.0" if package in PACKAGES else None)
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = mrecg("doctor")
    for package, extra in OPTIONAL.items():
        assert any(package in line and f"pip install 'mrecg[{extra}]'" in line for line in out.splitlines())
    assert {"joblib", "slurm", "ray", "export", "timm"} <= set(OPTIONAL.values())
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.slow
def test_the_command_runs_by_itself(small: list[str], tmp_path: Path) -> None:
    assets = Path(__file__).parents[1] / "assets"
    done = subprocess.run(
        [sys.executable, "-m", "mrecg", "quantize", *small, "granularity=block"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(assets)},
    )
    assert done.returncode == 0, done.stderr
    (run,) = runs()
    assert summary(run)["status"] == "completed" and summary(run)["optimisation_steps"] == 10
    said = [line.strip().split(":")[0] for line in done.stderr.splitlines()]
    units = [f"unit {i}/5" for i in range(1, 6)]
    # Random weights are announced, and no library warns.
    before = ["run", "weights", "images", "evaluate FP", "full precision", "calibrate", "cost", "reconstruct"]
    assert said == [*before, *units, "reconstruct", "evaluate"]


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.skipif(
    not (Path(DATA) / "imagenet-mini").is_dir() or not DATA,
    reason="MRECG_TEST_DATA names no folder with imagenet-mini",
)
def test_imagenet_folders_run_end_to_end(mrecg: Call) -> None:
    root = Path(DATA).resolve() / "imagenet-mini"
    code, _, err = mrecg(
        *("quantize", "model=mobilenet_v2", "model.input_shape=[3,64,64]", "bits=w4a4", "planner=published"),
        *("data=imagenet", f"data.calibration_path={root / 'train'}", f"data.evaluation_path={root / 'val'}"),
        *(f"data.classes_path={root / 'train'}", "data.resize=72", "data.calibration_images=8"),
        *("data.evaluation_images=16", "trainer.steps=2", "trainer.steps_per=group", "trainer.batch_size=4"),
        *("calibration.candidates=4", "logger=csv"),
    )
    assert code == 0, err
    (run,) = runs()
    found = summary(run)
    assert found["status"] == "completed" and found["evaluation_images"] == 16 and found["merge_count"] == 7
    assert len(found["units"]) == 19 or len(found["units"]) == 20


@pytest.mark.slow
def test_a_sweep_ends_with_how_to_send_it_and_its_comparison_is_a_run(mrecg: Call, small: list[str]) -> None:
    words = [word for word in small if word != "logger=csv"]
    code, out, err = mrecg("quantize", "-m", *words, "granularity=block,layer", "hydra.sweep.dir=mine")
    assert code == 0, err
    assert out.splitlines()[-1] == "W&B: wandb sync mine/wandb mine/*/wandb && mrecg dashboard mine"
    assert len(list(Path("mine").glob("wandb/offline-run-*"))) == 1


@pytest.mark.slow
def test_a_run_ends_with_how_to_send_it(mrecg: Call, small: list[str]) -> None:
    words = [word for word in small if word != "logger=csv"]
    code, out, err = mrecg("quantize", *words, "granularity=block", "hydra.run.dir=one")
    assert code == 0, err
    assert out.splitlines()[-1] == "W&B: wandb sync one/wandb && mrecg dashboard one"
