"""A real terminal around real runs: live lines come and go, Ctrl-C leaves it clean, NO_COLOR stays plain."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pytest

COLUMNS = 80
PATIENCE = 120.0
SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


class Session(NamedTuple):
    """What a run has shown on a terminal."""

    code: int
    stream: str

    @property
    def screen(self) -> list[str]:
        """All lines as they stand at the end, those that have scrolled away included."""
        lines, row, column, text = [""], 0, 0, self.stream
        while text:
            if found := SEQUENCE.match(text):
                number, letter = found.groups()
                if letter == "A":
                    row = max(0, row - int(number or 1))
                elif letter == "K":
                    lines[row] = ""
                else:
                    assert letter in "mhl", found.group()
                text = text[found.end() :]
                continue
            letter, text = text[0], text[1:]
            if letter == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif letter == "\r":
                column = 0
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + letter + line[column + 1 :]
                column += 1
        return [line.rstrip() for line in lines if line.strip()]


def run(words: list[str], *, interrupt_at: str = "", **environment: str) -> Session:
    """Run the command on a terminal of 80 columns; press Ctrl-C when something can be read there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    }
    assets = str(Path(__file__).parents[1] / "assets")
    # A shell that runs the tests in the background has them ignore Ctrl-C, and children would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        # The leader of a session makes the first terminal that it opens its own: Ctrl-C reaches it then.
        ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(slave), sys.executable, "-m", "mrecg", *words],
        start_new_session=True,
        env={**inherited, "PYTHONPATH": assets, "TERM": "xterm-256color", **environment},
    )
    signal.signal(signal.SIGINT, before)
    stream, pressed, begin = b"", False, time.monotonic()
    try:
        while time.monotonic() - begin < PATIENCE:
            if not select.select([master], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            stream += os.read(master, 65536)
            if interrupt_at and not pressed and interrupt_at.encode() in stream:
                pressed = True
                os.write(master, b"\x03")
        code = process.wait(timeout=30)
    finally:
        process.kill()
        os.close(slave)
        os.close(master)
    return Session(code, stream.decode())


def balanced(stream: str) -> bool:
    """Whether the cursor was hidden and shown again as often."""
    return stream.count("\x1b[?25l") == stream.count("\x1b[?25h") > 0 and stream.rindex(
        "\x1b[?25h"
    ) > stream.rindex("\x1b[?25l")


@pytest.mark.slow
def test_the_live_lines_come_and_go(small: list[str]) -> None:
    words = [*small, "planner=loss", "planner.merge_count=1", "trainer.steps=60", "trainer.chunk=5"]
    session = run(["quantize", *words])
    assert session.code == 0, session.stream
    assert balanced(session.stream)
    assert "step " in session.stream and "━" in session.stream
    screen = session.screen
    stages = [line.split()[1] for line in screen if line.strip().startswith("✓")]
    assert stages == ["images", "evaluate", "calibrate", "probe", "reconstruct", "evaluate"]
    assert not any(mark in line for line in screen for mark in ("step ", "━━", "measuring", " left"))
    begin = next(i for i, line in enumerate(screen) if line.split()[:2] == ["unit", "loss"])
    ends = [line for line in screen[begin + 1 : begin + 6] if line.endswith(" s")]
    assert len(ends) == 4, screen[begin : begin + 6]  # five units, two of them merged
    assert all("%" in line for line in ends), ends  # the probe is the block-wise run
    assert sum(line.lstrip().startswith(("┐", "┘")) for line in screen) == 2
    assert not [line for line in screen[begin : begin + 7] if len(line) >= COLUMNS]


@pytest.mark.slow
def test_ctrl_c_leaves_a_clean_terminal(small: list[str]) -> None:
    words = ["quantize", *small, "granularity=block", "trainer.steps=100000"]
    session = run(words, interrupt_at="step ")
    assert session.code == 130, session.stream
    assert balanced(session.stream)
    *_, before, last = session.screen
    assert last.startswith("mrecg: interrupted") and before.startswith("  cost: ")
    assert "Traceback" not in session.stream


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_plain_lines_on_a_plain_terminal(environment: dict[str, str], small: list[str]) -> None:
    session = run(["quantize", *small, "granularity=block"], **environment)
    assert session.code == 0, session.stream
    assert "\x1b" not in session.stream and "\r\n" in session.stream
    assert not re.search(r"\r(?!\n)", session.stream)
    assert "unit 5/5: head: loss " in session.stream and "reconstruct: 10/10 steps (" in session.stream
