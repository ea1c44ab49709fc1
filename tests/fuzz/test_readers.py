"""What is read from our own files is right or refused, whatever is in them; see also run_atheris.py."""

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

_SPEC = importlib.util.spec_from_file_location("fuzz_readers", Path(__file__).with_name("readers.py"))
assert _SPEC is not None and _SPEC.loader is not None
fuzz: Any = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = fuzz
_SPEC.loader.exec_module(fuzz)

NAMES = (
    *("numbers", "plan", "summary", "environment", "images", "config", "curve", "decisions", "weights"),
    *("sweep", "search", "checkpoint", "store", "packed", "description", "onnx", "metadata", "export"),
)
HOSTILE = [b"", b"\0", b"[]", b"{}", b"null", b"\xff" * 9, b"[" * 100_000, b'{"a":' * 100_000, b"- " * 3000]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("fuzz")
    return folder, fuzz.readers(folder)


def test_all_readers_are_here(made: tuple[Path, dict[str, Any]]) -> None:
    assert set(made[1]) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_right_is_believed(name: str, made: tuple[Path, dict[str, Any]]) -> None:
    folder, readers = made
    assert fuzz.try_reader(readers[name], readers[name].seed, folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: repr(content[:8]))
def test_what_is_nothing_of_ours_is_refused(
    name: str, content: bytes, made: tuple[Path, dict[str, Any]]
) -> None:
    folder, readers = made
    fuzz.try_reader(readers[name], content, folder)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32))
def test_what_is_damaged_is_right_or_refused(name: str, seed: int, made: tuple[Path, dict[str, Any]]) -> None:
    folder, readers = made
    content = fuzz.broken(readers[name].seed, random.Random(seed))
    fuzz.try_reader(readers[name], content, folder)
