from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from mrecg.config.fields import about
from mrecg.config.schema import RunConfig, TrainerConfig
from mrecg.config.validate import run_config
from mrecg.methods.registry import METHODS

GROUPS: list[Any] = [
    RunConfig,
    *(type(getattr(RunConfig(), f.name)) for f in fields(RunConfig)),
    *(METHODS.get(name).settings for name in METHODS),
]
CLASSES = [group for group in dict.fromkeys(GROUPS) if is_dataclass(group)]


@pytest.mark.parametrize("group", CLASSES, ids=lambda group: group.__name__)
def test_every_field_and_group_is_described(group: Any) -> None:
    for name in (field.name for field in fields(group)):
        assert about(group, name).endswith("."), f"{group.__name__}.{name}"
    assert group.__doc__ and not group.__doc__.startswith(f"{group.__name__}(")


@pytest.mark.parametrize("group", CLASSES, ids=lambda group: group.__name__)
def test_every_group_is_frozen_and_refuses_unknown_keys(group: Any) -> None:
    assert group.__dataclass_params__.frozen
    assert group.__pydantic_config__["extra"] == "forbid"


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 32])
def test_storable_bit_widths(bits: int) -> None:
    config = run_config({"bits": {"weight": bits, "activation": bits, "boundary": bits}}).bits
    assert (config.weight, config.activation, config.boundary) == (bits, bits, bits)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices(device: str) -> None:
    assert run_config({"trainer": {"device": device}}).trainer.device == device


@pytest.mark.parametrize(
    ("steps", "factor"), [(20_000, 1), (40_000, 1), (5_000, 4), (1_000, 20), (200, 20), (1, 20)]
)
def test_learning_rates_go_with_one_over_the_steps(steps: int, factor: float) -> None:
    assert TrainerConfig(steps=steps, lr_factor="auto").rates == factor
    assert TrainerConfig(steps=steps).rates == 1
    assert TrainerConfig(steps=steps, lr_factor=3).rates == 3
