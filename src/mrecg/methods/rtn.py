"""Round to nearest: one walk that learns nothing and measures."""

from typing import Literal

from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT, MethodSettings
from mrecg.methods.passes import Family, Pass
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rtn(MethodSettings):
    """Round to nearest: nothing is learned."""

    name: Literal["rtn"] = "rtn"


@register(Rtn)
def passes(config: Rtn, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    del config, family
    return (Pass(name="nearest"),)
