"""One file a method; each turns its hyper-parameters into passes over the network.

A method is the function ``passes`` of the module that has its name. To add one: its hyper-parameters in
`mrecg.config.methods`, its file here, its YAML in conf/method and its test.
"""

from importlib import import_module

from mrecg.config.methods import LearnedRounding, Rtn
from mrecg.reconstruct.methods.base import (
    Correction,
    LearnRounding,
    LearnScales,
    Pass,
    PassBuilder,
    Prediction,
    family_of,
)

__all__ = ["Correction", "LearnRounding", "LearnScales", "Pass", "Prediction", "passes_of"]


def passes_of(
    method: Rtn | LearnedRounding, *, depthwise: bool, model: str = "", lr_factor: float = 1.0
) -> tuple[Pass, ...]:
    """Ask a method for its passes.

    Args:
        method: Its hyper-parameters.
        depthwise: Whether the network has depthwise convolutions; decides what they leave
            open.
        model: The network's name, by which papers' choices are found.
        lr_factor: Factor on its learning rates.

    Returns:
        The passes in order.
    """
    name = getattr(method, "name")  # noqa: B009  every hyper-parameter class has a literal name of its own
    build: PassBuilder = import_module(f"{__name__}.{name}").passes
    family = family_of(model, depthwise=depthwise)
    return tuple(task.faster(lr_factor) for task in build(method, family))
