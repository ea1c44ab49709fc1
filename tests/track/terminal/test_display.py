"""What stands on the screen: the live lines at several widths, one line a unit, and plain lines."""

import io
import math
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mrecg.reconstruct.events import Ahead, Broadcast, CurvePoint, GroupResult, Listener, UnitResult
from mrecg.track.terminal import Screen, console_on, plain, results_console, words
from mrecg.track.terminal.course import Course
from mrecg.track.terminal.live import _Groups, _Stage
from mrecg.track.terminal.unit_lines import UnitLines

LONG = "backbone.features.stages.3.blocks.11.inverted_residual_with_a_very_long_name"
GROUPS = (("stem",), ("layer1.0", "layer1.1"), tuple(f"layer2.{i}" for i in range(12)), (LONG,))
WIDTHS = (60, 80, 100, 160)


def terminal(width: int, **more: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, width=width, color_system="256", **more), file  # type: ignore[arg-type]


def point(step: int, loss: float) -> CurvePoint:
    return CurvePoint(step=step, reconstruction=loss, rounding=None, total=loss, beta=None)


def outline() -> list[Ahead]:
    return [
        Ahead(name=words.members(group, 30), members=group, task="joint", steps=40, cost=1.0)
        for group in GROUPS
    ]


def play(listener: Listener, *, groups: Sequence[Ahead], unfinished: bool = False) -> None:
    """Tell a listener a small reconstruction."""
    listener.outline([groups])
    listener.begin([ahead.name for ahead in groups], 40 * len(groups))
    index = 0
    for i, ahead in enumerate(groups):
        listener.group(ahead.name, ahead.members, 40, 3.904)
        points = [point(step, 12.345 / (1 + step)) for step in range(0, 40, 2)]
        listener.curve(ahead.name, "joint", points, 20)
        if unfinished and i == len(groups) - 1:
            return
        listener.curve(ahead.name, "joint", [point(39, 0.2)], 20)
        for unit in ahead.members:
            listener.unit(index, UnitResult(name=unit, group=i, error=0.1234, loss=2.0))
            index += 1
        curve = (*points, point(39, 0.2))
        listener.finished(
            GroupResult(name=ahead.name, task="joint", steps=40, seconds=4.25, curve=curve, floor=3.904)
        )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("until", range(1, 5))
def test_the_live_lines_fit(width: int, until: int) -> None:
    console, _ = terminal(width)
    course = Course()
    view = _Groups(console, "reconstruct", course, lines=False)
    play(Broadcast(course, view), groups=outline()[:until], unfinished=True)
    lines = console.render_lines(view, pad=False)
    texts = ["".join(segment.text for segment in line) for line in lines]
    assert len(texts) == 4 and all(len(text) < width for text in texts)
    blank, whole, group, loss = texts
    assert not blank.strip() and "reconstruct" in whole and "units" in whole
    assert "step 20/40" in group and GROUPS[until - 1][0][:8] in group
    if until == 3:
        assert "12 units" in group or "11" in group
    if width >= 80:
        assert "loss 0.317" in loss and "floor 3.904" in loss and "0.08×" in loss and "B" in loss
        assert any(mark in loss for mark in words.SPARKS) and "·" in loss


@pytest.mark.parametrize("width", WIDTHS)
def test_a_line_a_unit(width: int) -> None:
    console, file = terminal(width, no_color=True)
    course = Course()
    play(Broadcast(course, _Groups(console, "reconstruct", course, lines=True)), groups=outline())
    lines = [line for line in console_text(file).splitlines() if line]
    assert len(lines) == 1 + 1 + 2 + 12 + 1 and all(len(line) <= width for line in lines)
    head, stem, first, second, *_, last, name = lines
    if width >= 80:
        said = ["unit", "loss", "curve", "first", "→", "last", "floor", "error", "time"]
        assert head.split() == said and "to block" not in head  # there is no such run
        assert stem.split()[0] == "stem" and "12.35 → 0.200" in stem and stem.rstrip().endswith("4.2 s")
        floor, error, drawn, *_ = stem.split()[-5:]
        assert (floor, error) == ("3.904", "0.123") and set(drawn) <= {*words.EIGHTHS}
        assert first[2] == "┐" and second[2] == "┘" and last[2] == "┘" and lines[5][2] == "│"
        curves = [line.partition("0.123")[0] for line in (first, second)]
        assert [words.SPARKS[-1] in curve for curve in curves] == [False, True]  # once a group, at its end
        assert "…" in name and LONG[:6] in name


