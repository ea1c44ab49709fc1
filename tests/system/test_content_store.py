"""Content-addressed files: whole or not there, within a limit, used by many processes."""

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrecg.system.atomic_write import write_durably
from mrecg.system.content_store import ContentStore, Entry

KEY, OTHER, THIRD = (f"group-{digit * 32}" for digit in "abc")


def entry(value: float = 1.5, size: int = 4) -> Entry:
    return Entry({"value": value, "list": [1, None]}, {"a.b": torch.full((size, 2), value)})


def test_what_is_put_comes_back_in_every_bit(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "new" / "store")
    assert store.get(KEY) is None
    values = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    store.put(KEY, Entry({"x": 0.1 + 0.2, "deep": {"y": None}}, {"v": values, "i": values.to(torch.uint8)}))
    found = store.get(KEY)
    assert found is not None and found.facts == {"x": 0.1 + 0.2, "deep": {"y": None}}
    assert torch.equal(found.tensors["v"], values) and found.tensors["i"].dtype == torch.uint8
    assert [path.suffix for path in store.folder.iterdir()] == [".entry"]


@pytest.mark.parametrize("key", ["", "../group", "group-xyz", "group-" + "a" * 31, "a/b-" + "a" * 32])
def test_a_key_cannot_leave_the_folder(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a key"):
        ContentStore(tmp_path).get(key)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_damaged_file_is_no_entry_and_goes(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = ContentStore(tmp_path_factory.mktemp("store"))
    store.put(KEY, entry())
    file = store.folder / f"{KEY}.entry"
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 1 << bit
    file.write_bytes(content)
    assert store.get(KEY) is None and not file.exists()


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_without_harm(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = ContentStore(tmp_path_factory.mktemp("store"))
    (store.folder / f"{KEY}.entry").write_bytes(b"mrecg shelf 1\n" + content)
    assert store.get(KEY) is None


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe"])
def test_a_file_is_replaced_and_not_written_through(kind: str, tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "file"
    if kind != "dangling":
        victim.write_bytes(b"old")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "hard link":
        os.link(victim, file)
    else:
        file.symlink_to(victim)
    write_durably(file, b"new")
    assert file.read_bytes() == b"new" and file.is_file() and not file.is_symlink()
    assert victim.exists() == (kind != "dangling") and (kind == "dangling" or victim.read_bytes() == b"old")


def test_a_link_that_the_user_names_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "place")
    write_durably(tmp_path / "link", b"new", follow=True)
    assert (tmp_path / "place").read_bytes() == b"new" and (tmp_path / "link").is_symlink()


def test_new_files_have_the_rights_of_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_durably(tmp_path / "file", b"x")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, limit_mb=1)
    big = 50_000  # 0.4 MB an entry
    for age, key in ((300, KEY), (200, OTHER)):
        store.put(key, entry(size=big))
        os.utime(store.folder / f"{key}.entry", (time.time() - age,) * 2)
    assert store.get(KEY) is not None  # used now, so OTHER is the older one
    store.put(THIRD, entry(size=big))
    assert [store.get(key) is not None for key in (KEY, OTHER, THIRD)] == [True, False, True]
    ContentStore(tmp_path, limit_mb=1).put(KEY, entry(size=200_000))  # larger than the limit: it stays alone
    assert [store.get(key) is not None for key in (KEY, OTHER, THIRD)] == [True, False, False]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    write_durably(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(file, b"new content")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def _count(folder: Path) -> None:
    """Read a number, wait, write it back plus one: wrong unless one process at a time does so."""
    store = ContentStore(folder)
    with store.lock(KEY):
        found = store.get(KEY)
        time.sleep(0.02)
        store.put(KEY, Entry({"n": 1 if found is None else found.facts["n"] + 1}))


def test_one_process_at_a_time_works_under_a_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count, args=(tmp_path,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    found = ContentStore(tmp_path).get(KEY)
    assert found is not None and found.facts == {"n": 8}
    assert [path.suffix for path in tmp_path.iterdir()] == [".entry"]


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    def hold(ready: object) -> None:
        with ContentStore(tmp_path).lock(KEY):
            ready.set()  # type: ignore[attr-defined]
            time.sleep(60)

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(ready,))
    holder.start()
    assert ready.wait(10)
    holder.kill()
    begin = time.monotonic()
    with ContentStore(tmp_path).lock(KEY):
        assert time.monotonic() - begin < 10
    holder.join()


def test_locks_and_temporary_files_of_killed_processes_go(tmp_path: Path) -> None:
    """Those of processes that are alive stay: what is being written, and what is locked."""
    store = ContentStore(tmp_path, limit_mb=1)
    with store.lock(KEY):
        assert (tmp_path / f"{KEY}.lock").exists()
    assert list(tmp_path.iterdir()) == []

    names = [f".{KEY}.entry.abc_1234", f"{OTHER}.lock"]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 1000)
    mine = tmp_path / ".notes.entries.abcdefgh"
    mine.touch()

    def hold(ready: object) -> None:
        def slow(_: int) -> None:
            ready.set()  # type: ignore[attr-defined]
            time.sleep(60)

        with ContentStore(tmp_path).lock(THIRD):
            os.fsync = slow  # in this process alone
            write_durably(tmp_path / f"{THIRD}.entry", b"half")

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(ready,))
    holder.start()
    assert ready.wait(10)
    store.put(KEY, entry())
    left = {path.name for path in tmp_path.iterdir()} - {f"{KEY}.entry", mine.name, f"{THIRD}.lock"}
    (writing,) = left
    assert writing.startswith(f".{THIRD}.entry.")

    holder.kill()
    holder.join()
    ContentStore(tmp_path).put(KEY, entry())
    assert {path.name for path in tmp_path.iterdir()} == {f"{KEY}.entry", mine.name}


def test_whoever_waits_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrecg.system.content_store.SAY_SECONDS", 0.1)
    monkeypatch.setattr("mrecg.system.content_store.SAY_AGAIN_SECONDS", 0.1)

    def hold(ready: object) -> None:
        with ContentStore(tmp_path).lock(KEY):
            ready.set()  # type: ignore[attr-defined]
            time.sleep(60)

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(ready,))
    holder.start()
    assert ready.wait(10) and holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    said = list[str]()

    def waiting(owner: str) -> None:
        said.append(owner)
        if len(said) == 2:
            holder.kill()

    with ContentStore(tmp_path).lock(KEY, waiting=waiting):
        holder.join()
    assert len(said) == 2
    assert re.fullmatch(rf"process {holder.pid} on \S+ \(since \S+ UTC\), which is stopped,", said[0])


def test_nobody_waits_where_no_lock_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with ContentStore(blocked).lock(KEY):
        pass
    assert ContentStore(blocked).get(KEY) is None
    with pytest.raises(OSError, match="file"):
        ContentStore(blocked).put(KEY, entry())
