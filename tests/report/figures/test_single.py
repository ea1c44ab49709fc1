"""Pictures that show something, at a size that can be read."""

import math
import struct

import numpy as np
import pytest

from mrecg.errors import DataError
from mrecg.planner.schedule import Plan
from mrecg.report import find_runs, load_run, oscillation_figure, plan_figure

pytestmark = pytest.mark.slow


def size_of(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def colours_in(path):
    from matplotlib.image import imread

    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    return {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0)}


BLUE, VERMILION, INK, BARS = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x17, 0x21, 0x2B), (0xB9, 0xC1, 0xC9)
ONE, TWO = 670, 1400
"""Widths of a picture in one column and in two."""


@pytest.mark.parametrize(("count", "width"), [(10, ONE), (20, TWO), (60, TWO)])
def test_a_plan_of_any_length_has_a_figure(tmp_path, folders, count, width):
    units = tuple(f"features.{i}" for i in range(count))
    errors = [0.1 + 0.05 * (i % 4) for i in range(count)]
    plan = folders.plan(units, (units[3:5], units[6:8]), "mixed", "error", errors, errors)
    path = plan_figure(plan, tmp_path / "new" / "plan.png")
    assert size_of(path)[0] == width
    assert {BLUE, BARS} <= colours_in(path)


def test_a_plan_without_merges_is_grey(tmp_path, folders):
    errors = [0.1 * (1 + i % 3) for i in range(20)]
    plan = folders.plan(folders.units, (), "block", "", errors, errors)
    found = colours_in(plan_figure(plan, tmp_path / "plan.png"))
    assert BARS in found
    assert BLUE not in found


def test_a_plan_without_criteria_has_a_figure(tmp_path):
    plan = Plan(granularity="fixed", units=("a", "b", "c"), groups=(("a", "b"), ("c",)))
    path = plan_figure(plan, tmp_path / "plan.png")
    assert size_of(path)[0] == ONE
    assert BLUE in colours_in(path)


def test_capacities_of_any_size_and_zero_have_a_figure(tmp_path, folders):
    errors = [0.0] + [10.0**i for i in range(-4, 15)]
    plan = folders.plan(folders.units, (), "block", "", errors, errors)
    assert size_of(plan_figure(plan, tmp_path / "plan.png"))[0] == TWO
    zeros = folders.plan(folders.units, (), "block", "", [0.0] * 20, [math.nan] * 20)
    assert size_of(plan_figure(zeros, tmp_path / "plan.png"))[0] == TWO


def test_the_ending_chooses_the_format(tmp_path, folders):
    errors = [0.1 * (1 + i % 3) for i in range(20)]
    plan = folders.plan(folders.units, folders.merged, "mixed", "error", errors, errors)
    drawing = plan_figure(plan, tmp_path / "plan.SVG").read_text()
    assert "Plan (mixed by error): 20 units in 16 groups, 4 pairs merged" in drawing
    assert plan_figure(plan, tmp_path / "plan.pdf").read_bytes()[:5] == b"%PDF-"
    with pytest.raises(DataError, match=r"'.jpeg' is not a choice.*\.svg, \.pdf, \.png"):
        plan_figure(plan, tmp_path / "plan.jpeg")


def test_runs_with_and_without_merging_are_drawn_over_each_other(tmp_path, folders):
    folders.write_run(tmp_path / "a")
    folders.write_run(tmp_path / "b", merged=folders.merged, planner="loss")
    path = oscillation_figure([load_run(run) for run in find_runs([tmp_path])], tmp_path / "oscillation.png")
    assert size_of(path)[0] == TWO
    assert {VERMILION, INK} <= colours_in(path)


def test_each_bit_width_has_its_own_axes(tmp_path, folders):
    heights = []
    for bits in ((2, 4), (4, 4)):
        folders.write_run(tmp_path / "runs" / str(bits[0]), bits=bits, merged=folders.merged)
        runs = [load_run(run) for run in find_runs([tmp_path / "runs"])]
        heights.append(size_of(oscillation_figure(runs, tmp_path / "oscillation.png"))[1])
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)


def test_failed_runs_are_not_drawn(tmp_path, folders):
    run = load_run(folders.write_failed(tmp_path / "run"))
    with pytest.raises(DataError, match="none of them completed"):
        oscillation_figure([run], tmp_path / "oscillation.png")


def test_importing_the_report_does_not_import_matplotlib_or_torch():
    import subprocess
    import sys

    heavy = ("matplotlib", "torch", "hydra", "wandb")
    code = f"import mrecg.report, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
