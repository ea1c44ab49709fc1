"""A method and a criterion from outside of mrecg."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.methods import STRICT, Family, Pass, register
from mrecg.methods.qdrop import QDrop
from mrecg.methods.qdrop import passes as qdrop
from mrecg.planner import criteria


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoPass(QDrop):
    """QDrop, and a second pass that learns the activation steps alone, after all rounding is fixed."""

    name: str = "two_pass"
    second_steps: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Steps of the second pass, as a fraction of the first."""


@register(TwoPass)
def passes(config: TwoPass, family: Family) -> tuple[Pass, ...]:
    """Make the two passes."""
    (first,) = qdrop(config, family)
    return first, replace(first, name="scales", steps=config.second_steps, keep=1.0, rounding=None)


@criteria.register("weights", title="Number of weights", differences=("log_ratio", "squared"), log=True)
def weights(measured: criteria.Measured) -> Sequence[float]:
    """Count the weights of each unit, whatever their bits."""
    return [sum(layer.weights for layer in unit.layers) for unit in measured.units]
