"""The graph that torch.export makes, for models that torch.fx cannot follow.

It sees one execution: what depends on the size of the image is fixed to the size given, the number of images
stays free. Weights come back as functions, which `mrecg.graph.functional_layers` makes into modules again;
the module that each operation ran in is kept, so units are found as in any other graph.
"""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, export

from mrecg.errors import GraphError
from mrecg.graph.fx_tracer import stopping_line
from mrecg.graph.hooks import HookError
from mrecg.graph.precision import type_of

EXAMPLES = 2
"""Images of the execution; 1 would be taken for a constant."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the exporter says off the screen: what it cannot follow is said in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it prints graphs
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def export_graph(model: nn.Module, input_shape: tuple[int, ...]) -> fx.GraphModule:
    """Trace a model by torch.export.

    Args:
        model: The network, in evaluation mode.
        input_shape: Channels, height and width of an image.

    Returns:
        A graph of functions without in-place operations.

    Raises:
        GraphError: torch.export cannot follow the model either, or it returns something else than one tensor.
    """
    device, dtype = type_of(model)
    example = torch.zeros(EXAMPLES, *input_shape, device=device, dtype=dtype)
    first = next(iter(inspect.signature(model.forward).parameters.values()))
    free: Any = {0: Dim.AUTO}
    shapes = ((free,),) if first.kind is first.VAR_POSITIONAL else (free,)
    try:
        with _quietly():
            program = export(model, (example,), dynamic_shapes=shapes, strict=False)
            # Without a table of decompositions this only makes the graph functional.
            whole = program.run_decompositions({}).module(check_guards=False)
    except Exception as error:  # the model's own code may raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = str(error) if isinstance(error, HookError) else lines[0]
        raise GraphError(f"torch.export: {reason}{stopping_line(error)}") from error
    assert isinstance(whole, fx.GraphModule)
    for node in whole.graph.nodes:
        stack = node.meta.get("nn_module_stack", {}).items()
        # What the exporter adds of its own has a stack that names no module of the model.
        node.meta = {"nn_module_stack": {key: entry for key, entry in stack if not key.startswith("_")}}
    return whole
