"""Read back what W&B leaves offline; ``wandb sync`` uploads the same records."""

import json
import struct
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mrecg.errors import DataError
from mrecg.system.checked_read import read_regular


def read_history(path: Path | str) -> Iterator[dict[str, Any]]:
    """Read the logged rows back from the file that W&B leaves offline.

    Args:
        path: A ``.wandb`` file, or a folder that holds exactly one at any depth.

    Yields:
        One dict per logged row, with W&B's own ``_step``, ``_timestamp`` and ``_runtime`` among the keys.

    Raises:
        DataError: There is no such file, or it does not begin as one.
    """
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            yield row_of(record.history.item)


def rows_kept(folder: Path, run_id: str) -> int:
    """Count the rows in all files of a W&B run, which gets a file for each time it was started.

    Returns:
        How many row numbers they take; 0 for a file that cannot be read.
    """
    kept = 0
    for file in folder.glob(f"wandb/*run-*-{run_id}/run-{run_id}.wandb"):
        try:
            numbers = [row["_step"] for row in read_history(file)]
        except Exception:  # protobuf raises many kinds for a damaged file; its rows are sent again
            continue
        kept += numbers[-1] - numbers[0] + 1 if numbers else 0
    return kept


def row_of(items: Iterable[Any]) -> dict[str, Any]:
    """Take a logged row from W&B's message."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def records(path: Path | str) -> Iterator[Any]:
    """Read all records of an offline file, as W&B's own messages.

    Args:
        path: A ``.wandb`` file, or a folder that holds exactly one at any depth.

    Yields:
        ``wandb_internal_pb2.Record``.

    Raises:
        DataError: There is no such file, or it does not begin as one.
    """
    record_type: Any = import_module("wandb.proto.wandb_internal_pb2").Record  # made at run time
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.rglob("run-*.wandb"))
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} .wandb files; name one")
    for data in log_records(files[0]):
        record = record_type()
        record.ParseFromString(data)
        yield record


_FILE_HEADER = struct.Struct("<4sHB")
_CHUNK_HEADER = struct.Struct("<IHB")
_BLOCK = 32768
_FULL, _FIRST, _LAST = 1, 2, 4


def log_records(path: Path) -> Iterator[bytes]:
    """Split the file into records: LevelDB's log format after a header of W&B's own.

    Args:
        path: A ``.wandb`` file.

    Yields:
        The bytes of a record; nothing of one that a killed run left incomplete.

    Raises:
        DataError: It does not begin as such a file.
    """
    content = read_regular(path)
    if content[:4] != b":W&B":
        raise DataError(f"{path}: does not begin as a W&B file")
    position, parts = _FILE_HEADER.size, b""
    while position + _CHUNK_HEADER.size <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _CHUNK_HEADER.size:
            position += left
            continue
        _, length, kind = _CHUNK_HEADER.unpack_from(content, position)
        position += _CHUNK_HEADER.size
        part = content[position : position + length]
        position += length
        if len(part) < length:
            return
        parts = part if kind in (_FULL, _FIRST) else parts + part
        if kind in (_FULL, _LAST):
            yield parts
