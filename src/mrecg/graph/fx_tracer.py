"""Trace a model with torch.fx, module by module, and keep whole what has no weights and cannot be traced."""

import inspect
import traceback
from collections.abc import Callable
from typing import Any

from torch import fx, nn

from mrecg.errors import GraphError
from mrecg.graph.hooks import HookError, clear, has_hooks
from mrecg.graph.ops import WEIGHT_LAYERS
from mrecg.graph.same_padding import pads_itself


class UntraceableError(GraphError):
    """torch.fx cannot trace a model; torch.export may."""


def symbolic_trace(model: nn.Module) -> tuple[fx.Graph, list[str]]:
    """Trace a model with torch.fx.

    Layers of torch.nn are leaves; what inherits from one and has a forward of its own is traced into, so that
    its weights and what it does with them are seen. A module that stops the tracer and holds no weights (a
    padding that depends on the size of the image) is kept whole, as a leaf.

    Args:
        model: The network, in evaluation mode; its hooks become part of the graph and are removed.

    Returns:
        The graph, and a note on every module that was kept whole.

    Raises:
        UntraceableError: A module with weights stops the tracer; the message names the line.
    """
    leaves: set[nn.Module] = set()
    notes: list[str] = []
    while True:
        tracer = _Tracer(leaves)
        try:
            graph = tracer.trace(model)
            clear(model, leaves)
            return graph, notes
        except HookError as error:
            raise UntraceableError(str(error)) from error
        except Exception as error:  # the model's own code may raise anything
            path, module = tracer.stopped_in
            reason = f"{_reason(error)}{stopping_line(error)}"
            if module is None or module is model or _has_weights(module):
                raise UntraceableError(
                    f"{type(model).__name__} cannot be traced by torch.fx: {reason}"
                ) from error
            leaves.add(module)
            notes.append(f"{path} ({type(module).__name__}) is kept whole: {reason}")


class _Tracer(fx.Tracer):
    def __init__(self, leaves: set[nn.Module]) -> None:
        super().__init__()
        self.leaves = leaves
        self.inside_hooks: set[nn.Module] = set()
        self.stopped_in: tuple[str, nn.Module | None] = ("", None)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """Call the whole model with one input: its hooks are seen, and its options keep their defaults."""
        model = self.root
        return model, [self.create_proxy("placeholder", _input_name(model), (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if m is self.root or m in self.inside_hooks:
            return False
        if m in self.leaves or pads_itself(m):
            return True
        # A forward that was put in place of the class's own, and torch.ao's layers, do more than the layer.
        own = "forward" in vars(m) or type(m).__module__.startswith("torch.ao.")
        return not own and super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            if has_hooks(m) and self.is_leaf_module(m, self.path_of_module(m)):
                return self._with_hooks(m, forward, args, kwargs)
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.stopped_in[1] is None:  # the innermost module sees the error first
                self.stopped_in = (self.path_of_module(m), m)
            raise

    def _with_hooks(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Let torch call a leaf's hooks, around a forward that makes the leaf's node."""
        path, before = self.path_of_module(m), vars(m).get("forward")
        self.inside_hooks.add(m)
        m.forward = lambda *given, **named: self.create_proxy("call_module", path, given, named)
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self.inside_hooks.discard(m)
            del m.forward
            if before is not None:
                m.forward = before


def _input_name(model: nn.Module) -> str:
    """Name the graph's input as the model does."""
    options = inspect.signature(model.forward).parameters.values()
    named = [option.name for option in options if option.kind is not option.VAR_POSITIONAL]
    return named[0] if named else "x"


def _has_weights(module: nn.Module) -> bool:
    layers = any(isinstance(part, WEIGHT_LAYERS) for part in module.modules())
    return layers or any(parameter.dim() > 1 for parameter in module.parameters())


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def stopping_line(error: BaseException) -> str:
    """Name the line of the model's code that raised.

    Args:
        error: What was raised while the model ran.

    Returns:
        `` (at FILE:LINE: CODE)``; empty where only torch's own code was involved.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename and "/mrecg/graph/" not in frame.filename
    ]
    last = frames[-1] if frames else None
    return f" (at {last.filename}:{last.lineno}: {last.line})" if last else ""
