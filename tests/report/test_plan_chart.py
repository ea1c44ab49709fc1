"""The bars of a criterion that can be negative."""

import re

from mrecg.planner.schedule import Criterion, Plan
from mrecg.report.figures import plan_figure
from mrecg.report.plan_chart import plan_chart


def gains(*differences):
    units = tuple(f"u{i}" for i in range(len(differences) + 1))
    criterion = Criterion(
        name="budget", difference="gain", capacities=(0.1,) * len(units), differences=differences
    )
    return Plan(
        granularity="mixed",
        planner="budget",
        units=units,
        groups=tuple((unit,) for unit in units),
        criteria=(criterion,),
    )


def bars(plan):
    """Top and height of each bar, and where the axis is."""
    drawn = plan_chart(plan)
    found = re.findall(r'<rect class="bar[^"]*"[^>]*? y="([\d.-]+)"[^>]*? height="([\d.-]+)"', drawn)
    axis = float(re.search(r'<line[^>]*class="axis"[^>]*>', drawn)[0].split('y1="')[1].split('"')[0])
    return [(float(y), float(height)) for y, height in found], axis


def test_a_loss_hangs_below_the_axis():
    (gain, loss, none, large), axis = bars(gains(0.2, -0.01, 0.0, -5.0))
    assert gain[0] + gain[1] == axis and gain[1] > 40
    assert loss[0] == axis and 0 < loss[1] < gain[1]
    assert none[1] == 0
    assert large[0] == axis and large[1] == 12
    assert all(height >= 0 for _, height in bars(gains(-0.1, -0.2))[0])
    assert bars(gains(0.0, 0.0))[0] == [(axis, 0.0)] * 2


def test_a_loss_is_named_and_drawn(tmp_path):
    drawn = plan_chart(gains(0.2, -0.01))
    assert "u1 → u2: -0.01" in drawn and "merging the pair takes off, by a trial" in drawn
    assert plan_figure(gains(0.2, -0.01), tmp_path / "plan.png").stat().st_size > 1000
