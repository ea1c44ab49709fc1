"""``mrecg sweep status``: what it prints and how it leaves."""

import json
import subprocess
import sys

import pytest
from run_folders import write_failed, write_run


@pytest.fixture
def sweep(tmp_path):
    for i in range(3):
        write_run(tmp_path / "sweep" / f"{i}-job", seed=i)
    return tmp_path / "sweep"


def listed(root, count):
    jobs = [
        {"number": i, "identity": f"{i:016x}", "folder": f"{i}-job", "overrides": [f"seed={i}"]}
        for i in range(count)
    ]
    (root / "sweep.json").write_text(json.dumps({"schema_version": 1, "command": "x", "jobs": jobs}))


def test_all_done_is_0(sweep, mrecg):
    listed(sweep, 3)
    code, out, err = mrecg("sweep", "status", str(sweep))
    assert code == 0 and err == "" and "3 done" in out and "left" not in out


def test_missing_jobs_are_said_and_are_0(sweep, mrecg):
    listed(sweep, 5)
    code, out, _ = mrecg("sweep", "status", str(sweep))
    assert code == 0 and "3 done, 2 missing" in out and "left: about" in out


@pytest.mark.parametrize("spoil", ["failed", "interrupted"])
def test_a_job_that_went_wrong_is_1(sweep, mrecg, spoil):
    listed(sweep, 4)
    if spoil == "failed":
        write_failed(sweep / "3-job", error="out of memory")
    else:
        (sweep / "3-job").mkdir()
        (sweep / "3-job" / "run.lock").write_text("")
    code, out, _ = mrecg("sweep", "status", str(sweep))
    assert code == 1 and f"1 {spoil}" in out


def test_json_is_json(sweep, mrecg):
    listed(sweep, 4)
    code, out, _ = mrecg("sweep", "status", str(sweep), "--json")
    values = json.loads(out)
    assert code == 0 and values["counts"]["missing"] == 1 and len(values["jobs"]) == 4


def test_all_lists_all(tmp_path, mrecg):
    root = tmp_path / "many"
    write_run(root / "0-job")
    listed(root, 150)
    short, long = (mrecg("sweep", "status", str(root), *more).out for more in ((), ("--all",)))
    assert "149 missing" in short and "seed=149" not in short and "--all lists all 150" in short
    assert "seed=149" in long


def test_no_sweep_is_2(tmp_path, mrecg):
    outcome = mrecg("sweep", "status", str(tmp_path / "nowhere"))
    assert outcome.code == 2 and "no such folder" in outcome.line


@pytest.mark.parametrize("words", [(), ("go",), ("status",)])
def test_a_wrong_command_line_is_2(words, mrecg):
    assert mrecg("sweep", *words).code == 2


def test_it_loads_no_framework(sweep):
    code = (
        "import sys\nfrom mrecg.cli.main import main\n"
        "try: main(['sweep', 'status', sys.argv[1]])\nexcept SystemExit as left: assert not left.code\n"
        "assert not {'torch', 'hydra', 'lightning', 'wandb', 'matplotlib', 'plotly'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(sweep)], check=True, capture_output=True)
