"""The Python API's arguments: what is wrong with one is a line, and what it changes outside is nothing."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from brought import images, network
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mrecg
from mrecg.errors import ConfigError

QUICK = {"calibration": {"bins": 64, "candidates": 4}, "progress": False, "method": "rtn"}


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"weight_bits": {"b1": 8}}, ["bits.weight", "one width for all layers", "bits.layers"]),
        ({"weights_bits": 4}, ["weights_bits", "did you mean weight_bits?", "evaluation", "calibration"]),
        ({"threads": 1}, ["threads", "did you mean trainer={'threads': ...}?"]),
        ({"device": "gpu"}, ["trainer.device: 'gpu' is not right: choose from auto, cpu, cuda"]),
        ({"device": "cuda:77"}, ["trainer.device: cuda:77 is not available"]),
        ({"callback": []}, ["callback: quantize has no such argument (did you mean callbacks?)"]),
        ({"callbacks": mrecg.Callback()}, ["callbacks: Callback is no list; give [Callback]"]),
        ({"callbacks": [mrecg.Callback]}, ["callbacks: Callback is a class; give an object of it"]),
        ({"callbacks": [object()]}, ["callbacks: object has no outline(); derive it from mrecg.Callback"]),
        ({"logger": {"wandb": "offline"}}, ["logger.wandb: offline needs save_to"]),
        ({"model": 3}, ["model: 3 is not right"]),
        ({"model": {"nam": "x"}}, ["model.nam", "did you mean model.name?"]),
        ({"steps": True}, ["trainer.steps: true is not right"]),
        ({"seed": True}, ["seed: true is not right"]),
        ({"method": 3}, ["method.name: '3' is not a choice; choose from rtn"]),
        ({"granularity": 3}, ["granularity.name: 3 is not a choice; choose from layer"]),
        ({"save_to": __file__}, ["save_to: ", "is a file; name a folder"]),
    ],
)
def test_a_wrong_argument_of_quantize_is_one_line(
    settings: dict[str, object], parts: list[str], tiny: nn.Module, tiny_images: Tensor
) -> None:
    with pytest.raises(ConfigError) as raised:
        mrecg.quantize(tiny, tiny_images, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    for part in parts:
        assert part in str(raised.value)


def test_the_network_may_be_given_by_its_name(tiny: nn.Module, tiny_images: Tensor) -> None:
    named: Any = mrecg.quantize
    first = mrecg.quantize(tiny, tiny_images, **QUICK)  # type: ignore[arg-type]
    named = named(model=tiny, calibration_images=tiny_images, **QUICK)
    assert torch.equal(named.model(tiny_images), first.model(tiny_images))
    function: Any
    for function in (mrecg.quantize, mrecg.plan):
        with pytest.raises(ConfigError, match=r"^model: no network is given; .*mrecg\.(quantize|plan)\(net"):
            function(model={"name": "mine"})


def test_every_group_of_the_configuration_is_reachable(tiny: nn.Module, tiny_images: Tensor) -> None:
    made = mrecg.plan(
        tiny, model={"input_shape": tuple(tiny_images.shape[1:]), "name": "mine"}, merge_count=1
    )
    assert len(made.units) == 5
    result = mrecg.quantize(tiny, tiny_images, model={"name": "mine"}, data={"batch_size": 3}, **QUICK)  # type: ignore[arg-type]
    assert result.config.model.name == "mine" and result.config.data.batch_size == 3
    with pytest.raises(
        ConfigError, match=r"mergecount: plan has no such argument \(did you mean merge_count"
    ):
        mrecg.plan(tiny, mergecount=3)


def test_results_are_shown_in_a_few_lines(tiny: nn.Module, tiny_images: Tensor) -> None:
    images = TensorDataset(tiny_images, torch.arange(16) % 10)
    result = mrecg.quantize(tiny, tiny_images, evaluation=images, **QUICK)  # type: ignore[arg-type]
    shown = repr(result)
    assert len(shown.splitlines()) <= 5 and max(map(len, shown.splitlines())) < 100
    quantized = result.summary["quantized"]["top1"]
    for part in ("TinyNet", "W2A4", "rtn", "mixed", "5 units", f"top-1 {100 * quantized:.2f} % quantized"):
        assert part in shown


def test_rounding_to_nearest_needs_no_probe(tiny: nn.Module, tiny_images: Tensor) -> None:
    result = mrecg.quantize(tiny, tiny_images, planner={"name": "loss"}, **QUICK)  # type: ignore[arg-type]
    assert result.plan.merges == () and result.plan.planner == "loss"
    assert "no probe was run" in result.plan.note and "steps" not in result.plan.note


def test_nothing_is_drawn_from_the_generators_of_the_user(tiny: nn.Module, tiny_images: Tensor) -> None:
    def draws() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()

    def seeded() -> None:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)

    seeded()
    expected = draws()
    seeded()
    images = TensorDataset(tiny_images, torch.arange(16) % 10)
    settings = {**QUICK, "method": "qdrop", "steps": 2, "trainer": {"batch_size": 4}, "granularity": "block"}
    mrecg.quantize(tiny, tiny_images, evaluation=images, **settings)  # type: ignore[arg-type]
    mrecg.evaluate(tiny, images)
    mrecg.plan(tiny)
    assert draws() == expected


def test_images_have_two_names_and_one_of_them_is_a_group_beside_images() -> None:
    quick = {**QUICK, "granularity": "block", "trainer": {"threads": 1}}
    group = quick.pop("calibration")
    x = images()
    by_place = mrecg.quantize(network(), x, calibration=group, **quick)  # type: ignore[arg-type]
    assert by_place.config.calibration.bins == 64
    usual = mrecg.quantize(network(), x, **quick).model(x)  # type: ignore[arg-type]
    for named in ({"calibration": x}, {"calibration_images": x}, {"calibration": {"image": x}}):
        found = mrecg.quantize(network(), **named, **quick)  # type: ignore[arg-type]
        assert torch.equal(found.model(x), usual)
    with pytest.raises(ConfigError, match="calibration: is not given; give images"):
        mrecg.quantize(network(), calibration=group, **quick)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"calibration.candidate: unknown key .did you mean calibration.cand"
    ):
        mrecg.quantize(network(), x, calibration={"candidate": 4}, **quick)  # type: ignore[arg-type]
