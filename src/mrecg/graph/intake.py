"""Intake of a model: out of its wrapper, refused by name where it cannot be followed, and copied.

What is quantized is a copy, so everything that the work changes (weights, hooks, modes) stays as it was in
the model that was given.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from mrecg.errors import GraphError

_WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
}
"""Classes of torch and timm that only call another module, and the attribute that holds it."""
_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "mrecg.quant.")
_PREPARED = ("torch.ao.nn.qat", "torch.ao.nn.intrinsic.qat", "torch.ao.quantization.")


def unwrap(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """Take a model out of what is only around it: for several devices, averaged, compiled, or for training.

    Args:
        model: What a user brings.

    Returns:
        The model inside, with a note on each wrapper. A wrapper that has hooks stays.

    Raises:
        GraphError: This is not a model, or one without a forward whose parts are several.
    """
    if not isinstance(model, nn.Module):
        raise GraphError(_no_module(model))
    notes = []
    while (attribute := _holder(model)) is not None:
        if model._forward_hooks or model._forward_pre_hooks:
            break
        inside = getattr(model, attribute)
        notes.append(
            f"{type(model).__name__} is only a wrapper: the {type(inside).__name__} in its .{attribute} is "
            "quantized"
        )
        model = inside
    return model, notes


def take(model: nn.Module) -> nn.Module:
    """Copy a model, in evaluation mode and without gradients.

    Args:
        model: The network, from `unwrap`; it is not changed.

    Returns:
        The copy; it has no inference tensors, no wrappers that need a device or a compiler, and no hooks on
        gradients.

    Raises:
        GraphError: A part of it has no Python code, no weights yet, quantized or sparse weights, or cannot be
            copied.
    """
    for path, module in model.named_modules():
        if reason := _refusal(module):
            raise GraphError(f"{_where(model, path)} {reason}")
    copied = _copy(model)
    # Not copied.eval(): what torch.export gives refuses it.
    nn.Module.train(copied, mode=False)
    for module in copied.modules():
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return copied.requires_grad_(False)


def _no_module(model: object) -> str:
    name = type(model).__name__
    if isinstance(model, torch.export.ExportedProgram):
        return "model: an ExportedProgram is not an nn.Module; pass what its .module() returns"
    if isinstance(model, type) and issubclass(model, nn.Module):
        return f"model: {model.__name__} is a class; pass an object of it with its weights"
    inside = [key for key, value in getattr(model, "__dict__", {}).items() if isinstance(value, nn.Module)]
    if isinstance(model, Mapping):
        return f"model: {name} is not an nn.Module; load it into one with load_state_dict"
    hint = f"; pass its .{inside[0]}" if len(inside) == 1 else ""
    return f"model: {name} is not an nn.Module{hint}"


def _of_torch(module: nn.Module) -> str | None:
    """Name the attribute that one of torch's or timm's wrappers holds a model in."""
    for kind in type(module).__mro__:
        if kind.__name__ in _WRAPPERS and kind.__module__.startswith(("torch.", "timm.")):
            return _WRAPPERS[kind.__name__]
    return None


def _holder(module: nn.Module) -> str | None:
    """Name the attribute that holds the model, if this one is a wrapper."""
    if (attribute := _of_torch(module)) is not None:
        return attribute
    if _has_forward(module):
        return None
    parts = [name for name, part in module.named_children() if any(True for _ in part.parameters())]
    if len(parts) == 1:
        return parts[0]
    names = ", ".join(f".{name}" for name in parts) or "none with weights"
    raise GraphError(f"{type(module).__name__} has no forward; pass the part that is the network ({names})")


def _has_forward(module: nn.Module) -> bool:
    function = getattr(module, "forward", None)
    owner = str(getattr(function, "__module__", ""))
    missing = getattr(function, "__name__", "") == "_forward_unimplemented"
    return not missing and not owner.startswith(("lightning.", "pytorch_lightning."))


def _refusal(module: nn.Module) -> str | None:  # noqa: PLR0911
    """Say why a module cannot be a part of what is quantized, if so."""
    kind = type(module).__name__
    if type(module).__module__.startswith(_QUANTIZED):
        return f"({kind}) is quantized already; pass the model in floating point"
    if type(module).__module__.startswith(_PREPARED) and not kind.endswith("Stub"):
        return f"({kind}) is a part of another quantization; pass the model as it was before"
    if isinstance(module, torch.jit.ScriptModule):
        if all(parameter.dim() < 2 for parameter in module.parameters()):
            return None
        return (
            "is a scripted or traced module (torch.jit), which has no Python code to follow; pass the module "
            "that it was made from"
        )
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            return f"({kind}) has no {name} yet; run the model on an image first"
        if tensor is not None and tensor.is_quantized:
            return f"({kind}) has a quantized {name}; pass the model in floating point"
        if tensor is not None and tensor.layout != torch.strided:
            return f"({kind}) has a sparse {name}; make it dense first (to_dense())"
    return None


def _where(model: nn.Module, path: str) -> str:
    return f"{type(model).__name__}.{path}" if path else type(model).__name__


class Through(nn.Module):
    """Stands for a wrapper inside a model: calls what it holds, under the same path.

    Args:
        attribute: Name of what it holds.
        inside: The module.
        wrapper: The wrapper, for its hooks.
    """

    def __init__(self, attribute: str, inside: nn.Module, wrapper: nn.Module) -> None:
        super().__init__()
        self.attribute, self.stands_for = attribute, type(wrapper).__name__
        self.add_module(attribute, inside)
        for table in ("_forward_hooks", "_forward_pre_hooks"):
            for suffix in ("", "_with_kwargs"):
                getattr(self, table + suffix).update(getattr(wrapper, table + suffix))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module inside."""
        return self.get_submodule(self.attribute)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Look in the module inside for what is not here, as torch.compile's wrapper does."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            inside = vars(self).get("_modules", {}).get(vars(self).get("attribute"))
            if inside is None or name.startswith("__"):
                raise
            return getattr(inside, name)


