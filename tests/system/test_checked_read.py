"""Only regular files are read, and nothing else is waited for."""

import os
import socket
from pathlib import Path

import pytest

from mrecg.system.checked_read import open_regular, read_regular


def test_a_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"content" == read_regular(tmp_path / "file", limit=7)
    with open_regular(tmp_path / "file") as stream:
        assert stream.read(3) == b"con"
    with pytest.raises(OSError, match="is longer than 6 bytes"):
        read_regular(tmp_path / "file", limit=6)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "link to a pipe"])
def test_what_is_no_file_is_said_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    file = Path("it")
    if kind == "device":
        file = Path("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind("it")
    else:
        os.mkfifo("it" if kind == "pipe" else "pipe")
        if kind != "pipe":
            file.symlink_to("pipe")
    with pytest.raises(OSError, match="is no file") as said:
        read_regular(file)
    assert said.value.filename == str(file)
