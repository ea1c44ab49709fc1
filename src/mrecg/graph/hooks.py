"""Hooks of a model: what changes values becomes part of the graph, what only looks is left out.

A weight layer is replaced by its quantized form, and its hooks would be gone. So each hook is watched while
the model runs on random images. One that returns nothing and changes nothing that passes is taken away; what
it sets on its module (the weight of torch.nn.utils.weight_norm, spectral_norm and prune) is a plain parameter
then. All others are followed by the tracer, and the graph's outputs are compared with the model's.
"""

import dis
import types
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.overrides import TorchFunctionMode

from mrecg.errors import GraphError
from mrecg.graph.intake import one_line, tensors_in
from mrecg.graph.ops import WEIGHT_LAYERS

_TABLES = {"_forward_pre_hooks": "forward pre-hook", "_forward_hooks": "forward hook"}
_GLOBAL = ("_global_forward_pre_hooks", "_global_forward_hooks")
_READS = {"__bool__", "item", "tolist", "numpy", "__float__", "__int__", "__index__", "__array__", "equal",
          "allclose", "is_nonzero", "__contains__"}  # fmt: skip
"""Functions of tensors that give Python a value, on which it may branch."""


class HookError(GraphError):
    """A hook that changes values cannot be followed."""


class Hook:
    """A hook of a module, in whose place it stands.

    Args:
        table: Name of the module's table of hooks.
        key: The hook's key there.
    """

    def __init__(self, path: str, module: nn.Module, table: str, key: int) -> None:
        self.module, self.key = module, key
        self.table: MutableMapping[int, Any] = getattr(module, table)
        self.hook: Callable[..., Any] = self.table[key]
        kind = getattr(module, "stands_for", type(module).__name__)
        where = f"{path} ({kind})" if path else kind
        self.name = f"{where}: its {_TABLES[table]} {hook_name(self.hook)}"
        self.called = self.acts = self.reads = self.watching = False
        self.sets: set[str] = set()

    def __call__(self, module: nn.Module, *given: Any) -> Any:
        """Call the hook; watch what it does, or name it where it fails."""
        if not self.watching:
            try:
                return self.hook(module, *given)
            except Exception as error:  # a hook may raise anything for what is not a tensor
                raise HookError(f"{self.name} cannot be followed ({one_line(error)})") from error
        tensors = list(tensors_in(given))
        before = [tensor.clone() for tensor in tensors]
        own = dict(vars(module))
        with _Reading() as reading:
            result = self.hook(module, *given)
        changed = any(not torch.equal(*pair) for pair in zip(tensors, before, strict=True))
        self.acts = self.acts or result is not None or changed
        self.reads, self.called = self.reads or reading.seen, True
        self.sets |= {
            name
            for name, value in vars(module).items()
            if isinstance(value, Tensor) and own.get(name) is not value
        }
        return result

    @property
    def only_looks(self) -> bool:
        """Return whether it leaves all values as they are, by what was seen and by what its code could do."""
        code = _code(self.hook)
        if not self.called:
            return self.watching or not _changes(code)
        return not self.acts and not (self.reads and _branches(code) and _changes(code))

    def take_away(self) -> list[str]:
        """Remove the hook; what it has set becomes parameters.

        Returns:
            Names of these.
        """
        del self.table[self.key]
        parameters = sorted(name for name in self.sets if name in vars(self.module))
        for name in parameters:
            value = vars(self.module).pop(name)
            setattr(self.module, name, nn.Parameter(value.detach().clone(), requires_grad=False))
        return parameters


