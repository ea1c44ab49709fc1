"""How far a run is and how long it will take, from numbers that were measured."""

import pytest

from mrecg.reconstruct.events import Ahead, CurvePoint, GroupResult
from mrecg.track.terminal.course import Course


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ahead(name: str, steps: int, cost: float = 1.0, *, task: str = "joint", trial: bool = False) -> Ahead:
    return Ahead(name=name, members=tuple(name.split("+")), task=task, steps=steps, cost=cost, trial=trial)


def point(step: int, loss: float = 1.0) -> CurvePoint:
    return CurvePoint(step=step, reconstruction=loss, rounding=None, total=loss, beta=None)


def result(name: str, steps: int) -> GroupResult:
    return GroupResult(name=name, task="joint", steps=steps, seconds=1.0, curve=())


def chunk(course: Course, clock: Clock, name: str, *, steps: int, seconds: float, at: int = 0) -> None:
    clock.now += seconds
    course.curve(name, "joint", [point(at)], steps)


def test_the_time_left_follows_the_cost_of_steps() -> None:
    clock = Clock()
    course = Course(clock)
    course.outline([[ahead("a", 100, 10.0), ahead("b", 100, 10.0), ahead("c+d", 200, 1.0)]])
    course.begin(["a", "b", "c+d"], 400)
    assert course.left is None and course.fraction == 0 and course.units == 4
    course.group("a", ["a"], 100, 0.5)
    chunk(course, clock, "a", steps=50, seconds=5.0)
    # 0.1 s a step for a; b costs as much a step, c+d a tenth: 5 + 10 + 200 * 0.01
    assert course.left == pytest.approx(17.0) and not course.sure
    assert course.current is not None and course.current.floor == 0.5
    clock.now += 2.0
    assert course.left == pytest.approx(15.0)  # it runs down between two reports
    clock.now -= 2.0
    chunk(course, clock, "a", steps=50, seconds=5.0)
    course.finished(result("a", 100))
    assert course.left == pytest.approx(12.0) and course.units_done == 1 and course.current is None
    assert course.fraction == pytest.approx(1000 / 2200)
    course.group("b", ["b"], 100, 0.5)
    chunk(course, clock, "b", steps=100, seconds=10.0)
    course.finished(result("b", 100))
    course.group("c+d", ["c", "d"], 200, 0.5)
    clock.now += 40.0  # far slower than its cost says
    course.curve("c+d", "joint", [point(0)], 100)
    assert course.left == pytest.approx(40.0)
    course.curve("c+d", "joint", [point(100)], 100)
    course.finished(result("c+d", 200))
    assert course.left == 0.0 and course.fraction == 1.0 and course.sure and course.units_done == 4


def test_nothing_is_promised_at_once() -> None:
    clock = Clock()
    course = Course(clock)
    course.outline([[ahead("a", 10), ahead("b", 10)]])
    course.begin(["a", "b"], 20)
    course.group("a", ["a"], 10, 0.0)
    chunk(course, clock, "a", steps=5, seconds=0.2)
    assert course.left is None


def test_trials_and_corrections_count() -> None:
    clock = Clock()
    course = Course(clock)
    course.outline([[ahead("a+b", 20, trial=True), ahead("a", 15), ahead("b", 10)]])
    course.begin(["a", "b"], 45)
    course.group("a+b", ["a", "b"], 20, 0.1)
    chunk(course, clock, "a+b", steps=20, seconds=2.0)
    assert course.current is not None and course.current.ahead.trial
    course.curve("a", "joint", (), 5)  # a correction comes before the group's own steps
    assert course.current.ahead.name == "a" and course.current.correcting and course.units_done == 0
    course.group("a", ["a"], 10, 0.1)
    chunk(course, clock, "a", steps=10, seconds=1.0, at=9)
    assert not course.current.correcting and course.current.curve == [(0.9, 1.0)]
    course.finished(result("a", 10))
    assert (course.units_done, course.units, course.steps_done, course.steps) == (1, 2, 35, 45)
    assert course.fraction == pytest.approx(35 / 45)


def test_passes_go_over_the_same_groups() -> None:
    course = Course(Clock())
    course.outline(
        [[ahead("a", 5), ahead("b", 5)], [ahead("a", 5, task="scales"), ahead("b", 0, task="scales")]]
    )
    for number in (1, 2):
        course.begin(["a", "b"], 10)
        assert (course.number, course.passes, course.units_done) == (number, 2, 0)
        for name in ("a", "b"):
            if (number, name) != (2, "b"):
                course.group(name, [name], 5, 0.0)
                course.curve(name, "", [point(0)], 5)
            course.finished(result(name, 5))
    assert course.fraction == 1.0 and course.steps_done == course.steps == 15


def test_without_steps_units_count() -> None:
    clock = Clock()
    course = Course(clock)
    course.outline([[ahead("a", 0), ahead("b", 0), ahead("c", 0)]])
    course.begin(["a", "b", "c"], 0)
    clock.now += 3.0
    course.finished(result("a", 0))
    assert course.fraction == pytest.approx(1 / 3) and course.left == pytest.approx(6.0)
