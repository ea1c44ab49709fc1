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
    assert qdrop.top1.seeds == 2
    assert qdrop.top1.change == pytest.approx((sum(after) - sum(before)) / 2)
    assert qdrop.measures["regrowth"].change < 0 < qdrop.top1.change


def test_only_common_seeds_count(runs):
    kept = [run for run in runs if (bool(run.merged), run.seed) != (True, 1)]
    qdrop = findings(panels(kept))[1]
    first = next(r for r in kept if r.method == "qdrop" and not r.merged and r.seed == 0)
    assert qdrop.top1.seeds == 1
    assert qdrop.top1.before == first.quantized.top1
    assert qdrop.measures["seconds"].before == first.total_seconds


def test_without_a_common_seed_all_count_and_the_error_is_unpaired(runs):
    kept = [run for run in runs if run.completed and bool(run.merged) == (run.seed == 1)]
    found = findings(panels(kept))
    assert [f.top1.seeds for f in found] == [0, 0]
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


def test_a_repeated_run_is_one_seed_and_the_newest_of_it(tmp_path, folders):
    for day, fp in (("1", 0.9), ("2", 0.95)):
        for name, merged in (("b", ()), ("m", folders.merged)):
            for seed in (0, 1):
                folders.write_run(tmp_path / f"{day}{name}{seed}", merged=merged, seed=seed, fp=fp)
    found = findings(panels([load_run(path) for path in find_runs([tmp_path])] * 2))
    newest = of_days(tmp_path, "2")
    assert [one.top1 for one in found] == [one.top1 for one in newest] and found[0].top1.seeds == 2
    assert found[0].measures == newest[0].measures
    assert [run.path.name for side in found[0].runs for run in side] == ["2b0", "2b1", "2m0", "2m1"]


def of_days(root, day):
    paths = [path for path in find_runs([root]) if path.name.startswith(day)]
    return findings(panels([load_run(path) for path in paths]))


def test_only_seeds_that_were_paired_are_counted(tmp_path, folders):
    for seed in range(3):
        folders.write_run(tmp_path / f"b{seed}", seed=seed, evaluated=seed != 2)
        extra = {"evaluation": {"sha256": "other"}} if seed == 1 else {}
        folders.write_run(tmp_path / f"m{seed}", seed=seed, merged=folders.merged, summary_extra=extra)
    (found,) = of(tmp_path)
    assert found.top1.seeds == 1 and found.measures["head_error"].seeds == 3


def test_accuracies_on_fewer_of_the_images_are_not_compared(tmp_path, folders):
    for i, merged in enumerate([(), folders.merged]):
        folders.write_run(tmp_path / str(i), merged=merged, summary_extra={"evaluation_images": 1000 + i})
    (found,) = of(tmp_path)
    assert found.top1 is None


def test_seeds_that_merge_nothing_leave_the_merges_of_the_others(tmp_path, folders):
    auto = {"options": {"planner.merge_count": "auto"}}
    for seed in range(3):
        folders.write_run(tmp_path / f"b{seed}", seed=seed)
        merged = folders.merged if seed == 2 else ()
        extra = {"granularity": "mixed", "summary_extra": auto}
        folders.write_run(tmp_path / f"m{seed}", seed=seed, merged=merged, **extra)
    (found,) = of(tmp_path)
    assert [one.units for one in found.merges] == list(folders.merged) and found.top1.seeds == 3
    (tmp_path / "b2" / "summary.json").unlink()  # the only seed that merges has no block-wise run
    found = findings(panels([load_run(p) for p in find_runs([tmp_path]) if p.name != "b2"]))
    assert [one.merges for one in found] == [()]


def test_decisions_of_a_baseline_are_read_once(tmp_path, folders, monkeypatch):
    from mrecg.report import pairs

    folders.write_run(tmp_path / "b", kept=50)
    for k in (1, 2, 3):
        folders.write_run(tmp_path / f"m{k}", merged=folders.merged[:k], kept=50)
    read = []
    real = pairs.decisions.read_decisions
    monkeypatch.setattr(
        pairs.decisions, "read_decisions", lambda run: read.append(run.path.name) or real(run)
    )
    assert len(of(tmp_path)) == 3 and sorted(read) == ["b", "m1", "m2", "m3"]
