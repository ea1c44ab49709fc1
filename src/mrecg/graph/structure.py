"""What a model returns: tensors in nested dicts, lists, tuples and dataclasses, each with a name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from mrecg.errors import GraphError
from mrecg.graph.containers import (
    Mapped,
    Node,
    Sequenced,
    dataclass_maker,
    emptied,
    is_portable,
    parts_of,
)

OUTPUTS = "outputs"
"""Key in a traced graph's ``meta``, and path of the module that puts the outputs of a network together."""
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


@dataclass(frozen=True)
class _Leaf:
    """Stands for a tensor.

    Attributes:
        place: Its place among the tensors.
    """

    place: int


@dataclass(frozen=True, kw_only=True)
class Structure:
    """How a model's outputs are put together.

    Attributes:
        names: Of the tensors in order: keys, fields and places on the way to each, joined by dots; ``("",)``
            where the model returns one tensor alone.
    """

    names: tuple[str, ...]
    _tree: Any

    @property
    def alone(self) -> bool:
        """Whether the model returns one tensor and nothing around it."""
        return isinstance(self._tree, _Leaf)

    def build(self, tensors: Sequence[Any]) -> Any:
        """Put tensors where the model had them.

        Args:
            tensors: One for each name.

        Returns:
            What the model would return.
        """
        return _build(self._tree, tensors)

    @property
    def portable(self) -> bool:
        """Whether it is made of dicts with names, lists and tuples, which need no class of the user's."""
        return is_portable(self._tree)

    def place(self, wanted: str | int, model: str) -> int:
        """Find the output that a user has chosen.

        Args:
            wanted: Its name, or its place.
            model: The model's class, for messages.

        Returns:
            Its place among the tensors.

        Raises:
            GraphError: There is none, or there are several below this name.
        """
        text = str(wanted)
        if text in self.names:
            return self.names.index(text)
        below = [name for name in self.names if name.startswith(f"{text}.")]
        if len(below) == 1:
            return self.names.index(below[0])
        number = int(text) if text.removeprefix("-").isdecimal() else None
        if not below and number is not None and -len(self.names) <= number < len(self.names):
            return range(len(self.names))[number]
        if self.alone:
            raise GraphError(f"model.output: {model} returns one tensor, not {text!r}; leave the key out")
        raise GraphError(
            f"model.output: {text!r} is not one output of {model}; choose from {listed(below or self.names)}"
        )


ALONE = Structure(names=("",), _tree=_Leaf(0))


def by_name(names: Sequence[str]) -> Structure:
    """Build the structure that has all tensors in one dict.

    Args:
        names: Of the tensors in order.
    """
    leaves = tuple((name, _Leaf(place)) for place, name in enumerate(names))
    return Structure(names=tuple(names), _tree=Node(Mapped(None, tuple(names)), leaves))


def in_tuple(names: Sequence[str]) -> Structure:
    """Build the structure that has all tensors in one tuple; see `by_name`."""
    leaves = tuple((name, _Leaf(place)) for place, name in enumerate(names))
    return Structure(names=tuple(names), _tree=Node(Sequenced(tuple), leaves))


class Returned(nn.Module):
    """Puts the outputs of a network together, at the end of its graph.

    Args:
        structure: As the model has them.
    """

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure

    def forward(self, *tensors: Tensor) -> Any:
        """Put them together."""
        return self.structure.build(tensors)


def structure_of(value: Any) -> tuple[Structure, list[Any]]:
    """Take apart what a model returns.

    Args:
        value: Tensors, or torch.fx's proxies, in any nesting.

    Returns:
        The structure, and the tensors in order.

    Raises:
        GraphError: It holds none, or something that tensors cannot be told apart in.
    """
    found: list[tuple[str, Any]] = []
    tree = _tree(value, "", found)
    if not found:
        raise GraphError(f"the model returns {type(value).__name__} without a tensor")
    return Structure(names=tuple(name for name, _ in found), _tree=tree), [tensor for _, tensor in found]


def tensors_of(value: Any) -> list[Tensor]:
    """List the tensors that a model or a quantized network has returned, in order."""
    return [value] if isinstance(value, Tensor) else structure_of(value)[1]


def has_entries(value: Tensor, images: int) -> bool:
    """Return whether an output has an entry for each image; a constant of the network's own has none."""
    return value.dim() > 0 and len(value) == images


def joined(value: Any, images: int) -> Tensor:
    """Lay all outputs of a network together, so that they can be compared with others at once.

    Args:
        value: What the network has returned for a batch.
        images: Images of the batch.

    Returns:
        The tensor where there is one alone; otherwise shape (B, ..., 1), each output scaled so that its
        squared error counts as a mean over its positions. Integers and constants are left out.
    """
    if isinstance(value, Tensor):
        return value
    parts = [x for x in tensors_of(value) if x.is_floating_point() and has_entries(x, images)]
    rows = [x.reshape(images, -1) * math.sqrt(1 / positions(x.shape[1:])) for x in parts]
    together: Tensor = torch.cat(rows, 1)
    return together.unsqueeze(-1)


def positions(size: Sequence[int]) -> int:
    """Count the positions of a value, over which its squared error is a mean.

    Args:
        size: Its shape without the batch: channels first.
    """
    return max(math.prod(size[1:]), 1)


def listed(names: Sequence[str], most: int = 12) -> str:
    """List names of outputs in a message, each as ``model.output`` takes it."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _tree(value: Any, path: str, found: list[tuple[str, Any]]) -> Any:
    """Copy nested containers with `_Leaf` in place of tensors."""
    if isinstance(value, Tensor | fx.Proxy):
        found.append((path, value))
        return _Leaf(len(found) - 1)
    if isinstance(value, _PLAIN):
        return value
    parts = parts_of(value)
    if parts is None:
        where = f" at {path}" if path else ""
        raise GraphError(
            f"the model returns {type(value).__name__}{where}; tensors in dicts, lists, tuples and "
            "dataclasses can be followed"
        )
    inside = {name: _tree(part, f"{path}.{name}" if path else name, found) for name, part in parts}
    if is_dataclass(value):
        return Node(dataclass_maker(type(value)), tuple(inside.items()))
    if isinstance(value, Mapping):
        keys = tuple(value)
        return Node(Mapped(emptied(value), keys), tuple(inside.items()))
    return Node(Sequenced(type(value)), tuple(inside.items()))


def _build(tree: Any, tensors: Sequence[Any]) -> Any:
    if isinstance(tree, _Leaf):
        return tensors[tree.place]
    if isinstance(tree, Node):
        return tree.make({name: _build(part, tensors) for name, part in tree.parts})
    return tree