def console_text(file: io.StringIO) -> str:
    """What was printed, without styles."""
    out, text = "", file.getvalue()
    while text:
        before, escape, after = text.partition("\x1b[")
        out += before
        text = after[next(i for i, letter in enumerate(after) if letter.isalpha()) + 1 :] if escape else ""
    return out


def test_a_pass_without_errors_and_one_without_steps() -> None:
    console, file = terminal(80)
    lines = UnitLines(console)
    lines.show(
        GroupResult(name="a", task="rounding", steps=2, seconds=1.0, curve=(point(0, 2.0),), floor=0.0), []
    )
    unit = UnitResult(name="b", group=1, error=0.5, loss=1.0)
    lines.show(GroupResult(name="b", task="rtn", steps=0, seconds=1.0, curve=()), [unit])
    _, first, second = console_text(file).splitlines()
    assert "2.000 → 2.000" in first and second.split() == ["b", "0.500", "███▌", "1.0", "s"]


BLOCK_WISE = {"stem": 0.2, "layer1.0": 0.1, "layer1.1": 0.1234, "layer2.0": 0.0, "layer2.1": math.nan}


@pytest.mark.parametrize("width", [80, 100, 140])
def test_errors_are_bars_beside_their_difference_from_the_block_wise_run(width: int) -> None:
    console, file = terminal(width, no_color=True)
    lines = UnitLines(console, longest=22, block_wise=BLOCK_WISE)
    for name, error in (*dict.fromkeys(BLOCK_WISE, 0.1234).items(), ("other", 0.05), ("lost", math.nan)):
        unit = UnitResult(name=name, group=0, error=error, loss=1.0)
        curve = (point(0, 12.345), point(39, 0.2))
        result = GroupResult(name=name, task="joint", steps=40, seconds=4.25, curve=curve, floor=3.904)
        lines.show(result, [unit])
    head, stem, first, second, *unknown, other, lost = console_text(file).splitlines()
    assert head.split()[-4:] == ["error", "to", "block", "time"]
    assert all(len(line) < width and line.endswith("4.2 s") for line in (stem, first, second, other, lost))
    assert ["-38 %" in stem, "+23 %" in first, "+0 %" in second] == [True] * 3
    assert not any("%" in line for line in (*unknown, other, lost))  # nothing to compare with
    bars = [sum(map(line.partition("0.123")[2].count, "█")) for line in (stem, first, second)]
    assert len(set(bars)) == 1 and bars[0] > 3  # equal errors have equal bars
    assert "nan" in lost and "█" not in lost.partition("nan")[2]
    assert ("12.35 → 0.200" in stem) is (width > 80) and "0.200" in stem
    assert stem.index("0.123") + len("0.123") == head.index("error") + len("error")
    assert stem.index("-38 %") + len("-38 %") == head.index("to block") + len("to block")


