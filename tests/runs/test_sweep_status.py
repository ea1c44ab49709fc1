"""How far a sweep is, from files that a sweep leaves at every moment of its life."""

import fcntl
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from mrecg.errors import DataError
from mrecg.report.sweep_table import MOST_JOBS, sweep_table, sweep_values
from mrecg.runs.sweep_status import read_sweep


@pytest.fixture
def sweep(tmp_path, folders):
    """A sweep of ten jobs: four done, one failed, one running, one interrupted, three missing."""
    root = tmp_path / "sweep"
    names = [f"{i}-job" for i in range(10)]
    for i in range(4):
        folders.write_run(root / names[i], seed=i, seconds=91.25)
    folders.write_failed(root / names[4], error="CUDA out of memory\n  tried to allocate")
    for i, ago in ((5, 60), (6, 600)):
        (root / names[i]).mkdir()
        started = datetime.now(UTC) - timedelta(seconds=ago)
        owner = {"pid": 1, "host": "here", "started": started.isoformat()}
        (root / names[i] / "run.lock").write_text(json.dumps(owner))
    (root / names[7]).mkdir()  # an engine made it, and nobody has worked in it
    jobs = [
        {
            "number": i,
            "identity": f"{i:016x}",
            "folder": name,
            "overrides": ["method=qdrop", f"seed={i}"],
        }
        for i, name in enumerate(names)
    ]
    manifest = {"schema_version": 1, "command": "mrecg quantize -m seed=range(10)", "jobs": jobs}
    (root / "sweep.json").write_text(json.dumps(manifest))
    lock = os.open(root / names[5] / "run.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield root
    os.close(lock)


def printed(found, **options):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(sweep_table(found, **options))
    return capture.get()


def test_every_job_has_its_status(sweep):
    found = read_sweep(sweep)
    statuses = [job.status for job in found.jobs]
    assert statuses == ["done"] * 4 + ["failed", "running", "interrupted", "missing", "missing", "missing"]
    assert found.counts == {"done": 4, "failed": 1, "running": 1, "interrupted": 1, "missing": 3}
    assert found.command == "mrecg quantize -m seed=range(10)"
    assert found.jobs[4].reason == "CUDA out of memory tried to allocate"
    assert 55 < found.jobs[5].seconds < 90


def test_times_include_what_was_reused_and_what_is_left_does_not(tmp_path, folders):
    for i, reused in enumerate(({}, {"plan": 40.0, "reconstruct": 20.0})):
        folders.write_run(tmp_path / str(i), seconds=91.25, seed=0, summary_extra={"reused_s": reused})
    found = read_sweep(tmp_path)
    assert [job.seconds for job in found.jobs] == [100.0, 160.0]
    assert [job.seconds_here for job in found.jobs] == [100.0, 100.0]
    assert [job.seconds_reused for job in found.jobs] == [0, 60.0]
    assert found.seconds_a_job == 100.0  # a job that waits may reuse as much
    text = printed(found)
    assert "2 min 40 s" in text and "1 min 0 s" in text
    assert "time: of all stages, with what other jobs had spent" in text
    values = json.loads(json.dumps(sweep_values(found)))["jobs"][1]
    assert (values["seconds"], values["seconds_here"], values["seconds_reused"]) == (160.0, 100.0, 60.0)
    folders.write_run(tmp_path / "alone" / "0")
    assert "reused" not in printed(read_sweep(tmp_path / "alone"))


def test_jobs_are_compared_with_the_one_that_merges_nothing(tmp_path, folders):
    def job(name, top1, *, merged=(), pairs=None, **more):
        extra = {"quantized": {"top1": top1}, "merged_pairs": pairs, **more}
        folders.write_run(tmp_path / name, merged=merged, summary_extra=extra)

    job("0", 0.5, pairs=0)
    job("1", 0.625, merged=folders.merged, pairs=4)
    job("2", 0.25, merged=folders.merged, pairs=4, seed=1)  # its seed has no block-wise job
    job("3", 0.75, merged=folders.merged, pairs=4, options={"planner.merge_count": "4"})
    job("4", 0.75, merged=folders.merged, pairs=4, options={"method.keep_probability": "0.25"})
    job("5", 0.5, merged=folders.merged, pairs=4, method="brecq")
    job("6", 0.375, merged=folders.merged, pairs=0, granularity="mixed", method="brecq")  # 0 merges
    job("7", 0.4, granularity="layer", pairs=0)
    found = read_sweep(tmp_path)
    assert [j.to_block for j in found.jobs[:7]] == [None, 0.125, None, 0.25, None, 0.125, None]
    assert found.jobs[7].to_block == pytest.approx(-0.1)
    text = printed(found)
    assert "to block" in text and "+12.50" in text and "+25.00" in text and "-10.00" in text
    assert json.loads(json.dumps(sweep_values(found)))["jobs"][1]["to_block"] == 0.125


def test_a_method_that_optimises_no_group_is_block_wise_whatever_is_merged(tmp_path, folders):
    for i, merged in enumerate(((), folders.merged)):
        extra = {"merged_pairs": 4 * i, "quantized": {"top1": 0.5}}
        folders.write_run(tmp_path / str(i), method="rtn", merged=merged, summary_extra=extra)
    assert [job.to_block for job in read_sweep(tmp_path).jobs] == [None, None]


def test_without_a_block_wise_job_there_is_no_such_column(tmp_path, folders):
    for seed in (0, 1):
        folders.write_run(tmp_path / str(seed), seed=seed, merged=folders.merged)
    assert "to block" not in printed(read_sweep(tmp_path))


def test_looking_leaves_the_lock_free(sweep):
    read_sweep(sweep)
    with (sweep / "6-job" / "run.lock").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_left_follows_from_the_jobs_that_are_done(sweep):
    found = read_sweep(sweep)
    mean = 91.25 + 1.5 + (0 + 1 + 2 + 3) / 4 + 3.25 + 4
    assert found.seconds_a_job == pytest.approx(mean)
    # One runs, for a minute already; four wait behind it.
    assert found.seconds_left == pytest.approx(4 * mean + mean - found.jobs[5].seconds, abs=1)


def test_the_table_says_all_of_it(sweep):
    text = printed(read_sweep(sweep))
    assert "10 jobs in" in text
    for part in ("4 done", "1 failed", "1 running", "1 interrupted", "3 missing"):
        assert part in text
    assert "seed=3" in text and "method=qdrop" not in text  # what all share is not repeated
    assert "CUDA out of memory tried to allocate" in text
    best = max(read_sweep(sweep).jobs[:4], key=lambda job: job.top1)
    assert f"best (mobilenet_v2_digits on digits, W2A4): {100 * best.top1:.2f} %, job {best.number}" in text
    assert "left: about" in text and "1 at a time" in text


def test_plain_values_are_the_same(sweep):
    values = json.loads(json.dumps(sweep_values(read_sweep(sweep)), allow_nan=False))
    assert values["counts"]["done"] == 4 and len(values["jobs"]) == 10
    assert values["jobs"][4]["reason"].startswith("CUDA")
    assert values["best"].keys() == {"mobilenet_v2_digits on digits, W2A4"}


def test_a_finished_sweep_has_nothing_left(tmp_path, folders):
    for i in range(2):
        folders.write_run(tmp_path / str(i), seed=i)
    found = read_sweep(tmp_path)
    assert found.counts["done"] == 2 and found.seconds_left is None
    assert "left:" not in printed(found)


def test_a_sweep_without_a_list_is_read_from_its_folders(tmp_path, folders):
    folders.write_run(tmp_path / "10")
    folders.write_run(tmp_path / "2")
    (tmp_path / "3" / ".hydra").mkdir(parents=True)
    (tmp_path / "3" / ".hydra" / "config.yaml").write_text("")
    (tmp_path / "3" / "config.yaml").write_text("")
    (tmp_path / "multirun.yaml").write_text("")
    found = read_sweep(tmp_path)
    assert [job.folder for job in found.jobs] == ["2", "3", "10"]
    assert [job.status for job in found.jobs] == ["done", "interrupted", "done"]
    assert "no job is done yet" not in printed(found)


def test_a_summary_that_is_being_written_belongs_to_a_running_job(sweep):
    (sweep / "5-job" / "summary.json").write_text('{"status": "comp')
    (sweep / "6-job" / "summary.json").write_text('{"status": "comp')
    jobs = read_sweep(sweep).jobs
    assert jobs[5].status == "running"
    assert jobs[6].status == "failed" and "not readable" in jobs[6].reason


def test_of_many_jobs_those_that_matter_are_listed(tmp_path, folders):
    jobs = []
    for i in range(MOST_JOBS + 40):
        if i == 77:
            folders.write_failed(tmp_path / str(i), error="it broke")
        elif i < 3:
            folders.write_run(tmp_path / str(i), level=1 - 0.1 * i)
        jobs.append({"number": i, "identity": "0" * 16, "folder": str(i), "overrides": [f"seed={i}"]})
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    found = read_sweep(tmp_path)
    short, long = printed(found), printed(found, every=True)
    assert "it broke" in short and "seed=2" in short and "more jobs: --all lists all 100" in short
    assert "seed=99" in long and "--all" not in long and "it broke" in long


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"jobs": [{"number": 0}]}', '{"jobs": 5}', '{"jobs": [{"number": "x"}]}'],
)
def test_a_broken_list_is_named(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(DataError, match=r"sweep\.json: not the list"):
        read_sweep(tmp_path)


@pytest.mark.parametrize("folder", ["/etc", "../other", "a/../../b"])
def test_a_job_outside_the_sweep_is_refused(tmp_path, folder):
    job = {"number": 0, "identity": "0", "folder": folder, "overrides": []}
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": [job]}))
    with pytest.raises(DataError, match="not inside the sweep's"):
        read_sweep(tmp_path)


def test_no_sweep_is_named(tmp_path):
    with pytest.raises(DataError, match="no sweep in it"):
        read_sweep(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_sweep(tmp_path / "nowhere")


def test_values_of_the_wrong_kind_stop_nobody(tmp_path, folders):
    odd = {"bits": 5, "quantized": [], "timing_s": "long", "model": "m", "status": "completed"}
    folders.write_run(tmp_path / "0", summary_extra=odd)
    (job,) = read_sweep(tmp_path).jobs
    assert (job.status, job.top1, job.seconds, job.subject) == ("done", None, None, "")


def test_markup_in_names_is_shown_as_it_is(tmp_path, folders):
    folders.write_failed(tmp_path / "0", error="[red]x[/red] [link=a]b")
    assert "[red]x[/red] [link=a]b" in printed(read_sweep(tmp_path))
