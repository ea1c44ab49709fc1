"""Which runs are set against which, and what is said about them."""

import pytest

from mrecg.report import find_runs, load_run
from mrecg.report.compare import findings, panels
from mrecg.report.narrative import headline, reproduce
from mrecg.runs.summary_parts import Bits


@pytest.fixture
def runs(runs_root):
    return [load_run(path) for path in find_runs([runs_root])]


def test_seeds_of_one_configuration_are_one_series(runs):
    (panel,) = panels(runs)
    assert [series.label for series in panel.series] == [
        "brecq · block",
        "brecq · mixed",
        "qdrop · block",
        "qdrop · mixed",
    ]
    assert all([run.seed for run in series.runs] == [0, 1] for series in panel.series)


def test_bit_widths_and_units_do_not_share_axes(runs):
    done = [run for run in runs if run.completed]
    other = done[0].model_copy(update={"bits": Bits(weight=4, activation=4)})
    layers = done[0].model_copy(update={"units": done[0].units[:5], "granularity": "layer"})
    titles = [panel.title for panel in panels([*done, other, layers])]
    assert titles == [
        "mobilenet_v2_digits on digits, W4A4",
        "mobilenet_v2_digits on digits, W2A4 (5 units)",
        "mobilenet_v2_digits on digits, W2A4 (20 units)",
    ]


def test_labels_name_only_what_differs(tmp_path, folders):
    for k in (1, 2):
        folders.write_run(tmp_path / str(k), merged=folders.merged[:k])
    folders.write_run(tmp_path / "p", merged=folders.merged[:1], planner="published")
    runs = [load_run(path) for path in find_runs([tmp_path])]
    labels = [series.label for series in panels(runs)[0].series]
    assert len(set(labels)) == 3
    assert "qdrop · mixed, by error, 1 merge" in labels
    assert "qdrop · mixed, by error, 2 merges" in labels


def test_a_finding_is_the_mean_of_the_common_seeds(runs):
    found = findings(panels(runs))
    assert [f.series.label for f in found] == ["brecq · mixed", "qdrop · mixed"]
    qdrop = found[1]
    before = [run.quantized.top1 for run in qdrop.baseline.runs]
    after = [run.quantized.top1 for run in qdrop.series.runs]
    changes = [b - a for a, b in zip(before, after, strict=True)]
    assert qdrop.common_seeds == 2
    assert qdrop.top1.change == pytest.approx(sum(changes) / 2)
    assert (qdrop.top1.low, qdrop.top1.high) == pytest.approx((min(changes), max(changes)))
    assert qdrop.index.change < 0 < qdrop.top1.change


@pytest.mark.parametrize("granularity", ["stage", "network", "fixed"])
def test_every_granularity_that_merges_is_compared(runs, granularity):
    """Compared like the planned one, and in its place in the order of the table."""
    swapped = [
        r.model_copy(update={"granularity": granularity, "planner": ""}) if r.granularity == "mixed" else r
        for r in runs
    ]
    assert len(findings(panels(swapped))) == len(findings(panels(runs))) == 2
    assert headline(findings(panels(swapped)), swapped)
    (panel,) = panels(swapped)
    assert [s.first.granularity for s in panel.series] == ["block", granularity] * 2


def test_only_common_seeds_count(runs):
    kept = [run for run in runs if (run.granularity, run.seed) != ("mixed", 1)]
    qdrop = findings(panels(kept))[1]
    first = next(r for r in kept if r.method == "qdrop" and r.granularity == "block" and r.seed == 0)
    assert qdrop.common_seeds == 1
    assert qdrop.top1.before == first.quantized.top1
    assert qdrop.top1.change == pytest.approx(qdrop.top1.after - qdrop.top1.before)
    assert qdrop.top1.low is None


@pytest.mark.parametrize(
    "change", [{"steps": 400}, {"calibration_images": 64}, {"stem_output": "high"}, {"method": "adaround"}]
)
def test_another_budget_is_not_compared(runs, change):
    changed = [run.model_copy(update=change) if run.granularity == "mixed" else run for run in runs]
    assert findings(panels(changed)) == []
    assert "nothing to conclude" in headline([], changed)


def test_what_got_worse_is_said_as_plainly(runs):
    swap = {"block": "mixed", "mixed": "block"}
    swapped = [
        r.model_copy(update={"granularity": swap[r.granularity], "merge_count": 0, "planner": ""})
        for r in runs
        if r.completed
    ]
    found = findings(panels(swapped))
    assert found[0].top1.change < 0 < found[0].index.change
    assert "below block" in headline(found[:1], swapped)
    assert "rose in 0 and fell in 2" in headline(found, swapped)


def test_no_evaluation_leaves_the_oscillation(runs):
    blind = [run.model_copy(update={"fp": None, "quantized": None}) for run in runs]
    found = findings(panels(blind))[:1]
    assert found[0].top1 is None and found[0].index is not None and found[0].peak is not None
    assert "top-1" not in headline(found, blind)


def test_one_run_is_summed_up_alone(runs):
    run = next(run for run in runs if run.completed)
    said = headline([], [run])
    worst = max(run.units, key=lambda unit: unit.error)
    assert worst.name in said
    assert f"{100 * run.quantized.top1:.2f}" in said


def test_the_recorded_command_wins(runs):
    run = runs[0]
    assert (
        reproduce(run.model_copy(update={"command": "mrecg quantize -m seed=0,1"}))
        == "mrecg quantize -m seed=0,1"
    )
    made = reproduce(run.model_copy(update={"command": "script.py"}))
    assert made.startswith("mrecg quantize ")
    assert "seed=0" in made
    assert "bits.weight=2" in made
    fixed = run.model_copy(update={"granularity": "fixed", "groups": (("a", "b"), ("c",))})
    assert "'granularity.groups=[[a,b]]'" in reproduce(fixed)
