"""What merging changed, in numbers: over common seeds, with paired errors where decisions are known."""

import json

import pytest

from mrecg.report import find_runs, load_run
from mrecg.report.compare import panels
from mrecg.report.decisions import change, read_decisions, right
from mrecg.report.pairs import findings


@pytest.fixture
def runs(runs_root):
    return [load_run(path) for path in find_runs([runs_root])]


def of(root):
    return findings(panels([load_run(path) for path in find_runs([root])]))


def test_a_finding_is_the_mean_of_the_common_seeds(runs):
    found = findings(panels(runs))
    assert [f.series.label for f in found] == ["MRECG + BRECQ", "MRECG + QDrop"]
    qdrop = found[1]
    before = [run.quantized.top1 for run in qdrop.baseline.runs]
    after = [run.quantized.top1 for run in qdrop.series.runs]
    assert qdrop.seeds == 2
    assert qdrop.top1.change == pytest.approx((sum(after) - sum(before)) / 2)
    assert qdrop.measures["regrowth"].change < 0 < qdrop.top1.change


def test_only_common_seeds_count(runs):
    kept = [run for run in runs if (bool(run.merged), run.seed) != (True, 1)]
    qdrop = findings(panels(kept))[1]
    first = next(r for r in kept if r.method == "qdrop" and not r.merged and r.seed == 0)
    assert qdrop.seeds == 1
    assert qdrop.top1.before == first.quantized.top1
    assert qdrop.measures["seconds"].before == first.total_seconds


def test_without_a_common_seed_all_count_and_the_error_is_unpaired(runs):
    kept = [run for run in runs if run.completed and bool(run.merged) == (run.seed == 1)]
    found = findings(panels(kept))
    assert [f.seeds for f in found] == [0, 0]
    assert all(f.top1 and f.top1.error > 0 and not f.top1.paired for f in found)


@pytest.mark.parametrize("granularity", ["stage", "network", "fixed"])
def test_every_granularity_that_merges_is_compared(runs, granularity):
    swapped = [
        r.model_copy(update={"granularity": granularity, "planner": ""}) if r.merged else r for r in runs
    ]
    assert len(findings(panels(swapped))) == 2


@pytest.mark.parametrize(
    "change",
    [{"steps": 400}, {"calibration_images": 64}, {"stem_output": "high"}, {"method": "adaround"}],
)
def test_another_budget_is_not_compared(runs, change):
    changed = [run.model_copy(update=change) if run.merged else run for run in runs]
    assert findings(panels(changed)) == []


def test_the_error_is_paired_where_both_kept_their_decisions(tmp_path, folders):
    block = folders.write_run(tmp_path / "b", kept=400)
    merged = folders.write_run(tmp_path / "m", merged=folders.merged, kept=400)
    (found,) = of(tmp_path)
    before, after = (right(read_decisions(load_run(folder)), 2) for folder in (block, merged))
    assert found.top1.paired and found.top1.images == 400
    assert found.top1.error == pytest.approx(change(before, after)["standard_error"])
    (block / "decisions.csv").unlink()
    (unpaired,) = of(tmp_path)
    assert not unpaired.top1.paired and unpaired.top1.error > 0


def test_accuracies_on_other_images_are_not_compared(tmp_path, folders):
    for i, merged in enumerate([(), folders.merged]):
        extra = {"evaluation": {"sha256": f"set {i}"}}
        folders.write_run(tmp_path / str(i), merged=merged, summary_extra=extra)
    (found,) = of(tmp_path)
    assert found.top1 is None and found.measures["head_error"]


def test_each_merge_has_what_it_gained_and_what_it_cost(tmp_path, folders):
    block = folders.write_run(tmp_path / "b")
    merged = folders.write_run(tmp_path / "m", merged=folders.merged)
    for folder, scale in ((block, 1.0), (merged, 2.5)):
        summary = json.loads((folder / "summary.json").read_text())
        for group in summary["group_results"]:
            group["seconds"] = scale * len(group["name"].split("+"))
        (folder / "summary.json").write_text(json.dumps(summary))
    (found,) = of(tmp_path)
    assert [one.units for one in found.merges] == list(folders.merged)
    errors = [{unit.name: unit.error for unit in load_run(folder).units} for folder in (block, merged)]
    for one in found.merges:
        assert one.change == pytest.approx(errors[1][one.units[-1]] / errors[0][one.units[-1]] - 1)
        assert one.seconds == pytest.approx(1.5 * len(one.units))


def test_old_runs_have_merges_without_seconds(tmp_path, folders):
    for i, merged in enumerate([(), folders.merged]):
        folders.write_run(tmp_path / str(i), merged=merged, summary_extra={"group_results": []})
    (found,) = of(tmp_path)
    assert [one.seconds for one in found.merges] == [None] * 3
