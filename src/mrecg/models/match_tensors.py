"""Match the tensors of a file with those of a model: by name, by changed name, or by order."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from mrecg.errors import CheckpointError, ConfigError, short
from mrecg.models.fetch import KEY

Pairs = tuple[tuple[str, str], ...]
Tensors = Mapping[str, Tensor]
HOW = "set model.checkpoint_match=order"


def renamed(names: Sequence[str], rename: Mapping[str, str]) -> dict[str, str]:
    """Change names by regular expressions.

    Args:
        names: The file's.
        rename: Patterns and what replaces them anywhere in a name, applied one after the other.

    Returns:
        Each new name with the one it was made from, in the same order.

    Raises:
        ConfigError: A pattern or a replacement is not a regular expression.
        CheckpointError: A pattern is in no name, or two names become one.
    """
    now = list(names)
    for pattern, replacement in rename.items():
        try:
            replaced = [re.subn(pattern, replacement, name) for name in now]
        except (re.error, IndexError) as error:
            raise ConfigError(
                f"model.rename: {pattern!r}: {replacement!r} is not a regular expression: {error}"
            ) from error
        if not any(count for _, count in replaced):
            raise CheckpointError(
                f"model.rename: {pattern!r} is in no name of the file (first {short(now[0])})"
            )
        now = [name for name, _ in replaced]
    back: dict[str, str] = {}
    for new, old in zip(now, names, strict=True):
        if new in back:
            raise CheckpointError(
                f"model.rename: {short(back[new])} and {short(old)} both become {short(new)}"
            )
        back[new] = old
    return back


def by_name(file: Tensors, own: Tensors, what: str, *, ordered: bool) -> Pairs:
    """Pair tensors of the same name.

    Args:
        file: The file's tensors, by name.
        own: The model's.
        what: The file, for the message.
        ordered: Whether the file keeps the order in which a model has its tensors.

    Returns:
        The names twice, in the model's order.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    missing, extra = sorted(own.keys() - file.keys()), sorted(file.keys() - own.keys())
    wrong = [name for name in own if name in file and own[name].shape != file[name].shape]
    if not (missing or extra or wrong):
        return tuple((name, name) for name in own)
    found = [("missing", missing), ("not the model's", extra), ("of another shape", wrong)]
    details = "; ".join(f"{len(names)} {kind} (first {short(names[0])})" for kind, names in found if names)
    hint = ""
    if not missing and not extra:
        hint = _classifier(own, {name: file[name] for name in own}, wrong)
    elif ordered and not _first_difference(file, own):
        hint = f"; the file's {len(file)} tensors fit in order: {HOW}"
    raise CheckpointError(f"{KEY}: {what} does not fit the model: {details}{hint}")


def by_order(file: Tensors, own: Tensors, what: str) -> Pairs:
    """Pair the first tensor with the first, and so on.

    Args:
        file: The file's tensors in its order.
        own: The model's.
        what: The file, for the message.

    Returns:
        Name in the file and name in the model, in order.

    Raises:
        CheckpointError: The numbers differ, or two that meet are of different shape or kind (a BatchNorm's
            weight and bias have one shape).
    """
    pairs = tuple(zip(file, own, strict=False))
    if difference := _first_difference(file, own):
        hint = ""
        if len(file) == len(own) and all(_kind(theirs) == _kind(name) for theirs, name in pairs):
            other = {name: file[theirs] for theirs, name in pairs}
            hint = _classifier(own, other, [n for n in own if other[n].shape != own[n].shape])
        raise CheckpointError(f"{KEY}: {what} does not fit the model in order: {difference}{hint}")
    return pairs


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _first_difference(file: Tensors, own: Tensors) -> str:
    """Say where two sequences of tensors differ first; empty where they do not."""
    count = "" if len(file) == len(own) else f"{len(file)} tensors, the model has {len(own)}; "
    for theirs, name in zip(file, own, strict=False):
        if file[theirs].shape != own[name].shape or _kind(theirs) != _kind(name):
            first, second = tuple(file[theirs].shape), tuple(own[name].shape)
            return f"{count}first difference: {short(theirs)} of shape {first} meets {name} of shape {second}"
    if count:
        longer, shorter = (file, own) if len(file) > len(own) else (own, file)
        return f"{count}first without a partner: {short(list(longer)[len(shorter)])}"
    return ""


def _classifier(own: Tensors, other: Tensors, wrong: Sequence[str]) -> str:
    """Say what to do where only the number of the last layer's outputs differs."""
    last = list(own)[-1].rpartition(".")[0]
    weight = f"{last}.weight"
    if weight not in own or not set(wrong) <= {weight, f"{last}.bias"}:
        return ""
    found, expected = other[weight].shape, own[weight].shape
    if len(found) != len(expected) or found[1:] != expected[1:] or found == expected:
        return ""
    return (
        f"; its last layer has {found[0]} outputs, the model's {expected[0]}: "
        f"build it with {found[0]}, for example by 'model.arguments={{num_classes: {found[0]}}}'"
    )