def _copy(model: nn.Module) -> nn.Module:
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in tensors_in(vars(module)):
            # deepcopy refuses what was computed (a normalised weight), and copies inference tensors as such.
            if tensor.is_inference() or not tensor.is_leaf:
                plain = tensor.detach().clone()
                parameter = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(plain, requires_grad=False) if parameter else plain
    plain_ones = dict(memo)  # a copy that fails leaves incomplete entries
    try:
        for module in reversed(list(model.modules())):  # what is inside comes first
            if (held := _of_torch(module)) is not None:
                memo[id(module)] = Through(held, copy.deepcopy(getattr(module, held), memo), module)
        return copy.deepcopy(model, memo)
    except Exception as error:  # an attribute's own code may raise anything
        raise GraphError(_uncopied(model, plain_ones, error)) from error


def tensors_in(value: object) -> Iterator[Tensor]:
    """Find all tensors in nested lists, tuples and dicts.

    Yields:
        The tensors.
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def _uncopied(model: nn.Module, memo: Mapping[int, Any], error: Exception) -> str:
    """Name the attribute that stops the copy."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name == "_modules":
                continue
            try:
                copy.deepcopy(value, dict(memo))
            except Exception as reason:  # as above
                what = "one of its hooks" if "hooks" in name else f"its attribute {name!r}"
                return (
                    f"{_where(model, path)}: {what} ({type(value).__name__}) cannot be copied "
                    f"({one_line(reason)}); quantization works on a copy: remove it from the model, or give "
                    f"{type(module).__name__} a __deepcopy__"
                )
    return f"{type(model).__name__} cannot be copied ({one_line(error)}); quantization works on a copy"


def one_line(error: BaseException, limit: int = 300) -> str:
    """Give an error's text in one line.

    Args:
        limit: Characters at most.

    Returns:
        The text, or the error's type where it has none.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]}..."
