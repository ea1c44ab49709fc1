"""Closed form: integers, grids and a correction of every layer's output from moments; no gradient step.

Sources: coordinate descent as in COMQ, arXiv 2403.07134; weights that make up for quantized inputs as in
GPTAQ, arXiv 2504.02692; gain and mean of outputs as in QwT-v2, arXiv 2505.20932.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT, MethodSettings
from mrecg.methods.passes import Family, Pass, Solve
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClosedForm(MethodSettings):
    """Closed form: every layer's integers, grid, gain and bias from moments of its inputs, in seconds."""

    name: Literal["closed_form"] = "closed_form"
    images: Annotated[int, Field(ge=1)] = 256
    """The most calibration images from which moments are taken."""
    held_out: Annotated[int, Field(ge=1)] = 64
    """The most calibration images that choose what is accepted. They are never more than a quarter of all."""
    sweeps: Annotated[int, Field(ge=2, le=100)] = 4
    """How often each integer of a layer is visited."""
    compensation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The fraction of the change in a layer's output, caused by quantized inputs, that its weights make up
    for."""


@register(ClosedForm)
def passes(config: ClosedForm, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    del family
    solve = Solve(
        images=config.images,
        held_out=config.held_out,
        sweeps=config.sweeps,
        compensation=config.compensation,
    )
    return (Pass(name="closed_form", solve=solve),)
