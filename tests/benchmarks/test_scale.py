"""Reports over hundreds of runs: the second call reads no run folder, however many there are."""

import json
import time

import pytest

from benchmarks import scale
from benchmarks.run_grid import cells, write_grid
from mrecg.runs.index import INDEX
from mrecg.runs.sweep_status import read_sweep

FEW, MANY = 250, 1000
PAGE_MB = 5.0


@pytest.fixture(scope="module")
def grids(tmp_path_factory):
    """Two sweeps whose files have been left alone for longer than an index waits."""
    root = tmp_path_factory.mktemp("grids")
    made = {count: write_grid(root / str(count), count, images=100) for count in (FEW, MANY)}
    time.sleep(2.5)
    return made


@pytest.fixture(scope="module")
def measured(grids):
    return {count: {call.name: call for call in scale.calls(root)} for count, root in grids.items()}


@pytest.mark.slow
def test_the_second_call_reads_no_run_folder(measured):
    for count, calls in measured.items():
        assert calls["first report"].opened > count
        assert calls["second report"].opened == 0
        assert calls["first sweep status"].opened == count + 1
        assert calls["second sweep status"].opened == 1  # sweep.json


@pytest.mark.slow
def test_memory_and_page_stay_small(measured):
    for calls in measured.values():
        assert calls["second report"].memory_mb < 400
        assert calls["second report"].file_mb < PAGE_MB
        assert calls["second sweep status"].memory_mb < 150


@pytest.mark.slow
def test_runs_that_go_and_runs_that_change_are_seen(grids):
    root = grids[FEW]
    assert (root / INDEX).is_file()
    before = read_sweep(root)
    gone, changed = root / before.jobs[3].folder, root / before.jobs[4].folder
    gone.rename(root.parent / "gone")
    failed = {"status": "failed", "error": "disk full"}
    content = (changed / "summary.json").read_text()
    (changed / "summary.json").write_text(json.dumps(failed))
    try:
        after = read_sweep(root)
        assert after.counts == {**before.counts, "done": FEW - 2, "failed": 1, "missing": 1}
        assert after.jobs[4].reason == "disk full"
    finally:
        (root.parent / "gone").rename(gone)
        (changed / "summary.json").write_text(content)


def test_the_grid_is_as_wide_as_it_can_be():
    found = list(cells(2001))
    assert len({tuple(cell.overrides[:-1]) for cell in found}) == 2000 and found[-1].seed == 1


@pytest.mark.slow
def test_the_command_writes_its_numbers(tmp_path, capsys):
    scale.main(["--runs", "3", "--json", str(tmp_path / "scale.json"), "--folder", str(tmp_path)])
    (found,) = json.loads((tmp_path / "scale.json").read_text())
    assert found["runs"] == 3 and found["index_mb"] == 0 and len(found["calls"]) == 4
    assert "second report" in capsys.readouterr().out
    assert not (tmp_path / "3" / INDEX).exists()  # few runs need none
