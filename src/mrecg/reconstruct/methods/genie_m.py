"""Genie-M: QDrop with the steps of the weight grids learned, over the floor that the first steps gave.

Source: Jeon et al., Genie: Show Me the Data for Quantization, arXiv 2212.04780, and its published code.
"""

from dataclasses import replace

from mrecg.config.methods import GenieM
from mrecg.reconstruct.methods import qdrop
from mrecg.reconstruct.methods.base import Family, Pass


def passes(config: GenieM, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    (task,) = qdrop.passes(config, family)
    assert task.rounding is not None
    return (replace(task, rounding=replace(task.rounding, scale_lr=config.lr_weight_scale)),)
