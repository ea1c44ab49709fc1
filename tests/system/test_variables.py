"""OpenMP's threads leave the processors to ours, unless the user has said otherwise."""

import os

import pytest

from mrecg.cli import main as cli
from mrecg.system.variables import SPIN, SPINS, share_processors


def test_idle_threads_wait_shortly_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv(SPIN, raising=False)
    share_processors()
    assert os.environ[SPIN] == SPINS
    monkeypatch.setenv(SPIN, "7")
    share_processors()
    assert os.environ[SPIN] == "7"
    monkeypatch.delenv(SPIN)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    share_processors()
    assert SPIN not in os.environ


def test_the_command_line_says_so_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv(SPIN, raising=False)
    seen: list[str | None] = []
    monkeypatch.setattr(cli, "_dispatch", lambda words: seen.append(os.environ.get(SPIN)) or 0)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert seen == [SPINS]