def test_plain_lines_have_the_difference_too(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen("", console_on(file := io.StringIO()))
    with screen.reconstruction("reconstruct", block_wise=BLOCK_WISE) as listener:
        play(listener, groups=outline()[:2])
    said = file.getvalue()
    assert "error 0.123 (-38 % to block)" in said
    assert "error 0.123 (+23 % to block), 0.123 (+0 % to block)" in said
    with screen.reconstruction("reconstruct") as listener:
        play(listener, groups=outline()[:2])
    assert "to block" not in file.getvalue().removeprefix(said)


def test_of_a_wide_terminal_all_columns_are_used() -> None:
    console, file = terminal(140, no_color=True)
    UnitLines(console, longest=12).show(
        GroupResult(name="a", task="joint", steps=2, seconds=1.0, curve=(point(0, 2.0), point(1, 1.0))), []
    )
    head, line = console_text(file).splitlines()
    assert len(head) > 110 and len(line) == len(head)


def test_the_screen_is_left_clean() -> None:
    for fails in (False, True):
        console, file = terminal(80)
        screen = Screen("run: tiny", console)
        assert screen.live
        with screen.stage("calibrate", 3) as advance:
            advance(3)
        try:
            with screen.reconstruction("reconstruct") as listener:
                play(listener, groups=outline()[:2])
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        text = file.getvalue()
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2  # the cursor is back
        last = text.rpartition("\x1b[2K")[2]  # behind the last line that was wiped
        assert ("✓" in last and "4/4 units" not in last and "3/3 units" in last) is not fails
        assert "✓" in text and "calibrate" in text


def test_a_terminal_without_colours_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Screen("", console_on(Tty())).live
    for key, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(key, value)
            file = Tty()
            screen = Screen("run: tiny", console_on(file))
            assert not screen.live
            with screen.reconstruction("reconstruct") as listener:
                play(listener, groups=outline()[:1])
            assert "\x1b" not in file.getvalue() and "\r" not in file.getvalue()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not Screen("", console_on(io.StringIO())).live  # colours in a file if you like, but no redraw


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "LINE_SECONDS", 0.0)
    file = io.StringIO()
    screen = Screen("run: tiny", Console(file=file, width=40))
    with screen.stage("images", 4) as advance:
        advance(2)
        advance(2)
    with screen.stage("evaluate", 0):
        pass
    with screen.reconstruction("reconstruct") as listener:
        play(listener, groups=outline()[:2])
    lines = [line.strip() for line in file.getvalue().splitlines()]
    assert lines[0] == "run: tiny"
    assert lines.pop(3) == "reconstruct: 80 steps in all"
    assert lines[1].startswith("images: 2/4 (") and lines[2].startswith("images: 4/4 (")
    assert lines[3].startswith("reconstruct: 20/80 steps, 0/3 units, stem 20/40, loss 0.317 (floor 3.904), ")
    assert "measuring" in lines[3] and lines[3].endswith("B")
    assert lines[5].startswith("unit 1/3: stem: loss █") and "12.35 -> 0.200, floor 3.904" in lines[5]
    assert "error 0.123, 0.123, 4.2 s" in lines[8]
    assert lines[9].startswith("reconstruct: 80/80 steps (") and len(lines) == 10


def test_the_probe_is_shown_without_lines_of_its_units() -> None:
    for console in (terminal(80)[0], Console(file=io.StringIO())):
        screen = Screen("", console)
        with screen.reconstruction("probe for the plan", lines=False) as listener:
            play(listener, groups=outline()[:2])
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "0.123" not in text and "probe" in text


def test_results_go_to_a_wide_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert results_console().width == 140


@pytest.mark.parametrize("width", range(8, 60, 5))
def test_names_fit(width: int) -> None:
    for group in GROUPS:
        assert len(words.members(group, width)) <= max(width, 12)
    assert len(words.shorten(LONG, width)) <= width


def test_a_spark_keeps_to_its_scale() -> None:
    assert words.spark([], 10) == "" and words.spark([(0.0, float("nan"))], 4) == ""
    falling = words.spark([(i / 16, 2.0**-i) for i in range(16)], 8)
    assert falling == "█▇▆▅▄▃▂▁"
    assert set(words.spark([(i / 10, 1.0 + 0.01 * (i % 2)) for i in range(10)], 10)) == {"▁"}  # noise is flat
    assert len(words.spark([(0.0, 1.0), (0.5, 0.5)], 10)) == 6  # as far as the curve has come
    assert "█" in words.spark([(0.0, 1.0), (0.9, float("inf")), (0.5, 1e-30)], 10)


def test_a_console_prints_what_steers_no_terminal() -> None:
    file = io.StringIO()
    console = console_on(file, width=60)
    console.print("a\x1b]0;title\x07b \x9b31m c\u202ed \ud800 [bold]x[/bold]")
    table = Table("head\x1b[2J")
    table.add_row(Text("cell\x1b[31m\x00"))
    console.print(table)
    written = file.getvalue()
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e" for c in written)
    assert "a]0;titleb" in written and "[bold]x[/bold]" in written
    written.encode()


def test_a_stage_shows_a_fact_beside_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "LINE_SECONDS", 0.0)
    file = io.StringIO()
    with Screen("", Console(file=file, width=40)).stage("finish", 20) as advance:
        advance(10, "loss 0.500   held out 0.250")
        advance(10, "loss 0.400")
    lines = [line.strip() for line in file.getvalue().splitlines()]
    assert lines[0].startswith("finish: 10/20 (") and lines[0].endswith("), loss 0.500   held out 0.250")
    assert lines[1].startswith("finish: 20/20 (") and lines[1].endswith("), loss 0.400")

    console, _ = terminal(100)
    view = _Stage("finish", 20)
    view.advance(5, "loss 0.500")
    with console.capture() as shown:
        console.print(view)
    assert "loss 0.500   5/20" in shown.get()
