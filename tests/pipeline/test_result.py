"""The Python API end to end, and the run folder written and read back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mrecg
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.errors import CheckpointError, ConfigError, DataError, GraphError, PlanError
from mrecg.models.build import build
from mrecg.pipeline import evaluate, probe_run
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.result import Result

Config = Callable[..., RunConfig]
UNITS = ["stem", "first", "second", "third", "head"]
QUICK: dict[str, Any] = {
    "method": {"name": "qdrop"},
    "steps": 2,
    "progress": False,
    "calibration": {"bins": 64, "candidates": 4},
    "trainer": {"batch_size": 4, "log_every": 1},
    "planner": {"merge_boundary": True},
}


def quick(model: nn.Module, images: Tensor, **settings: Any) -> Result:
    merged = {k: {**QUICK.get(k, {}), **v} if isinstance(v, dict) else v for k, v in settings.items()}
    return mrecg.quantize(model, images, **{**QUICK, **merged})


@pytest.fixture(scope="module")
def labelled(tiny_images: Tensor) -> TensorDataset:
    return TensorDataset(tiny_images, torch.arange(16) % 10)


@pytest.fixture(scope="module")
def outcome(tiny: nn.Module, tiny_images: Tensor, labelled: TensorDataset) -> Result:
    return quick(tiny, tiny_images, evaluation=labelled, planner={"name": "modcap"}, merge_count=2)


@pytest.mark.parametrize("planner", ["modcap", "loss", "error"])
def test_mixed_granularity_merges_what_the_planner_says(
    planner: str, tiny: nn.Module, tiny_images: Tensor
) -> None:
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    result = quick(tiny, tiny_images, planner={"name": planner}, merge_count=2)
    plan = result.plan
    assert plan.planner == planner == plan.criteria[0].name and list(plan.units) == UNITS
    wanted = sorted(range(4), key=lambda i: -plan.criteria[0].differences[i])
    expected = sorted(i for i in wanted[:2] if plan.criteria[0].differences[i] > 0)
    assert [UNITS.index(merge.left) for merge in plan.merges] == expected
    assert [unit.name for unit in result.units] == UNITS
    assert sum(group.steps for group in result.groups) == 10
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    out = result.model(tiny_images)
    assert out.shape == (16, 10) and not out.requires_grad and not result.model.training


def test_published_schedules_are_for_models_that_have_one(tiny: nn.Module, tiny_images: Tensor) -> None:
    with pytest.raises(PlanError, match=r"planner\.schedule: 'TinyNet' is not a choice.*resnet18"):
        quick(tiny, tiny_images, planner={"name": "published"})


@pytest.mark.parametrize("granularity", ["layer", "block", "stage", "network"])
def test_other_granularities(granularity: str, tiny: nn.Module, tiny_images: Tensor) -> None:
    result = quick(tiny, tiny_images, granularity=granularity)
    assert (
        len(result.groups)
        == len(result.plan.groups)
        == {
            "layer": 5,
            "block": 5,
            "stage": 4,
            "network": 1,
        }[granularity]
    )


def test_fixed_groups(tiny: nn.Module, tiny_images: Tensor) -> None:
    groups = {"name": "fixed", "groups": [["first", "second"]]}
    result = quick(tiny, tiny_images, granularity=groups, method={"name": "qdrop", "lr_rounding": 0.25})
    assert result.plan.merged == (("first", "second"),)
    assert result.config.method.lr_rounding == 0.25 and result.config.name == "TinyNet-w2a4-qdrop-fixed-s0"


def is_fraction(value: object) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


def test_the_summary_has_every_key(outcome: Result) -> None:
    summary = json.loads(json.dumps(outcome.summary))
    assert summary["schema_version"] == 1 and summary["status"] == "completed"
    for key in ("model", "data", "method", "granularity", "device", "run_name", "planner", "stem_output"):
        assert isinstance(summary[key], str) and summary[key], key
    assert summary["model"] == "TinyNet" and summary["device"] in ("cpu", "cuda")
    assert summary["bits"] == {"weight": 2, "activation": 4} and summary["boundary_bits"] == 8
    integers = ("merge_count", "seed", "steps", "evaluation_images", "peak_memory_mb", "optimisation_steps")
    for key in (*integers, "batch_size", "calibration_images"):
        assert type(summary[key]) is int, key
    assert summary["merge_count"] == summary["merged_pairs"] == len(outcome.plan.merges) == 2
    assert summary["evaluation_images"] == summary["calibration_images"] == 16
    assert summary["optimisation_steps"] == 10 and summary["steps"] == 2
    for kind in ("fp", "quantized"):
        assert set(summary[kind]) == {"top1", "top5"} and all(map(is_fraction, summary[kind].values()))
        assert type(summary["size_bytes"][kind]) is int
    assert summary["peak_memory_mb"] > 0
    assert set(summary["cache"]) == {"dtype", "peak_mb", "disk_mb"} and summary["cache"]["dtype"] == "float32"
    assert summary["cache"]["peak_mb"] > 0 == summary["cache"]["disk_mb"]
    oscillation = summary["oscillation"]
    assert set(oscillation) == {"error_index", "error_peak", "loss_index", "loss_peak"}
    assert all(isinstance(value, float) and value >= 0 for value in oscillation.values())
    errors = [unit.error for unit in outcome.units]
    assert oscillation["error_peak"] == max(errors)
    assert set(summary["timing_s"]) == {"plan", "calibrate", "reconstruct", "evaluate"}
    assert all(value >= 0 for value in summary["timing_s"].values())
    results = summary["group_results"]
    assert [(each["name"], each["pass"], each["steps"]) for each in results] == [
        (group.name, group.task, group.steps) for group in outcome.groups
    ]
    for each, group in zip(results, outcome.groups, strict=True):
        assert set(each) == {
            "name",
            "pass",
            "steps",
            "floor",
            "first_loss",
            "last_loss",
            "seconds",
            "reused",
            "retries",
        }
        assert each["floor"] == group.floor and each["seconds"] >= 0
        assert each["first_loss"] == group.curve[0].reconstruction
        assert each["last_loss"] == group.curve[-1].reconstruction
    assert results[0]["floor"] == 0
    assert summary["units"] == [
        {"name": u.name, "group": u.group, "error": u.error, "loss": u.loss} for u in outcome.units
    ]
    assert [unit.name for unit in outcome.plan.facts] == UNITS and outcome.plan.facts[1].macs > 0


def test_without_evaluation_there_is_no_accuracy(tiny: nn.Module, tiny_images: Tensor) -> None:
    summary = quick(tiny, tiny_images, granularity="block", method="rtn").summary
    assert all(each["floor"] is each["first_loss"] is None for each in summary["group_results"])
    assert summary["fp"] is None and summary["quantized"] is None and summary["evaluation_images"] == 0


def test_sizes_are_those_of_packed_weights(outcome: Result, tiny: nn.Module) -> None:
    convolutions = [m for m in tiny.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    biases = sum(m.weight.shape[0] for m in convolutions)  # folding gives every layer a bias
    weights = sum(m.weight.numel() for m in convolutions)
    assert outcome.summary["size_bytes"]["fp"] == 4 * (weights + biases)
    bits = [8, *[2] * (len(convolutions) - 2), 8]
    packed = sum(-(-m.weight.numel() * b // 8) for m, b in zip(convolutions, bits, strict=True))
    zeros = sum(-(-m.weight.shape[0] * b // 8) for m, b in zip(convolutions, bits, strict=True))
    activations = outcome.network.policy.activations.values()
    expected = packed + zeros + 4 * biases + 4 * biases + sum(4 + -(-b // 8) for b in activations)
    assert outcome.summary["size_bytes"]["quantized"] == expected


def test_every_decision_is_kept(
    outcome: Result, tiny: nn.Module, tiny_images: Tensor, tmp_path: Path
) -> None:
    folder = outcome.save(tmp_path / "run")
    lines = (folder / "decisions.csv").read_text().splitlines()
    with torch.no_grad():
        low = outcome.model(tiny_images).argmax(1)
    assert lines[0] == "label,fp,quantized" and len(lines) == 17
    rows = torch.tensor([[int(value) for value in line.split(",")] for line in lines[1:]])
    assert torch.equal(rows[:, 0], torch.arange(16) % 10) and torch.equal(rows[:, 2], low)
    for column, kind in ((1, "fp"), (2, "quantized")):
        top1 = (rows[:, column] == rows[:, 0]).double().mean()
        assert float(top1) == outcome.summary[kind]["top1"]
    loaded = mrecg.load(folder, model=tiny).decisions
    assert loaded is not None and torch.equal(loaded, rows)


def test_a_saved_result_is_loaded(
    outcome: Result, tiny: nn.Module, tiny_images: Tensor, tmp_path: Path
) -> None:
    folder = outcome.save(tmp_path / "run")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.yaml", "curves", "decisions.csv", "environment.json", "images.json", "plan.json"),
        *("quantized.safetensors", "report.html", "summary.json", "units.csv", "weights.json"),
    ]
    loaded = mrecg.load(folder, model=tiny)
    assert torch.equal(loaded.model(tiny_images), outcome.model(tiny_images))
    assert (loaded.plan, loaded.units, loaded.config) == (outcome.plan, outcome.units, outcome.config)
    assert loaded.summary == json.loads(json.dumps(outcome.summary)) and loaded.groups == ()
    assert yaml.safe_load((folder / "config.yaml").read_text()) == plain(outcome.config)
    curves = {path.stem: len(path.read_text().splitlines()) - 1 for path in (folder / "curves").iterdir()}
    assert curves == {group.name: len(group.curve) for group in outcome.groups}
    assert outcome.save(folder) == folder
    assert {
        path.stem: len(path.read_text().splitlines()) - 1 for path in (folder / "curves").iterdir()
    } == curves


def test_the_weights_of_the_model_do_not_matter(
    outcome: Result, tiny: nn.Module, tiny_images: Tensor, tmp_path: Path
) -> None:
    import copy

    other = copy.deepcopy(tiny)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    loaded = mrecg.load(outcome.save(tmp_path), model=other)
    assert torch.equal(loaded.model(tiny_images), outcome.model(tiny_images))


def test_two_runs_give_the_same_bytes(tiny_config: Config, tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        pipeline.run(
            tiny_config(seed=1 if name == "other" else 0, method={"lr_scale": 0.01, "name": "qdrop"}),
            tmp_path / name,
        )
    one, two = ((tmp_path / name / "quantized.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one != (tmp_path / "other" / "quantized.safetensors").read_bytes()


def test_a_run_folder_is_complete_and_is_loaded_by_itself(tiny_config: Config, tmp_path: Path) -> None:
    result = pipeline.run(tiny_config(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.yaml", "curves", "decisions.csv", "environment.json", "images.json", "plan.json"),
        *("quantized.safetensors", "report.html", "summary.json", "units.csv", "weights.json"),
    }
    loaded = mrecg.load(tmp_path, allow_import=True)
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(loaded.model(x), result.model(x))
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(result.summary))
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert torch.__version__.startswith(environment["torch"]) and environment["memory_mb"] > 0
    what, found = evaluate.evaluate(tiny_config(run=str(tmp_path), allow_import=True))
    assert what == str(tmp_path) and found.images == 12
    assert result.summary["quantized"] == {"top1": found.top1, "top5": found.top5}


def test_a_run_is_loaded_when_its_checkpoint_is_gone(
    tiny_config: Config, tiny: nn.Module, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"
    model = tiny_config().model
    torch.save(build(model, seed=3).model.state_dict(), weights)
    result = pipeline.run(tiny_config(model={"checkpoint": str(weights)}), tmp_path / "run")
    assert result.summary["weights"]["origin"] == str(weights)
    weights.unlink()
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(mrecg.load(tmp_path / "run", allow_import=True).model(x), result.model(x))


def test_loading_says_what_is_wrong(outcome: Result, tiny: nn.Module, tmp_path: Path) -> None:
    folder = outcome.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"passed from Python; call load\(folder, model=\.\.\.\)"):
        mrecg.load(folder)
    with pytest.raises(CheckpointError, match=r"its (description|weights) do(es)? not fit the model"):
        mrecg.load(folder, model=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    with pytest.raises(CheckpointError, match=r"is no finished run, config\.yaml is missing"):
        mrecg.load(tmp_path / "nowhere")
    (folder / "quantized.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"quantized\.safetensors is missing"):
        mrecg.load(folder, model=tiny)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"method": "qdorp"}, ConfigError, r"^method\.name: 'qdorp' .*did you mean 'qdrop'"),
        ({"weight_bits": 1}, ConfigError, r"^bits\.weight: 1 is not right"),
        ({"steps": 0}, ConfigError, r"^trainer\.steps: 0 is not right"),
        ({"stepz": 3}, ConfigError, r"^stepz: quantize has no such argument \(did you mean steps\?"),
        ({"trainer": {"stepz": 3}}, ConfigError, r"^trainer\.stepz: unknown key \(did you mean"),
        ({"trainer": 3}, ConfigError, r"^trainer: 3 is not right"),
        ({"granularity": "fixed"}, ConfigError, r"^granularity\.groups: needs groups"),
        ({"merge_count": -1}, ConfigError, r"^planner\.merge_count: -1 is not right"),
        ({"trainer": {"device": "cuda:99"}}, ConfigError, r"^trainer\.device: cuda:99 is not available"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(
    settings: dict[str, Any], error: type[Exception], message: str, tiny: nn.Module, tiny_images: Tensor
) -> None:
    with pytest.raises(error, match=message):
        quick(tiny, tiny_images, **settings)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 8, 8), r"wants a tensor of shape \(N, C, H, W\) with N >= 1, got \(3, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), r"got \(0, 3, 8, 8\)"),
        ([1, 2], "calibration item 0 is of type int, not floating point"),
        (torch.zeros(4, 1, 8, 8), r"does not take images of shape \(1, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "of type uint8, not floating point"),
    ],
)
def test_wrong_images_are_named(images: Any, message: str, tiny: nn.Module) -> None:
    with pytest.raises(DataError, match=message):
        quick(tiny, images)


def test_wrong_models_are_named(tiny_images: Tensor) -> None:
    with pytest.raises(GraphError, match="no convolution or linear layer"):
        quick(nn.ReLU(), tiny_images)


def test_plan_needs_no_images(tiny: nn.Module) -> None:
    plan = mrecg.plan(tiny, merge_count=1)
    assert list(plan.units) == UNITS and plan.planner == "modcap" and len(plan.merges) == 1
    with pytest.raises(ConfigError, match="planner: 'loss' needs images"):
        mrecg.plan(tiny, planner="loss")


def test_evaluate_measures_either_model(outcome: Result, tiny: nn.Module, labelled: TensorDataset) -> None:
    for model, key in ((tiny, "fp"), (outcome.model, "quantized")):
        found = mrecg.evaluate(model, labelled, batch_size=5, device="cpu")
        assert outcome.summary[key] == {"top1": found.top1, "top5": found.top5}
        assert found.images == 16


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, mrecg; print(sorted({'torch', 'lightning', 'wandb', 'hydra'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"
    assert set(dir(mrecg)) >= {"__version__"} and mrecg.Result is Result
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mrecg.nothing


class Spy:
    """Counts the probe runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, real = 0, probe_run.run

        def run(*arguments: Any, **more: Any) -> Any:
            self.calls += 1
            return real(*arguments, **more)

        monkeypatch.setattr(probe_run, "run", run)


