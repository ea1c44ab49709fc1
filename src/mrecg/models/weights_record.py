"""Record of a model's weights: their origin, and the tensor of the file for each tensor of the model."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

NOTED = 3
"""Pairs of names that a line on the screen shows."""
RANDOM = "random"
"""Start of the origin of untrained weights."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Origin of a model's weights.

    Attributes:
        origin: Where they come from: ``embedded``, ``python``, ``random, seed 0``, the name of published
            weights, or the checkpoint as it was configured.
        sha256: The SHA-256 of the file; None where no file is known.
        key: The key of the state dict inside the file; None if it was at the top, or if there was no file.
        match: How the file's tensors were matched, by ``name`` or by ``order``; None where none were.
        tensors: The number of the model's tensors, without the counters of BatchNorm.
        mapping: The name in the file (without the prefixes of wrappers) and the name in the model of each
            tensor that was loaded, in the model's order.
    """

    origin: str
    sha256: str | None
    key: str | None
    match: Literal["name", "order"] | None
    tensors: int
    mapping: tuple[tuple[str, str], ...]

    @property
    def renamed(self) -> int:
        """The number of tensors whose name in the file is not the model's."""
        return sum(theirs != own for theirs, own in self.mapping)

    def facts(self) -> dict[str, Any]:
        """Give what summary.json holds: all but the mapping, of which it has the number of changed names."""
        return {
            "origin": self.origin,
            "sha256": self.sha256,
            "key": self.key,
            "match": self.match,
            "tensors": self.tensors,
            "renamed": self.renamed,
        }

    def as_dict(self) -> dict[str, Any]:
        """Give what weights.json holds."""
        return {**self.facts(), "mapping": dict(self.mapping)}

    def note(self) -> str | None:
        """Say in one line that names were changed, or that nothing was trained; None where neither is so."""
        if self.match is None and self.origin.startswith(RANDOM):
            return (
                f"weights: {self.origin}; model.checkpoint=FILE or model.weights=DEFAULT gives trained ones"
            )
        changed = [pair for pair in self.mapping if pair[0] != pair[1]]
        if not changed:
            return None
        shown = ", ".join(f"{theirs} -> {own}" for theirs, own in changed[:NOTED])
        more = ", ..." if len(changed) > NOTED else ""
        how = "by order" if self.match == "order" else "by name, renamed,"
        return f"weights: {self.tensors} tensors {how} from {self.origin} ({shown}{more})"


def unloaded(origin: str, names: Iterable[str]) -> Weights:
    """Make the record of weights that no file gave.

    Args:
        origin: Where they come from instead.
        names: Of the model's tensors.

    Returns:
        The record, with an empty mapping.
    """
    return Weights(origin=origin, sha256=None, key=None, match=None, tensors=len(tuple(names)), mapping=())


def as_named(origin: str, names: Iterable[str], *, sha256: str | None) -> Weights:
    """Make the record of weights that came under the model's own names.

    Args:
        origin: Where they come from.
        names: Of the model's tensors.
        sha256: Of their file; None where it is not known.
    """
    mapping = tuple((name, name) for name in names)
    return Weights(
        origin=origin, sha256=sha256, key=None, match="name", tensors=len(mapping), mapping=mapping
    )
