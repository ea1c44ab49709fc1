"""Outputs of a model for random images, and the check that its graph gives the same."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from mrecg.errors import DataError, GraphError
from mrecg.graph.fx_tracer import stopping_line
from mrecg.graph.intake import one_line
from mrecg.graph.precision import LOW, Watch, type_of

TOLERANCE = 1e-3
"""Relative error of the graph's outputs, at most; folding in float32 stays far below."""


class OtherOutputsError(GraphError):
    """A graph computes something else than its model."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Random images and what the model makes of them, before anything is changed.

    Attributes:
        name: The model's class.
        images: Of the model's own type.
        outputs: What the model gave.
        low: Types with few digits that it computes in.
    """

    name: str
    images: Tensor
    outputs: Tensor
    low: tuple[torch.dtype, ...]


def check_inputs(model: nn.Module) -> None:
    """Refuse a model that takes more than its images; what has a default keeps it.

    Raises:
        GraphError: Several inputs are required, or none can be given.
    """
    name = type(model).__name__
    try:
        options = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [o.name for o in options if o.default is o.empty and o.kind not in several]
    if len(required) > 1:
        raise GraphError(
            f"{name} has {len(required)} inputs ({', '.join(required)}); only models with one input tensor "
            "are supported"
        )
    by_name = [o.name for o in options if o.kind is o.KEYWORD_ONLY and o.name in required]
    if by_name:
        raise GraphError(f"{name} takes {by_name[0]} as a keyword only; its images have to be positional")
    if all(o.kind in (o.KEYWORD_ONLY, o.VAR_KEYWORD) for o in options):
        raise GraphError(f"{name} has 0 inputs; only models with one input tensor are supported")


@torch.no_grad()
def run(model: nn.Module, input_shape: tuple[int, ...], *, again: bool = False) -> Reference | None:
    """Run a model on random images.

    Args:
        input_shape: Channels, height and width of an image.
        again: Run it on others as well, of another number. What a hook leaves on its module is then of these:
            if it depends on the images, the graph's outputs differ from those of the first time.

    Returns:
        Images and outputs; None where the parameters have no values.

    Raises:
        DataError: The model does not take images of this shape.
        GraphError: It does not return one tensor.
    """
    device, dtype = type_of(model)
    if device.type == "meta":
        return None
    # Three images, where torch.export sees two: a graph that is bound to their number does not pass.
    generator = torch.Generator().manual_seed(0)
    images, others = (torch.randn(n, *input_shape, generator=generator).to(device, dtype) for n in (3, 2))
    name = type(model).__name__
    try:
        with Watch() as watch:
            outputs = model(images)
        if again:
            model(others)
    except Exception as error:  # the model's own code may raise anything
        raise DataError(
            f"the model does not take images of shape {tuple(input_shape)}: "
            f"{one_line(error)}{stopping_line(error)}"
        ) from error
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise GraphError(f"{name} returns {kind}; only models that return one tensor are supported")
    low = watch.seen | ({dtype} & set(LOW))
    return Reference(name=name, images=images, outputs=outputs, low=tuple(low))


@torch.no_grad()
def compare(traced: fx.GraphModule, reference: Reference, hooks: Sequence[str] = ()) -> None:
    """Check that a graph gives the outputs of its model.

    Args:
        reference: What the model gave.
        hooks: Names of hooks that the model had.

    Raises:
        OtherOutputsError: It does not.
    """
    _, dtype = type_of(traced)
    try:
        found = traced(reference.images.to(dtype))
    except Exception as error:  # the graph's operations may raise anything
        raise OtherOutputsError(f"{reference.name}'s graph cannot be run: {one_line(error)}") from error
    expected = reference.outputs.to(dtype)
    if expected.shape != found.shape:
        raise OtherOutputsError(f"{reference.name}'s graph gives outputs of another shape than the model")
    difference = (found - expected).norm() / expected.norm().clamp(min=1e-12)
    tolerance = max([TOLERANCE, *(LOW[dtype] for dtype in reference.low)])
    if expected.isfinite().all() and not difference <= tolerance:
        also = f", or a hook does one of these ({'; '.join(hooks)})" if hooks else ""
        raise OtherOutputsError(
            f"{reference.name}'s graph gives other outputs than the model (relative difference "
            f"{float(difference):.2g}): it overwrites a tensor through a view, draws at random, "
            f"or depends on more than its input{also}"
        )
