"""Standard output and error that are closed, full or broken cost no result."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mrecg.cli import main as cli
from mrecg.reconstruct.events import Ahead, CurvePoint, GroupResult, UnitResult
from mrecg.system.streams import Forgiving, forgiving, forgiving_streams, lost
from mrecg.track.terminal import Screen, console_on


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("broken", [Full(), None])
def test_a_display_goes_on_over_a_broken_stream(broken: io.StringIO | None) -> None:
    console = console_on(broken)
    screen = Screen("run", console)
    with screen.stage("images", 2) as advance:
        advance(2)
    with screen.reconstruction("reconstruct") as listener:
        listener.outline([[Ahead(name="a", members=("a",), task="rounding", steps=2, cost=1.0)]])
        listener.begin(["a"], 2)
        listener.group("a", ["a"], 2, 0.5)
        point = CurvePoint(step=0, total=1.0, reconstruction=1.0, rounding=0.0, beta=1.0)
        listener.curve("a", "rounding", [point], 2)
        listener.unit(0, UnitResult(name="a", group=0, error=0.1, loss=0.2))
        listener.finished(
            GroupResult(name="a", task="rounding", steps=2, seconds=0.1, curve=(point,), floor=0.1)
        )
    screen.note("the end")
    assert (lost(console.file) is None) == (broken is None)


def test_what_cannot_be_written_is_kept_as_an_error_and_other_characters_are_replaced() -> None:
    full = forgiving(Full())
    assert full.write("word") == 4 and isinstance(lost(full), OSError)
    assert forgiving(full) is full
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    forgiving(ascii_only).write("a \u2212 b")
    ascii_only.seek(0)
    assert ascii_only.read() == "a ? b"


def test_streams_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    out = sys.stdout
    with forgiving_streams():
        assert isinstance(sys.stdout, Forgiving) and isinstance(sys.stderr, Forgiving)
        inner = sys.stdout
        with forgiving_streams():
            assert sys.stdout is inner
        sys.stderr.write("nowhere")
    assert sys.stdout is out and sys.stderr is None


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--version"], 1, "standard output cannot be written to (No space left on device); make room"),
        (["quantize", "--help"], 1, "standard output cannot be written to (No space left on device)"),
        (["nosuch"], 2, "command: 'nosuch' is not a choice"),
    ],
)
def test_what_was_asked_for_and_cannot_be_written_is_one_line(
    words: list[str], code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", said)
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == code
    assert said.getvalue().startswith(f"mrecg: {line}") and said.getvalue().count("\n") == 1


def shell(script: str, folder: Path) -> list[str]:
    """Run a shell script with ``mrecg`` at hand; its lines on standard output."""
    assets = Path(__file__).parents[1] / "assets"
    done = subprocess.run(
        ["bash", "-c", f'mrecg() {{ "{sys.executable}" -m mrecg "$@"; }}\n{script}'],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(assets), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_exit_codes_are_those_of_the_work(tmp_path: Path) -> None:
    script = """
        ( mrecg nosuch 2>&- ); echo $?
        ( mrecg nosuch 2>/dev/full ); echo $?
        ( mrecg nosuch >&- 2>&- <&- ) ; echo $?
        ( mrecg --version >/dev/full 2>said ) ; echo $?
        ( mrecg --version >/dev/full 2>/dev/full ) ; echo $?
        ( mrecg --version >&- ) ; echo $?
        ( mrecg --version 2>&- )
    """
    *codes, version = shell(script, tmp_path)
    assert codes == ["2", "2", "2", "1", "1", "0"] and version.startswith("mrecg ")
    (line,) = (tmp_path / "said").read_text().splitlines()
    assert line.startswith("mrecg: standard output cannot be written to (No space left on device)")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_is_complete_whatever_becomes_of_its_streams(small: list[str], tmp_path: Path) -> None:
    words = " ".join(f"'{word}'" for word in [*small, "granularity=block"])
    script = f"""
        ( mrecg quantize {words} logger=wandb hydra.run.dir=one 2>/dev/full >/dev/full ); echo $?
        ( mrecg quantize {words} logger=wandb hydra.run.dir=two >&- 2>&- <&- ); echo $?
        ( mrecg quantize -m {words} hydra/launcher=processes hydra.launcher.n_jobs=2 seed=0,1 \\
            hydra.sweep.dir=sweep 2> >(true) > >(true) ); echo $?
    """
    assert shell(script, tmp_path) == ["0"] * 3
    jobs = sorted((tmp_path / "sweep").glob("[01]-*"))
    assert len(jobs) == 2
    for folder in [tmp_path / "one", tmp_path / "two", *jobs]:
        assert '"status": "completed"' in (folder / "summary.json").read_text()
        assert load_file(folder / "quantized.safetensors") and (folder / "report.html").is_file()
