"""Round to nearest: one walk that learns nothing and measures."""

from mrecg.config.methods import Rtn
from mrecg.reconstruct.methods.base import Pass


def passes(config: Rtn, *, regulariser: float) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    del config, regulariser
    return (Pass(name="nearest"),)