def test_a_block_run_is_the_probe_of_later_runs(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    shared = {"folder": str(tmp_path / "shared")}
    planner = {"name": "loss", "merge_boundary": True}

    def run(folder: str, /, **settings: Any) -> Result:
        return pipeline.run(tiny_config(shared=shared, **settings), tmp_path / folder)

    block = run("block", granularity={"name": "block"}, planner=planner)
    mixed = run("mixed", planner={**planner, "name": "error"})
    assert spy.calls == 0
    errors = next(c.capacities for c in mixed.plan.criteria if c.name == "error")
    losses = next(c.capacities for c in mixed.plan.criteria if c.name == "loss")
    assert errors == tuple(unit.error for unit in block.units)
    assert losses == tuple(unit.loss for unit in block.units)
    for number, other in enumerate(
        [
            {"seed": 1},
            {"bits": {"weight": 3}},
            {"trainer": {"steps": 3}},
            {"method": {"name": "brecq_joint"}},
        ],
        1,
    ):
        run(f"other{number}", planner=planner, **other)
        assert spy.calls == number
    # What does not change the numbers does not make a probe anew; a probe that was run is kept too.
    for same in (
        {"trainer": {"chunk": 1, "log_every": 2}},
        {"seed": 1},
        {"logger": {"project": "x"}, "name": "y"},
    ):
        run("same", planner=planner, resume="never", **same)
        assert spy.calls == 4


def test_a_probe_run_finds_what_a_block_run_finds(tiny_config: Config, tmp_path: Path) -> None:
    block = pipeline.run(tiny_config(granularity={"name": "block"}), tmp_path / "block")
    mixed = pipeline.run(tiny_config(planner={"name": "error", "merge_boundary": True}), tmp_path / "mixed")
    errors = next(c.capacities for c in mixed.plan.criteria if c.name == "error")
    assert errors == tuple(unit.error for unit in block.units)


def test_trials_are_kept_apart_from_plain_probes(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    shared = {"folder": str(tmp_path / "shared")}

    def run(folder: str, /, **settings: Any) -> Result:
        return pipeline.run(tiny_config(shared=shared, **settings), tmp_path / folder)

    run("0", granularity={"name": "block"})
    first = run("1", planner={"name": "budget"})
    again = run("2", planner={"name": "budget", "time_budget": 3.0})
    assert spy.calls == 1 and again.plan.criteria[0] == first.plan.criteria[0]
    assert (first.plan.criteria[0].name, first.plan.criteria[0].difference) == ("budget", "gain")
    assert first.plan.criteria[0].differences[0] == 0.0  # the stem is not merged, so it is not tried
    run("3", planner={"name": "budget", "merge_boundary": True})
    assert spy.calls == 2


def test_a_probe_can_round_to_nearest(tiny_config: Config, tmp_path: Path) -> None:
    nearest = pipeline.run(tiny_config(granularity={"name": "block"}, method={"name": "rtn"}), tmp_path / "a")
    mixed = pipeline.run(tiny_config(planner={"name": "error", "probe_steps": 0}), tmp_path / "b")
    errors = next(c.capacities for c in mixed.plan.criteria if c.name == "error")
    assert errors == tuple(unit.error for unit in nearest.units)


def test_threads_are_used_in_the_run_and_given_back(tiny: nn.Module, tiny_images: Tensor) -> None:
    before = torch.get_num_threads()
    other = 1 if before > 1 else 2
    result = quick(tiny, tiny_images, granularity="block", method="rtn", trainer={"threads": other})
    assert result.environment["threads"] == other and torch.get_num_threads() == before


def test_the_summary_tells_the_merges_asked_for_from_those_made(tiny: nn.Module, tiny_images: Tensor) -> None:
    summary = quick(tiny, tiny_images, method="rtn", planner={"name": "modcap"}, merge_count=4).summary
    assert summary["merge_count"] == 4
    assert 0 < summary["merged_pairs"] == sum(len(group) - 1 for group in summary["groups"]) < 4


def test_evaluate_leaves_the_model_as_it_was_and_needs_images(tiny_images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 8), nn.BatchNorm2d(2), nn.Flatten()).train()
    model[1].eval()
    found = mrecg.evaluate(model, TensorDataset(tiny_images, torch.arange(16) % 2), device="cpu")
    assert found.images == 16 and [part.training for part in model] == [True, False, True]
    with pytest.raises(DataError, match="evaluation: holds no image"):
        mrecg.evaluate(model, TensorDataset(tiny_images[:0], torch.arange(0)), device="cpu")


def test_a_loaded_result_is_saved_with_all_that_it_had(tiny_config: Config, tmp_path: Path) -> None:
    first = tmp_path / "first"
    ran = pipeline.run(tiny_config(granularity={"name": "block"}, method={"name": "brecq"}), first)
    names = [*("plan.json", "summary.json", "units.csv", "decisions.csv", "environment.json", "images.json")]
    names += ["weights.json", "config.yaml", "quantized.safetensors"]

    def content(folder: Path) -> dict[str, bytes]:
        curves = {path.name: path.read_bytes() for path in (folder / "curves").iterdir()}
        return {**curves, **{name: (folder / name).read_bytes() for name in names}}

    whole = content(first)
    assert len(whole) == len(names) + sum(bool(group.curve) for group in ran.groups) > len(names) + 5
    loaded = mrecg.load(first, allow_import=True)
    assert isinstance(loaded, Result)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "curves").mkdir(parents=True)
    (elsewhere / "curves" / "stale.csv").touch()  # of another run that was there
    for place in (elsewhere, first):
        assert content(loaded.save(place)) == whole
