"""Reading a checkpoint file without running code, and finding the state dict in it."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrecg.errors import CheckpointError, few, one_of, short
from mrecg.models.fetch import KEY
from mrecg.system.checked_read import DAMAGED
from mrecg.system.variables import variable

HOLDERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "state_dict_ema",
    "model_ema",
    "ema",
)
"""Keys under which training code keeps a state dict."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""

State = dict[str, Tensor]
_DEEPEST = 4
"""Known keys that may lead to a state dict, one inside the other, at most."""
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read(path: Path) -> Any:
    """Read a file.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.load(weights_only=True)`` reads.

    Returns:
        Its content: tensors in containers, on the CPU.

    Raises:
        CheckpointError: The file is damaged, or its content cannot be had without running code.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except Exception as error:  # SafetensorError for most damages; others reach torch
            reason = short(error, 200) or type(error).__name__
            raise CheckpointError(f"{KEY}: {path} cannot be loaded: {reason}") from error
    _refuse_bomb(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of what is refused below, or does no harm: old pickles, sparse ones
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        said = " ".join(str(error).split())
        needed = re.search(r"GLOBAL (\S+)", said)
        if needed is None:  # for what is not a pickle, a web page for example, torch advises to run its code
            core = re.search(r"WeightsUnpickler error: (.+?) Check ", said)
            raise CheckpointError(
                f"{KEY}: {path} cannot be loaded: it is damaged or no file of torch.save: "
                f"{short(core[1] if core else said, 200)}"
            ) from error
        raise CheckpointError(
            f"{KEY}: {path} cannot be loaded without running its code: it needs {short(needed[1])}; "
            "where you trust it, save its state dict alone to a new file"
        ) from error
    except Exception as error:  # a damaged file stops the unpickler anywhere
        reason = short(f"{type(error).__name__} {error}".splitlines()[0], 200)
        raise CheckpointError(f"{KEY}: {path} cannot be loaded: {reason}") from error


def _refuse_bomb(path: Path) -> None:
    """Refuse an archive that says it unpacks to more than it can hold: torch.save compresses nothing."""
    try:
        if not zipfile.is_zipfile(path):
            return  # torch.save's older form, or nothing that it wrote: torch.load says so
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, *DAMAGED) as error:
        raise CheckpointError(f"{KEY}: {path} cannot be loaded: its archive is damaged: {error}") from error
    if size > path.stat().st_size:
        raise CheckpointError(
            f"{KEY}: {path} cannot be loaded: its {path.stat().st_size:,} bytes unpack to {size:,}, "
            "and torch.save writes none like this: save it again"
        )


def without_code() -> AbstractContextManager[None]:
    """Let torch.load refuse what needs code, also where a library asks it not to.

    torch.hub loads published weights with ``weights_only=False``; torch reads this variable at every call.
    """
    return variable(FORCE, "1")


def locate(content: Any, key: str | None, what: str) -> tuple[State, str | None]:
    """Find the state dict in a file's content.

    Args:
        content: What `read` gave.
        key: ``model.checkpoint_key``: a key, or several joined by dots; None: wherever there is only one.
        what: The file, for messages.

    Returns:
        The state dict, and where it was; None: at the top.

    Raises:
        CheckpointError: There is none, there are several, or there is none at the key.
    """
    if key is not None and not _is_state(content):
        inner = _at(content, key)
        found = {f"{key}.{path}" if path else key: state for path, state in _states(inner).items()}
        if not found:
            holding = [str(name) for name in _entries(content) if _states(content[name])]
            choices = [short(name) for name in dict.fromkeys([*_states(content), *holding])][:20]
            raise one_of("model.checkpoint_key", short(key), choices or ["nothing"], error=CheckpointError)
    else:
        found = _states(content)
        if key is not None:
            raise CheckpointError(
                f"model.checkpoint_key: {key} is not in {what}, whose tensors are at the top; leave it null"
            )
    if not found:
        there = few(_entries(content), 5) or type(content).__name__
        raise CheckpointError(
            f"{KEY}: {what} holds no state dict; looked for it at the top, {', '.join(HOLDERS)}; "
            f"found {there}; model.checkpoint_key names another place"
        )
    if len(found) > 1:
        raise CheckpointError(
            f"{KEY}: {what} holds several state dicts: choose one by model.checkpoint_key from {few(found)}"
        )
    path, state = next(iter(found.items()))
    return state, path or None


def unwrapped(state: State, own: Mapping[str, Tensor], what: str) -> State:
    """Drop what DataParallel and torch.compile put before the names.

    Args:
        state: The file's state dict.
        own: The model's; a prefix that it has itself is not dropped.
        what: The file, for messages.

    Returns:
        The same tensors, in the same order.

    Raises:
        CheckpointError: Two names become one.
    """
    wrappers = [prefix for prefix in WRAPPERS if not any(name.startswith(prefix) for name in own)]
    plain: State = {}
    for name, value in state.items():
        bare = name
        while prefix := next((p for p in wrappers if bare.startswith(p)), ""):
            bare = bare.removeprefix(prefix)
        if bare in plain:
            both = f"with and without {', '.join(wrappers)}"
            raise CheckpointError(f"{KEY}: {what} holds {short(bare)} twice, {both}")
        plain[bare] = value
    return plain


def refuse_unusual(state: State, what: str) -> None:
    """Refuse tensors that hold no plain numbers one after the other.

    Args:
        state: The tensors, by name.
        what: The file, for messages.

    Raises:
        CheckpointError: One is sparse, quantized, complex, or has no values at all.
    """
    for name, value in state.items():
        if value.is_meta:
            kind = "has no values (it was saved from the device meta)"
        elif value.is_quantized:
            kind = "is quantized already"
        elif value.layout != torch.strided:
            kind = f"is sparse ({str(value.layout).removeprefix('torch.')})"
        elif value.is_complex():
            kind = "has complex numbers"
        elif value.is_nested:
            kind = "is nested"
        else:
            continue
        raise CheckpointError(
            f"{KEY}: {what}: {short(name)} {kind}; give a state dict of dense floating-point weights"
        )


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _entries(content: Any) -> Mapping[Any, Any]:
    return content if isinstance(content, Mapping) else {}


def _states(content: Any, depth: int = 0) -> dict[str, State]:
    """State dicts by the dotted path of the known keys that lead to them; a dict may hold itself."""
    if _is_state(content):
        return {"": dict(content)}
    if depth == _DEEPEST:
        return {}
    return {
        f"{key}.{path}" if path else key: state
        for key in HOLDERS
        if key in _entries(content)
        for path, state in _states(content[key], depth + 1).items()
    }


def _at(content: Any, key: str) -> Any:
    """Return the value at a key, or at several joined by dots; None where there is none."""
    entries = _entries(content)
    if key in entries:
        return entries[key]
    first, dot, rest = key.partition(".")
    return _at(entries[first], rest) if dot and first in entries else None
