"""What is compared with what in a figure, and by how much."""

import math

import pytest

from mrecg.report.compare import panels, unit_errors
from mrecg.report.figures.comparison import MOST_ROWS, against, changes, comparisons, told_apart
from mrecg.runs.load import load_run


def panel_of(root, folders, *configurations):
    for i, values in enumerate(configurations):
        folders.write_run(root / f"{i:03}", **values)
    (panel,) = panels([load_run(path) for path in sorted(root.iterdir())])
    return panel


def names_of(comparison):
    return [series.label for series in comparison.panel.series]


def pairs_of(units, *firsts):
    return tuple((units[i], units[i + 1]) for i in firsts)


def test_each_method_is_compared_with_its_own_blocks(tmp_path, folders):
    configurations = [{"method": m, "merged": g} for m in ("brecq", "qdrop") for g in ((), folders.merged)]
    first, second = comparisons(panel_of(tmp_path, folders, *configurations))
    assert (first.form, second.form) == ("pair", "pair")
    assert (first.baseline.label, [s.label for s in first.others]) == ("BRECQ", ["MRECG + BRECQ"])
    assert (second.baseline.label, [s.label for s in second.others]) == ("QDrop", ["MRECG + QDrop"])


def test_a_plan_without_merges_is_the_baseline_of_its_sweep(tmp_path, folders):
    counts = [
        {"granularity": "mixed", "merged": pairs_of(folders.units, *range(0, 3 * n, 3))} for n in (2, 0, 1)
    ]
    (comparison,) = comparisons(panel_of(tmp_path, folders, *counts))
    assert (comparison.form, comparison.ordinal) == ("sweep", True)
    assert comparison.baseline.first.merge_count == 0
    assert [series.first.merge_count for series in comparison.others] == [1, 2]


def test_a_block_wise_run_beside_a_plan_without_merges_is_no_figure_of_its_own(tmp_path, folders):
    runs = [{}, {"granularity": "mixed"}, {"granularity": "mixed", "merged": folders.merged}]
    (comparison,) = comparisons(panel_of(tmp_path, folders, *runs))
    assert comparison.baseline.first.granularity == "block"
    assert comparison.form == "pair"


def test_planners_are_no_sequence(tmp_path, folders):
    planners = [{"merged": folders.merged, "planner": name} for name in ("loss", "error")]
    (comparison,) = comparisons(panel_of(tmp_path, folders, {}, *planners))
    assert (comparison.form, comparison.ordinal) == ("sweep", False)


def test_merged_runs_without_a_block_wise_one_stand_alone(tmp_path, folders):
    panel = panel_of(tmp_path, folders, {"merged": folders.merged})
    (comparison,) = comparisons(panel)
    assert (comparison.form, comparison.baseline) == ("lines", None)
    assert comparison.others == panel.series


def test_what_belongs_to_no_pair_is_drawn_beside_the_block_wise_ones(tmp_path, folders):
    runs = [{"method": "brecq"}, {"method": "brecq", "merged": folders.merged}, {"method": "rtn"}]
    pair, alone = comparisons(panel_of(tmp_path, folders, *runs))
    assert names_of(pair) == ["BRECQ", "MRECG + BRECQ"]
    assert (names_of(alone), alone.baseline) == (["RTN", "BRECQ"], None)


def test_blocks_with_as_much_time_are_the_control(tmp_path, folders):
    longer = {"summary_extra": {"steps": 400}, "seconds": 160.0}
    runs = [{"seconds": 80.0}, {"merged": folders.merged, "seconds": 160.0}, longer]
    (comparison,) = comparisons(panel_of(tmp_path, folders, *runs))
    assert comparison.form == "pair"
    assert comparison.control.first.steps == 400
    assert comparison.panel.series[-1] is comparison.control


def test_many_methods_are_a_heat_map(tmp_path, folders):
    methods = ("rtn", "adaround", "brecq", "qdrop", "pd_quant", "genie_m")
    (comparison,) = comparisons(panel_of(tmp_path, folders, *({"method": name} for name in methods)))
    assert comparison.form == "map"


def test_of_very_many_the_best_of_each_kind_are_drawn(tmp_path, folders):
    def run(method, steps):
        return {"method": method, "level": 1 - 0.01 * steps, "summary_extra": {"steps": 100 + steps}}

    many = [run(method, steps) for method in ("brecq", "qdrop") for steps in range(MOST_ROWS // 2 + 1)]
    (comparison,) = comparisons(panel_of(tmp_path, folders, *many))
    assert [(s.first.method, s.first.steps) for s in comparison.others] == [
        (method, 100 + MOST_ROWS // 2) for method in ("brecq", "qdrop")
    ]


def test_the_change_is_that_of_common_seeds(tmp_path, folders):
    seeds = [{"seed": 0}, {"seed": 1}, {"seed": 2, "level": 50.0}]
    both = [{**seeds[s], "merged": folders.merged} for s in (0, 1)]
    (comparison,) = comparisons(panel_of(tmp_path, folders, *seeds, *both))
    baseline, series = comparison.baseline, comparison.others[0]
    blocks = {run.seed: run for run in baseline.runs}
    for i, (mean, low, high) in enumerate(against(baseline, series)):
        own = [100 * (run.units[i].error / blocks[run.seed].units[i].error - 1) for run in series.runs]
        before, after = (
            sum(run.units[i].error for run in runs) for runs in ([blocks[0], blocks[1]], series.runs)
        )
        assert (mean, low, high) == pytest.approx((100 * (after / before - 1), min(own), max(own)), abs=1e-6)


def test_without_a_common_seed_the_means_are_compared(tmp_path, folders):
    runs = [{"seed": 0}, {"seed": 1, "merged": folders.merged}]
    (comparison,) = comparisons(panel_of(tmp_path, folders, *runs))
    before, after = (unit_errors(one.runs) for one in (comparison.baseline, comparison.others[0]))
    found = against(comparison.baseline, comparison.others[0])
    assert [one[0] for one in found] == pytest.approx(
        [100 * (b / a - 1) for a, b in zip(before, after, strict=True)]
    )


def test_a_change_of_nothing_is_no_number():
    found = changes([0.0, math.nan, 0.1, math.inf], [0.1, 0.1, math.nan, 0.1])
    assert all(map(math.isnan, found))


def test_names_lose_what_all_share_but_never_all():
    assert told_apart(["a, x", "a, y"]) == ["x", "y"]
    assert told_apart(["a", "a, y"]) == ["a", "a, y"]
    assert told_apart(["only, one"]) == ["only, one"]
