"""Numbers of merges are shades of one hue; everything else keeps its looks."""

import pytest

from mrecg.report import find_runs, load_run
from mrecg.report.compare import panels
from mrecg.report.page.sequence import SHADES, in_sequence, palette
from mrecg.report.palette import COLOURS_LIGHT, looks


def looks_of(root):
    shown = panels([load_run(path) for path in find_runs([root])])
    return looks(shown), in_sequence(shown, looks(shown))


def brightness(colour):
    return sum(w * int(colour[i : i + 2], 16) for w, i in ((0.3, 1), (0.59, 3), (0.11, 5)))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_shade_stands_out_more_than_the_one_before(theme):
    shades = [brightness(colour) for colour in palette()[theme][-SHADES:]]
    assert len(set(shades)) == SHADES
    assert shades == sorted(shades, reverse=theme == "light")


def test_merge_counts_are_a_sequence_and_the_baseline_is_not(tmp_path, folders):
    folders.write_run(tmp_path / "0", granularity="mixed")
    for k in (1, 2, 3):
        folders.write_run(tmp_path / str(k), merged=folders.merged[:k])
    usual, found = looks_of(tmp_path)
    assert found["QDrop"] == usual["QDrop"] and found["QDrop"].marker.endswith("-open")
    shades = [found[f"MRECG + QDrop, {k} merge{'s' * (k > 1)}"].colour_index for k in (1, 2, 4)]
    assert shades == sorted(set(shades))
    assert (shades[0], shades[-1]) == (len(COLOURS_LIGHT), len(COLOURS_LIGHT) + SHADES - 1)


@pytest.mark.parametrize(
    "kinds", [[("qdrop", 1), ("qdrop", 2)], [(m, k) for m in ("qdrop", "brecq") for k in (1, 2, 3)]]
)
def test_two_counts_or_two_families_are_no_sequence(tmp_path, folders, kinds):
    for i, (method, k) in enumerate(kinds):
        folders.write_run(tmp_path / str(i), method=method, merged=folders.merged[:k])
    usual, found = looks_of(tmp_path)
    assert usual == found


@pytest.mark.parametrize("option", [{"steps": 400}, {"options": {"planner.difference": "rise"}}])
def test_what_differs_in_more_than_the_count_is_no_sequence(tmp_path, folders, option):
    for k in (1, 2, 3):
        extra = option if k == 3 else {}
        folders.write_run(tmp_path / str(k), merged=folders.merged[:k], summary_extra=extra)
    usual, found = looks_of(tmp_path)
    assert len(usual) == 3 and usual == found
