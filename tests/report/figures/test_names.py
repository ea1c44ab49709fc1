"""Files are named after what differs, and no two have the same name."""

import re

import pytest

from mrecg.report.figures import write
from mrecg.report.figures.names import distinct
from mrecg.report.figures.write import paper_figures
from mrecg.runs.load import load_run

STEM = "mobilenet_v2_digits-digits-w2a4"


def load(root):
    return [load_run(path) for path in sorted(root.iterdir())]


@pytest.fixture
def names_alone(monkeypatch):
    """Which files there would be: drawing them takes seconds."""
    monkeypatch.setattr(write, "save", lambda figure, path, **words: path)
    monkeypatch.setattr(write, "write_rows", lambda rows, path: path)
    for name in ("draw_oscillation", "draw_configurations", "draw_counts", "draw_plan"):
        monkeypatch.setattr(write, name, lambda *args, **words: 0)


def test_a_file_is_named_after_the_method_where_several_are_compared(tmp_path, folders, names_alone):
    for i, (method, merged) in enumerate((m, g) for m in ("brecq", "qdrop") for g in ((), folders.merged)):
        folders.write_run(tmp_path / "runs" / str(i), method=method, merged=merged)
    names = {p.name.removeprefix(STEM) for p in paper_figures(load(tmp_path / "runs"), tmp_path / "out")}
    assert {"-oscillation-brecq.svg", "-oscillation-qdrop.svg"} <= names
    # Both methods merge the same units by the same planner.
    assert [name for name in names if "plan" in name and name.endswith(".svg")] == ["-plan-error-k4.svg"]


def test_settings_that_tell_two_baselines_apart_are_in_the_name(tmp_path, folders, names_alone):
    for i, (steps, merged) in enumerate((n, g) for n in (100, 200) for g in ((), folders.merged)):
        folders.write_run(tmp_path / "runs" / str(i), merged=merged, summary_extra={"steps": steps})
    written = paper_figures(load(tmp_path / "runs"), tmp_path / "out")
    names = {path.name.removeprefix(STEM) for path in written if "oscillation" in path.name}
    assert {"-oscillation-qdrop-100-steps.svg", "-oscillation-qdrop-200-steps.svg"} <= names


def test_plans_that_differ_in_more_than_their_count_have_their_own_figures(tmp_path, folders, names_alone):
    units = folders.units
    schedules = {"loss": (3, 6), "error": (3, 6), "modcap": (8,)}
    for name, firsts in schedules.items():
        merged = tuple((units[i], units[i + 1]) for i in firsts)
        folders.write_run(tmp_path / "runs" / name, merged=merged, planner=name)
    folders.write_run(tmp_path / "runs" / "other", merged=((units[12], units[13]),), planner="loss")
    folders.write_run(tmp_path / "runs" / "seed", merged=((units[14], units[15]),), planner="loss", seed=1)
    written = paper_figures(load(tmp_path / "runs"), tmp_path / "out")
    plans = [path.stem.removeprefix(f"{STEM}-plan-") for path in written if "-plan-" in path.name]
    names = {re.sub(r"-[0-9a-f]{6}$", "", name) for name in plans}
    assert len(set(plans)) == 5
    assert {"loss-k2", "error-k2", "modcap-k1"} <= {name.removesuffix("-s0") for name in names}
    assert {"loss-k1-s0", "loss-k1-s1"} <= names


def test_names_of_files_are_never_the_same():
    assert distinct([["A"], ["a"]])[0].casefold() != distinct([["A"], ["a"]])[1].casefold()
    assert distinct([["a", "", "s0"], ["a", "k1", "s0"]]) == ["a", "a-k1"]
    assert len(set(distinct([["a", "x"]] * 3))) == 3
    # The name of one shall not be what the digest or the parts of another give.
    facets = [["a", "b-c"], ["a-b", "c"], ["a", "b", "c"]]
    assert len(set(distinct(facets))) == 3
