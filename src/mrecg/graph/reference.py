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
from mrecg.graph.structure import Structure, structure_of

TOLERANCE = 1e-3
"""Relative error of the graph's outputs, at most; folding in float32 stays far below."""


WRAP = (
    "wrap it in a module whose forward takes the images alone and gives it the rest (a constant, or "
    "channels of the images)"
)
"""What to do with a model that has several inputs."""


class OtherOutputsError(GraphError):
    """A graph computes something else than its model."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Random images and what the model makes of them, before anything is changed.

    Attributes:
        name: The model's class.
        images: Of the model's own type.
        structure: How its outputs are put together.
        outputs: What the model gave: all tensors, or the one that was chosen.
        low: Types with few digits that it computes in.
    """

    name: str
    images: Tensor
    structure: Structure
    outputs: tuple[Tensor, ...]
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
            f"are supported: {WRAP}"
        )
    by_name = [o.name for o in options if o.kind is o.KEYWORD_ONLY and o.name in required]
    if by_name:
        raise GraphError(f"{name} takes {by_name[0]} as a keyword only; its images have to be positional")
    if all(o.kind in (o.KEYWORD_ONLY, o.VAR_KEYWORD) for o in options):
        raise GraphError(f"{name} has 0 inputs; only models with one input tensor are supported")


@torch.no_grad()
def run(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    again: bool = False,
    output: str | int | None = None,
) -> Reference | None:
    """Run a model on random images.

    Args:
        input_shape: Channels, height and width of an image.
        again: Run it on others as well, of another number. What a hook leaves on its module is then of these:
            if it depends on the images, the graph's outputs differ from those of the first time.
        output: The output that was chosen; None: all.

    Returns:
        Images and outputs; None where the parameters have no values.

    Raises:
        DataError: The model does not take images of this shape.
        GraphError: It returns something else than tensors, or has no such output.
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
    structure, tensors = structure_of(outputs)
    if output is not None:
        tensors = [tensors[structure.place(output, name)]]
    low = watch.seen | ({dtype} & set(LOW))
    return Reference(name=name, images=images, structure=structure, outputs=tuple(tensors), low=tuple(low))


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
    given = (found,) if isinstance(found, Tensor) else found
    expected = [_as(output, dtype) for output in reference.outputs]
    if not all(isinstance(value, Tensor) for value in given) or [x.shape for x in expected] != [
        value.shape for value in given
    ]:
        raise OtherOutputsError(f"{reference.name}'s graph gives outputs of another shape than the model")
    pairs = [(_as(value, dtype), other) for value, other in zip(given, expected, strict=True)]
    known = [
        (value - other).norm() / other.norm().clamp(min=1e-12)
        for value, other in pairs
        if other.isfinite().all()
    ]
    difference = max(known, default=torch.zeros(()), key=lambda value: float(value.nan_to_num(torch.inf)))
    tolerance = max([TOLERANCE, *(LOW[dtype] for dtype in reference.low)])
    if not difference <= tolerance:
        also = f", or a hook does one of these ({'; '.join(hooks)})" if hooks else ""
        raise OtherOutputsError(
            f"{reference.name}'s graph gives other outputs than the model (relative difference "
            f"{float(difference):.2g}): it overwrites a tensor through a view, draws at random, "
            f"or depends on more than its input{also}"
        )


def _as(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value.double()
