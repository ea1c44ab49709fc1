"""Which runs are set against which, and what is said about them."""

import pytest

from mrecg.report import find_runs, load_run
from mrecg.report.compare import baseline_of, control_of, panels, rank
from mrecg.runs.summary_parts import Bits


@pytest.fixture
def runs(runs_root):
    return [load_run(path) for path in find_runs([runs_root])]


def test_seeds_of_one_configuration_are_one_series(runs):
    (panel,) = panels(runs)
    assert [series.label for series in panel.series] == [
        "BRECQ",
        "MRECG + BRECQ",
        "QDrop",
        "MRECG + QDrop",
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


def test_widths_under_a_budget_are_said_and_share_axes_with_others(runs):
    done = [run for run in runs if run.completed]
    auto = [
        run.model_copy(update={"options": {**run.options, "bits.budget": "2.5"}})
        for run in done
        if run.method == "qdrop"
    ]
    assert {run.widths for run in auto} == {"W(avg 2.5)A4"} and {run.widths for run in done} == {"W2A4"}
    (panel,) = panels(auto)
    assert panel.title == "mobilenet_v2_digits on digits, W(avg 2.5)A4" and panel.widths == "W(avg 2.5)A4"
    (panel,) = panels([*auto, *(run for run in done if run.method == "brecq")])
    assert panel.title == "mobilenet_v2_digits on digits, W2A4" and panel.widths == "W2A4"


def test_labels_name_only_what_differs(tmp_path, folders):
    for k in (1, 2):
        folders.write_run(tmp_path / str(k), merged=folders.merged[:k])
    folders.write_run(tmp_path / "p", merged=folders.merged[:1], planner="published")
    runs = [load_run(path) for path in find_runs([tmp_path])]
    labels = [series.label for series in panels(runs)[0].series]
    assert len(set(labels)) == 3
    assert "MRECG + QDrop, by error, 1 merge" in labels
    assert "MRECG + QDrop, by error, 2 merges" in labels


@pytest.mark.parametrize("granularity", ["mixed", "fixed", "stage", "network"])
def test_a_plan_without_merges_is_the_baseline_of_its_sweep(tmp_path, folders, granularity):
    """Whatever its granularity is called: of a sweep over merge counts that with 0 merges."""
    for k in range(3):
        merged = folders.merged[:k]
        folders.write_run(tmp_path / str(k), merged=merged, granularity=granularity if not k else "mixed")
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    none, *merging = panel.series if granularity == "mixed" else sorted(panel.series, key=lambda s: s.merging)
    assert not none.merging and none.label == "QDrop"
    assert [baseline_of(panel, one) for one in merging] == [none, none]
    assert baseline_of(panel, none) is None


def test_of_two_baselines_the_one_with_common_seeds(tmp_path, folders):
    for i, (seed, granularity) in enumerate([(0, "block"), (1, "mixed")]):
        folders.write_run(tmp_path / str(i), granularity=granularity, seed=seed)
    folders.write_run(tmp_path / "m", merged=folders.merged, seed=1)
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    (merging,) = [one for one in panel.series if one.merging]
    assert baseline_of(panel, merging).first.granularity == "mixed"
    assert len({one.label for one in panel.series}) == 3


def test_the_two_brecqs_are_told_apart(tmp_path, folders):
    for method in ("brecq", "brecq_joint"):
        folders.write_run(tmp_path / method, method=method)
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    assert [one.label for one in panel.series] == ["BRECQ, two passes", "BRECQ, one pass"]


@pytest.mark.parametrize(
    ("steps", "seconds", "device", "found"),
    [
        (400, 100.0, "cpu", True),
        (400, 50.0, "cpu", True),  # half of the merged one's 90 s and what is around them
        (400, 40.0, "cpu", False),  # not near its time
        (400, 180.0, "cpu", True),
        (400, 200.0, "cpu", False),
        (400, 900.0, "cpu", False),
        (200, 100.0, "cpu", False),  # not more steps
        (400, 100.0, "cuda", False),  # seconds of another device
    ],
)
def test_a_control_is_a_longer_block_wise_run_with_about_as_much_time(
    tmp_path, folders, steps, seconds, device, found
):
    folders.write_run(tmp_path / "b", seconds=50.0)
    folders.write_run(tmp_path / "m", merged=folders.merged, seconds=90.0)
    extra = {"steps": steps, "device": device}
    folders.write_run(tmp_path / "c", seconds=seconds, summary_extra=extra, name="control")
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    (merging,) = [one for one in panel.series if one.merging]
    control = control_of(panel, merging)
    assert (control is not None and control.first.name == "control") is found


def test_of_two_controls_the_one_closest_in_time(tmp_path, folders):
    folders.write_run(tmp_path / "m", merged=folders.merged, seconds=90.0)
    for steps, seconds in ((300, 80.0), (400, 93.0)):
        extra = {"steps": steps}
        folders.write_run(tmp_path / str(steps), seconds=seconds, summary_extra=extra)
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    (merging,) = [one for one in panel.series if one.merging]
    assert control_of(panel, merging).first.steps == 400


@pytest.mark.parametrize("method", ["rtn", "closed_form"])
def test_what_optimises_no_group_merges_nothing_whatever_its_plan_is(tmp_path, folders, method):
    for i, merged in enumerate(((), folders.merged)):
        folders.write_run(tmp_path / str(i), method=method, merged=merged)
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    assert len(panel.series) == 2 and not any(one.merging for one in panel.series)
    assert [baseline_of(panel, one) for one in panel.series] == [None, None]


def test_of_a_repeated_seed_the_newest_run_counts(tmp_path, folders):
    for day in ("2025-01-02", "2025-01-01"):
        folders.write_run(tmp_path / day, name=day)
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    (series,) = panel.series
    assert len(series.runs) == 2 and [run.name for run in series.by_seed.values()] == ["2025-01-02"]


def test_without_accuracies_the_error_into_the_head_ranks(tmp_path, folders):
    for i, level in enumerate((1.0, 0.5)):
        extra = {"steps": 100 + i}
        folders.write_run(tmp_path / str(i), level=level, evaluated=False, summary_extra=extra)
    folders.write_run(tmp_path / "2", level=2.0)
    (panel,) = panels([load_run(path) for path in find_runs([tmp_path])])
    order = sorted(panel.series, key=rank, reverse=True)
    assert [one.first.steps for one in order] == [200, 101, 100]
