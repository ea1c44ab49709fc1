"""The recipe of experiment=best, on the command line and in Python."""

from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor, nn

import mrecg
from mrecg.config.best import BEST
from mrecg.config.hydra_compose import from_hydra, register
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain

FEW = {"calibration": {"bins": 64, "candidates": 4}, "progress": False}


def test_both_are_one_recipe() -> None:
    register()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="mrecg"):
            config = plain(from_hydra(compose("config", ["experiment=best"])))
    finally:
        GlobalHydra.instance().clear()
    assert {group: {key: config[group][key] for key in own} for group, own in BEST.items()} == BEST


def quantized(model: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch, **given: Any) -> RunConfig:
    """The configuration that the arguments come to."""
    seen: list[RunConfig] = []

    def stop(model: nn.Module, images: Any, config: RunConfig, **rest: Any) -> None:
        seen.append(config)
        raise InterruptedError

    monkeypatch.setattr("mrecg.pipeline.run.quantize", stop)
    with pytest.raises(InterruptedError):
        mrecg.quantize(model, images, **{**FEW, **given})
    return seen[0]


def test_python_takes_it_unless_a_method_is_named(
    tiny: nn.Module, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = plain(quantized(tiny, tiny_images, monkeypatch))
    assert {group: {key: best[group][key] for key in own} for group, own in BEST.items()} == BEST
    other = quantized(tiny, tiny_images, monkeypatch, steps=7, finish={"steps": 9}, granularity="block")
    assert (other.trainer.steps, other.trainer.lr_factor) == (7, BEST["trainer"]["lr_factor"])
    assert (other.finish.name, other.finish.steps, other.granularity.name) == ("network", 9, "block")
    assert quantized(tiny, tiny_images, monkeypatch, finish={"name": "none"}).finish.name == "none"
    named = quantized(tiny, tiny_images, monkeypatch, method="qdrop")
    assert (named.finish.name, named.trainer.steps, named.trainer.lr_factor) == ("none", 20_000, 1)
    assert named.method.learn_biases is False  # type: ignore[attr-defined]


@pytest.mark.slow
def test_it_runs_from_python(tiny: nn.Module, tiny_images: Tensor) -> None:
    trainer, finish = {"batch_size": 4}, {"steps": 2, "batch_size": 4}
    result = mrecg.quantize(tiny, tiny_images, steps=2, trainer=trainer, finish=finish, **FEW)  # type: ignore[arg-type]
    assert torch.isfinite(result.model(tiny_images)).all() and "finish" in result.summary
