"""One file a method; each turns its hyper-parameters into passes over the network.

A method is the function ``passes`` of the module that has its name. To add one: its hyper-parameters in
`mrecg.config.methods`, its file here, its YAML in conf/method and its test.
"""

from importlib import import_module

from mrecg.config.methods import LearnedRounding, Rtn
from mrecg.reconstruct.methods.base import LearnRounding, LearnScales, Pass, PassBuilder

__all__ = ["LearnRounding", "LearnScales", "Pass", "passes_of"]

DEPTHWISE_REGULARISER, DENSE_REGULARISER = 0.1, 0.01
"""Lambda where the config leaves it open: networks with and without depthwise convolutions."""


def passes_of(method: Rtn | LearnedRounding, *, depthwise: bool, lr_factor: float = 1.0) -> tuple[Pass, ...]:
    """Ask a method for its passes.

    Args:
        method: Its hyper-parameters.
        depthwise: Whether the network has depthwise convolutions; decides an open lambda.
        lr_factor: Factor on its learning rates.

    Returns:
        The passes in order.
    """
    name = getattr(method, "name")  # noqa: B009  every hyper-parameter class has a literal name of its own
    build: PassBuilder = import_module(f"{__name__}.{name}").passes
    tasks = build(method, regulariser=DEPTHWISE_REGULARISER if depthwise else DENSE_REGULARISER)
    return tuple(task.faster(lr_factor) for task in tasks)
