"""The index gives what the files hold, whatever happens to it."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrecg.runs import index as indexes
from mrecg.runs.index import INDEX, Index
from mrecg.runs.reader import Reader


@pytest.fixture
def settled(monkeypatch):
    """Files that were written this moment may be kept."""
    monkeypatch.setattr(indexes, "_RACY_NS", -1)


@pytest.fixture
def fresh(monkeypatch):
    """Names of the files that were read themselves."""
    found = []
    true = Index._fresh

    def counted(self, file, key):
        found.append(file.name)
        return true(self, file, key)

    monkeypatch.setattr(Index, "_fresh", counted)
    return found


@pytest.fixture
def root(tmp_path):
    """Three folders with a file each."""
    root = tmp_path / "sweep"
    for i in range(3):
        (root / str(i)).mkdir(parents=True)
        (root / str(i) / "summary.json").write_text(f"content {i}")
    return root


def contents(root):
    index = Index(root)
    found = [index.read(root / str(i) / "summary.json").decode() for i in range(3)]
    index.close()
    return found


EXPECTED = ["content 0", "content 1", "content 2"]


def test_the_second_time_no_file_is_read(root, settled, fresh):
    assert contents(root) == EXPECTED and len(fresh) == 3
    assert contents(root) == EXPECTED and len(fresh) == 3


def test_what_was_written_a_moment_ago_is_not_kept(root, fresh):
    assert contents(root) == contents(root) == EXPECTED
    assert len(fresh) == 6


def test_a_file_that_changed_is_read_again_also_with_equal_size_and_time(root, settled, fresh):
    contents(root)
    file = root / "1" / "summary.json"
    before = file.stat()
    file.write_text("CONTENT 1")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns and file.stat().st_size == before.st_size
    assert contents(root) == ["content 0", "CONTENT 1", "content 2"]
    assert len(fresh) == 4
    assert contents(root)[1] == "CONTENT 1" and len(fresh) == 4


def test_a_file_that_is_gone_is_missed(root, settled):
    contents(root)
    (root / "1" / "summary.json").unlink()
    with pytest.raises(FileNotFoundError):
        contents(root)


def test_the_folder_may_be_moved(root, settled, fresh):
    contents(root)
    moved = root.rename(root.with_name("moved"))
    assert contents(moved) == EXPECTED and len(fresh) == 3


def test_rows_of_runs_that_are_gone_go(root, settled):
    contents(root)
    index = Index(root)
    index.forget([root / "0", root / "2"])
    index.close()
    with sqlite3.connect(root / INDEX) as base:
        assert {path for (path,) in base.execute("SELECT path FROM files")} == {
            b"0/summary.json",
            b"2/summary.json",
        }


def other_program(file):
    with sqlite3.connect(file) as base:
        base.execute("CREATE TABLE mine (value)")
        base.execute("INSERT INTO mine VALUES (1)")


def later_version(file):
    contents(file.parent)
    with sqlite3.connect(file) as base:
        base.execute("PRAGMA user_version = 99")


def other_columns(file):
    contents(file.parent)
    with sqlite3.connect(file) as base:
        base.execute("DROP TABLE files")
        base.execute("CREATE TABLE files (path, content)")


@pytest.mark.parametrize("spoil", [other_program, later_version, other_columns])
def test_an_index_that_is_not_ours_is_left_alone(root, settled, fresh, spoil):
    spoil(root / INDEX)
    before = (root / INDEX).read_bytes()
    assert contents(root) == contents(root) == EXPECTED
    assert (root / INDEX).read_bytes() == before


def garbage(file):
    file.write_bytes(b"this is no database " * 500)


def cut_short(file):
    contents(file.parent)
    file.write_bytes(file.read_bytes()[:-5000])


def scrambled(file):
    contents(file.parent)
    content = bytearray(file.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    file.write_bytes(content)


def earlier_version(file):
    contents(file.parent)
    with sqlite3.connect(file) as base:
        base.execute("DROP TABLE files")
        base.execute("CREATE TABLE files (path)")
        base.execute("PRAGMA user_version = 0")


@pytest.mark.parametrize("spoil", [garbage, cut_short, scrambled, earlier_version])
def test_a_broken_index_is_made_anew(root, settled, fresh, spoil):
    spoil(root / INDEX)
    assert contents(root) == EXPECTED
    assert contents(root) == EXPECTED
    fresh.clear()
    assert contents(root) == EXPECTED and fresh == []


@pytest.mark.parametrize("change", ["content = digest", "digest = x'00'", "content = 5", "content = x''"])
def test_a_row_that_was_changed_is_not_believed(root, settled, fresh, change):
    contents(root)
    with sqlite3.connect(root / INDEX) as base:
        base.execute(f"UPDATE files SET {change}")
    fresh.clear()
    assert contents(root) == EXPECTED
    assert len(fresh) == 3


def test_rows_that_change_places_are_not_believed(root, settled):
    contents(root)
    with sqlite3.connect(root / INDEX) as base:
        rows = base.execute(
            "SELECT modified, changed, size, digest, content FROM files ORDER BY path"
        ).fetchall()
        base.execute("DELETE FROM files")
        for i, row in enumerate(rows[1:] + rows[:1]):
            now = (root / str(i) / "summary.json").stat()
            signature = (now.st_mtime_ns, now.st_ctime_ns, now.st_size)
            path = f"{i}/summary.json".encode()
            base.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", (path, *signature, *row[3:]))
    assert contents(root) == EXPECTED


def test_a_folder_or_a_link_of_that_name_is_left_alone(root, settled, tmp_path):
    (root / INDEX).mkdir()
    assert contents(root) == EXPECTED
    (root / INDEX).rmdir()
    (root / INDEX).symlink_to(tmp_path / "elsewhere")
    assert contents(root) == EXPECTED and not (tmp_path / "elsewhere").exists()


def test_where_nothing_can_be_written_files_are_read(root, settled, monkeypatch):
    def refuse(*_, **__):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert contents(root) == EXPECTED
    assert not (root / INDEX).exists()


def test_a_lock_that_is_held_stops_nobody(root, settled, monkeypatch):
    contents(root)
    true = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda file, **_: true(file, timeout=0.05, isolation_level=None))
    base = true(root / INDEX, isolation_level=None)
    base.execute("BEGIN EXCLUSIVE")
    begin = time.monotonic()
    assert contents(root) == EXPECTED
    assert time.monotonic() - begin < 5
    base.close()


WORK = """
import sys
from pathlib import Path
from mrecg.runs import index
index._RACY_NS, index._WAITING = -1, 3
root = Path(sys.argv[1])
for _ in range(5):
    one = index.Index(root)
    one.forget([root / str(i) for i in range(40)])
    for i in range(40):
        assert one.read(root / str(i) / "summary.json") == b"x" * i
    one.close()
"""


def test_processes_may_share_an_index(tmp_path):
    for i in range(40):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "summary.json").write_bytes(b"x" * i)
    (tmp_path / INDEX).write_bytes(b"no database " * 1000)  # all of them find it broken
    running = [subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path)]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4


def test_names_that_are_no_text_are_read(root, settled, fresh):
    folder = Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe"))
    folder.mkdir()
    (folder / "summary.json").write_text("odd")
    for _ in range(2):
        index = Index(root)
        assert index.read(folder / "summary.json") == b"odd"
        index.close()
    assert len(fresh) == 1


def test_few_runs_have_no_index(root, settled):
    with Reader([root], [root / str(i) for i in range(3)]) as read:
        assert read(root / "0" / "summary.json") == b"content 0"
    assert not (root / INDEX).exists()


def test_many_runs_have_one_below_the_folder_that_was_named(root, settled, monkeypatch, fresh):
    monkeypatch.setattr("mrecg.runs.reader.FROM_RUNS", 3)
    found = [root / str(i) for i in range(3)]
    for _ in range(2):
        with Reader([root], found) as read:
            assert [read(run / "summary.json").decode() for run in found] == EXPECTED
    assert len(fresh) == 3 and (root / INDEX).is_file()
