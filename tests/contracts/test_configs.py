"""Every YAML in conf/ composes, holds only keys of the schema, and is consumed; every experiment runs."""

from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mrecg.config import hydra_compose
from mrecg.config.inputs import ModelConfig
from mrecg.config.keys import keys_of
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.data.images import load
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError
from mrecg.methods.registry import METHODS
from mrecg.models.build import build
from mrecg.models.preprocessing import resolve
from mrecg.pipeline import planning
from mrecg.pipeline import run as pipeline
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.runs import layout

OVERLAYS = ("experiment", "sweep")
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in OVERLAYS)
FILES = [(path.parent.name, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
NEEDED = {
    "data=image_folder": ["data.calibration_path=train"],
    "data=imagenet": ["data.calibration_path=train"],
    "data=cifar10": ["data.calibration_path=cifar"],
    "data=cifar100": ["data.calibration_path=cifar"],
    "data=dataset": ["data.calibration_dataset=tiny_data.Squares"],
    "model=target": ["model.target=tiny_net.build"],
    "bits=auto": ["bits.budget=3"],
    "granularity=fixed": ["granularity.groups=[[a,b]]"],
}
"""What a file leaves to its user."""


def composed(group: str) -> dict[str, RunConfig]:
    """The configuration with each file of a group; those that need nothing else are composed together."""
    names = [name for of, name in FILES if of == group]
    free = [name for name in names if f"{group}={name}" not in NEEDED]
    made = dict(zip(free, hydra_compose.check(["-m", f"{group}={','.join(free)}"]).configs, strict=True))
    for name in set(names) - set(free):
        choice = f"{group}={name}"
        (made[name],) = hydra_compose.check([choice, *NEEDED[choice]]).configs
    return made


@pytest.mark.parametrize("choice", [choice for choice in NEEDED if not choice.startswith("data=")])
def test_what_a_file_leaves_to_its_user_is_asked_for(choice: str) -> None:
    """And does not have its default: bits=auto without a budget gave all layers the same bits."""
    with pytest.raises(ConfigError, match=NEEDED[choice][0].partition("=")[0]):
        hydra_compose.check([choice])


def content(group: str, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) or {}
    return loaded


@pytest.mark.parametrize("group", sorted({group for group, _ in FILES}))
def test_every_file_says_what_it_is_and_composes_and_its_values_arrive(group: str) -> None:
    made = composed(group).items()
    wrong = {f"conf/{group}/{name}.yaml": faults(group, name, getattr(run, group)) for name, run in made}
    assert {file: found for file, found in wrong.items() if found} == {}


def faults(group: str, name: str, own: Any) -> list[str]:
    """What is wrong with a file."""
    first, *rest = (CONF / group / f"{name}.yaml").read_text().splitlines()
    said = group == "bits" or (first.startswith("# ") and first.endswith("."))
    found = [] if said and rest else ["does not say what it is, or says nothing else"]
    known = keys_of([group], name if group == "method" else None)
    for key, value in content(group, name).items():
        if key == "defaults" or value in ("???", "unset"):  # what the user has to give
            continue
        if key not in known:
            found.append(f"{key} is no key of the schema")
        elif (arrived := in_file(getattr(own, key), value)) != value:
            found.append(f"{key}: {value!r} arrives as {arrived!r}")
    return found


def in_file(arrived: Any, value: Any) -> Any:
    """A value of the configuration as a file would have it; of a group, the keys that the file gives."""
    if is_dataclass(arrived):
        arrived = plain(arrived)
    if isinstance(value, dict):
        return {inner: arrived.get(inner, "nothing") for inner in value}
    return list(arrived) if isinstance(arrived, tuple) else arrived


def test_every_method_has_a_file() -> None:
    assert {name for group, name in FILES if group == "method"} == set(METHODS)


@pytest.mark.parametrize("name", [name for group, name in FILES if group == "model"])
def test_every_model_is_built(name: str) -> None:
    config = ModelConfig(
        **content("model", name) | ({"target": "tiny_net.build"} if name == "target" else {})
    )
    if config.source == "timm":
        pytest.importorskip("timm")
    loaded = config.source == "embedded" or config.checkpoint is not None
    # Without memory where there is nothing to load, and so fast; but RegNet's builder reads tensors.
    with torch.device("cpu" if loaded or "regnet" in name else "meta"):
        built = build(config, seed=0)
    assert sum(p.numel() for p in built.model.parameters()) > 1000 and not built.model.training
    assert (built.weights.match is not None) == loaded and built.weights.tensors > 20
    assert built.preprocessing == resolve(config)


def test_the_digits_are_loaded() -> None:
    config = hydra_compose.check(["data=digits"]).configs[0].data
    images = load(config, preprocessing=Preprocessing(input_shape=(3, 32, 32), mean=(0.0,), std=(1.0,)))
    assert images.calibration.shape == (512, 3, 32, 32) and len(images) == 1000


class Shared:
    """The calibrated embedded network, copied instead of calibrated again where the cut is the same."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[QuantizedNetwork, dict[str, torch.Tensor]]] = {}

    def calibrate(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def calibrate(network: QuantizedNetwork, *arguments: Any, **more: Any) -> Any:
            key = str((network.bits, network.traced.code))
            if key not in self.kept:
                yield from real(network, *arguments, **more)
                self.kept[key] = (network, {k: v.clone() for k, v in network.state().items()})
            network.load_state(dict(self.kept[key][1]))

        return calibrate


@pytest.fixture(scope="module")
def shared() -> Shared:
    return Shared()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "demo")) for name in EXPERIMENTS]
)
def test_every_experiment_runs(
    name: str, shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "find_ranges", shared.calibrate(planning.find_ranges))
    settings = ["trainer.steps=2", "trainer.batch_size=4", "data.calibration_images=32", "logger=csv"]
    settings += ["data.evaluation_images=32", "calibration.candidates=4", "calibration.bins=64"]
    settings += ["planner.probe_steps=0", "finish.steps=2", f"shared.folder={tmp_path / 'shared'}"]
    checked = hydra_compose.check([f"experiment={name}", *settings])
    assert len(checked.configs) == 1
    outcome = pipeline.run(checked.configs[0], tmp_path / "run")
    assert outcome.summary["status"] == "completed" and outcome.summary["evaluation_images"] == 32
    assert len(outcome.units) >= 19
    assert (tmp_path / "run" / layout.WEIGHTS).stat().st_size > 100_000
    assert len(list((tmp_path / "run" / "curves").iterdir())) >= len(outcome.plan.groups)


def counts() -> dict[str, int]:
    """Runs of each sweep by the table in its README."""
    lines = (CONF / "sweep" / "README.md").read_text().splitlines()
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    ]
    return {row[0]: int(row[-1]) for row in rows}


def test_every_sweep_is_in_the_readme() -> None:
    assert sorted(counts()) == SWEEPS


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes(name: str) -> None:
    checked = hydra_compose.check([f"sweep={name}"])
    assert checked.multirun and checked.folder is not None
    assert len(checked.configs) == len(set(map(repr, checked.configs)))
    overlay = yaml.safe_load((CONF / "sweep" / f"{name}.yaml").read_text())
    sweeper = yaml.safe_load((CONF / "hydra" / "sweeper" / "search.yaml").read_text())
    # Of a search the corners of its space are composed; how many trials there are is an option.
    searches = overlay.get("defaults") == ["/hydra/sweeper/search"]
    assert counts()[name] == (sweeper["n_trials"] if searches else len(checked.configs))


def test_an_axis_of_a_sweep_can_be_replaced() -> None:
    checked = hydra_compose.check(["sweep=merge_count", "planner.merge_count=2,7"])
    assert [config.planner.merge_count for config in checked.configs] == [2, 7]
    checked = hydra_compose.check(["sweep=merge_count", "planner.merge_count=2", "seed=0,1"])
    assert [(config.planner.merge_count, config.seed) for config in checked.configs] == [(2, 0), (2, 1)]
