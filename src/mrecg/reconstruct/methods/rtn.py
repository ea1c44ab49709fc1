"""Round to nearest: one walk that learns nothing and measures."""

from mrecg.config.methods import Rtn
from mrecg.reconstruct.methods.base import Family, Pass


def passes(config: Rtn, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    del config, family
    return (Pass(name="nearest"),)
