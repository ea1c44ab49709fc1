"""The packed file: integers of 1 to 8 bits in a file that says what it holds (docs/reference/format.md).

A file has a few long tensors instead of several a layer, because a small network's names would otherwise take
more room than its weights: ``packed`` holds all integers bit by bit, ``values.DTYPE`` everything else, and
``description`` says which part belongs to whom.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from mrecg.errors import CheckpointError
from mrecg.system.checked_read import DAMAGED, json_object

FORMAT, VERSION = "mrecg-quantized", 2
"""Of the file: its only metadata, as several would stand in any order. Version 1 had every tensor under its
own name and integers as whole bytes."""
DESCRIPTION, PACKED, VALUES = "description", "packed", "values."
_LONGEST = 1 << 24
"""Bytes of a description, at most; a network of a thousand layers takes 200,000."""
_AT_ONCE = 1 << 23
"""Integers that are packed at a time: a multiple of 8, so each part ends with a whole byte."""
_DTYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
}


def pack(integers: Tensor, bits: int) -> Tensor:
    """Pack integers: value i takes the bits from i x ``bits`` on, lowest first, in bytes filled from below.

    Args:
        integers: Whole numbers 0 to 2^bits - 1, any shape, read in row-major order.
        bits: 1 to 8.

    Returns:
        Bytes, shape (ceil(count x bits / 8),), uint8.

    >>> pack(torch.tensor([1, 2, 3, 0, 2]), 2).tolist()
    [57, 2]
    """
    flat = integers.detach().cpu().contiguous().flatten().to(torch.uint8).numpy()
    if bits == 8:
        return torch.from_numpy(flat.copy())
    parts = [
        np.packbits(
            np.unpackbits(flat[i : i + _AT_ONCE, None], axis=1, count=bits, bitorder="little"),
            bitorder="little",
        )
        for i in range(0, len(flat), _AT_ONCE)
    ]
    return torch.from_numpy(np.concatenate(parts) if parts else np.zeros(0, np.uint8))


def unpack(data: Tensor, bits: int, count: int) -> Tensor:
    """Read back what `pack` wrote.

    Args:
        data: Its bytes.
        bits: 1 to 8.
        count: How many integers.

    Returns:
        Integers, shape (count,), uint8.

    >>> unpack(torch.tensor([57, 2], dtype=torch.uint8), 2, 5).tolist()
    [1, 2, 3, 0, 2]
    """
    flat = data.cpu().contiguous().numpy()
    if bits == 8:
        return torch.from_numpy(flat[:count].copy())
    out = np.empty(count, np.uint8)
    for i in range(0, count, _AT_ONCE):
        rows = min(_AT_ONCE, count - i)
        part = flat[i * bits // 8 : -(-(i + rows) * bits // 8)]
        found = np.unpackbits(part, count=rows * bits, bitorder="little").reshape(rows, bits)
        out[i : i + rows] = np.packbits(found, axis=1, bitorder="little")[:, 0]
    return torch.from_numpy(out)


def dump(state: Mapping[str, Tensor], widths: Mapping[str, int], about: Mapping[str, Any]) -> bytes:
    """Write a packed file.

    Args:
        state: Tensors by name.
        widths: By name the bits of those that hold whole numbers 0 to 2^bits - 1, in whatever type.
        about: What else the description shall say, as plain values; ``tensors`` is taken.

    Returns:
        The file's content.
    """
    packed: list[Tensor] = []
    values: dict[str, list[Tensor]] = {}
    entries = []
    for name, value in state.items():
        dtype, bits = str(value.dtype).removeprefix("torch."), widths.get(name)
        entries.append([name, dtype, list(value.shape), bits])
        if bits is None:
            values.setdefault(dtype, []).append(value.detach().cpu().contiguous().flatten())
        else:
            packed.append(pack(value, bits))
    text = json.dumps({**about, "tensors": entries}, separators=(",", ":")).encode()
    content = {f"{VALUES}{dtype}": torch.cat(parts) for dtype, parts in values.items()}
    content[PACKED] = torch.cat(packed) if packed else torch.zeros(0, dtype=torch.uint8)
    content[DESCRIPTION] = torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8)
    return bytes(serialise(content, {FORMAT: str(VERSION)}))


def loads(content: bytes, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a packed file, of this or of the first version.

    Args:
        content: The file's content.
        what: The file, for messages.

    Returns:
        The description, empty for a file of version 1, and the tensors by name.

    Raises:
        CheckpointError: The file is damaged, of a newer version, or its description does not fit its content.
    """
    try:
        stored = dict(parse(content))
    except Exception as error:  # SafetensorError for most damages; others reach torch
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{what}: cannot be read: {reason}") from error
    if DESCRIPTION not in stored:
        return {}, stored
    _refuse_newer(content, what)
    try:
        about = _description(stored.pop(DESCRIPTION))
        state = dict(_tensors(about.pop("tensors"), stored))
    except (RuntimeError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(f"{what}: its description does not fit its content: {reason}") from error
    return about, state


def _refuse_newer(content: bytes, what: str) -> None:
    header = json_object(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found = (header.get("__metadata__") or {}).get(FORMAT)
    if found != str(VERSION):
        raise CheckpointError(
            f"{what}: is of version {found}, this mrecg reads {VERSION}; pip install --upgrade mrecg"
        )


def _description(data: Tensor) -> dict[str, Any]:
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data.to(torch.uint8).numpy().tobytes(), _LONGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not inflate.eof:
        raise ValueError(f"it ends early, or is longer than {_LONGEST:,} bytes")
    return json_object(text)


def _tensors(entries: Any, stored: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Cut the long tensors into those of the network; each must be used up exactly."""
    at = dict.fromkeys(stored, 0)

    def take(key: str, count: int) -> Tensor:
        begin = at[key]
        at[key] = begin + count
        if stored[key].dim() != 1 or at[key] > len(stored[key]):
            raise ValueError(f"{key} has {stored[key].numel()} entries, more are described")
        return stored[key][begin : begin + count]

    for name, dtype, shape, bits in entries:
        if not all(type(size) is int and size >= 0 for size in shape) or type(name) is not str:
            raise ValueError(f"{name!r} of shape {shape!r}")
        count = prod(shape)
        if bits is None:
            value = take(f"{VALUES}{dtype}", count)
            if value.dtype != _DTYPES[dtype]:
                raise ValueError(f"{VALUES}{dtype} holds {value.dtype}")
        elif type(bits) is int and 1 <= bits <= 8:
            value = unpack(take(PACKED, -(-count * bits // 8)), bits, count).to(_DTYPES[dtype])
        else:
            raise ValueError(f"{name} of {bits!r} bits")
        yield name, value.reshape(shape).clone()
    if wrong := [key for key in stored if at[key] != len(stored[key])]:
        raise ValueError(f"{wrong[0]} has {len(stored[wrong[0]])} entries, {at[wrong[0]]} are described")