class _Reading(TorchFunctionMode):
    """Notes whether Python gets to see a tensor's values."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen = self.seen or getattr(func, "__name__", "") in _READS
        return func(*args, **(kwargs or {}))


def watch(model: nn.Module) -> list[Hook]:
    """Watch all hooks of a copied model while it runs.

    Args:
        model: From `mrecg.graph.intake.take`; its hooks are replaced.

    Returns:
        What stands in their places.
    """
    hooks = []
    for path, module in model.named_modules():
        for table in _TABLES:
            for key in list(getattr(module, table)):
                hook = Hook(path, module, table, key)
                hook.table[key] = hook
                hook.watching = True
                hooks.append(hook)
    return hooks


def settle(hooks: list[Hook], *, ran: bool) -> list[str]:
    """Take away the hooks that only look; those that stay name themselves where they cannot be followed.

    Args:
        hooks: From `watch`.
        ran: Whether the model was run; if not, hooks are known by their code alone.

    Returns:
        What a user should know of each.
    """
    looking, notes, computed = [], [], []
    for hook in hooks:
        hook.watching = ran or _computes_weights(hook)
        if not ran and hook.watching:
            with suppress(Exception):  # it needs the image after all, and is followed by the tracer
                hook(hook.module, ())
        stays = not hook.only_looks
        hook.watching = False
        if stays:
            notes.append(f"{hook.name} is part of the graph")
            continue
        path = hook.name.partition(":")[0]
        parameters = hook.take_away()
        computed += [f"{path}.{name}" for name in parameters]
        if not parameters:
            looking.append(hook)
    notes += [f"{hook.name} changes no value and is left out" for hook in looking]
    if computed:
        notes.append(f"weights that hooks compute are plain weights: {_listed(computed)}")
    return notes


def _computes_weights(hook: Hook) -> bool:
    """Return whether a hook seems to set a weight: it is torch's, or the layer lacks a weight without it."""
    norms = ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm")
    if isinstance(hook.hook, BasePruningMethod) or type(hook.hook).__module__ in norms:
        return True
    return isinstance(hook.module, WEIGHT_LAYERS) and not hasattr(hook.module, "weight")


def _listed(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def clear(model: nn.Module, whole: Collection[nn.Module]) -> None:
    """Remove all hooks of a model whose graph has them.

    Args:
        model: The traced copy.
        whole: Modules that the graph calls as they are; the hooks inside stay.
    """
    inside = {part for module in whole for part in module.modules()} - set(whole)
    for module in model.modules():
        if module not in inside:
            for table in _TABLES:
                getattr(module, table).clear()


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module calls hooks around its forward."""
    return any(bool(getattr(module, table)) for table in _TABLES)


@contextmanager
def without_global_hooks() -> Iterator[list[str]]:
    """Keep hooks of all modules away from a tracer.

    Yields:
        Their names.
    """
    tables = [getattr(torch_module, table) for table in _GLOBAL]
    kept = [dict(table) for table in tables]
    for table in tables:
        table.clear()
    try:
        yield [hook_name(hook) for table in kept for hook in table.values()]
    finally:
        for table, before in zip(tables, kept, strict=True):
            table.update(before)


def hook_name(hook: Callable[..., Any]) -> str:
    """Name a hook for a message.

    Returns:
        Its qualified name, or its class.
    """
    named = getattr(hook, "__qualname__", None) or getattr(getattr(hook, "func", None), "__qualname__", None)
    return str(named or type(hook).__name__)


def _changes(code: types.CodeType | None) -> bool:
    """Return whether code returns something, or calls what works in place."""
    if code is None:
        return True
    steps = list(dis.get_instructions(code))
    nothing = [
        # Where branches meet before the return, another one may bring something else than None.
        step.argval is None
        if step.opname == "RETURN_CONST"
        else _loads_none(before) and not step.is_jump_target
        for before, step in zip([None, *steps], steps, strict=False)
        if step.opname in ("RETURN_CONST", "RETURN_VALUE")
    ]
    return not all(nothing) or any(name.endswith("_") and not name.endswith("__") for name in code.co_names)


def _branches(code: types.CodeType | None) -> bool:
    """Return whether code can do something else than it has done once."""
    return code is None or any("JUMP" in step.opname for step in dis.get_instructions(code))


def _loads_none(step: "dis.Instruction | None") -> bool:
    return step is not None and step.opname == "LOAD_CONST" and step.argval is None


def _code(hook: Callable[..., Any]) -> types.CodeType | None:
    hook = getattr(hook, "func", hook)  # functools.partial
    if not hasattr(hook, "__code__") and not hasattr(hook, "__func__"):
        hook = type(hook).__call__
    code = getattr(getattr(hook, "__func__", hook), "__code__", None)
    return code if isinstance(code, types.CodeType) else None
