"""The loop around a launcher: whatever that does, each job ends by itself or is given up."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mrecg.config.validate import plain, run_config
from mrecg.errors import DataError
from mrecg.pipeline.result import write_yaml
from mrecg.runs.identity import identity_of
from mrecg.runs.layout import COMPLETED, FAILED, OPEN, RUNNING
from mrecg.runs.lock import run_lock
from mrecg.runs.manifest import Job, number_jobs, read_jobs, write_jobs
from mrecg.sweep.job_state import state
from mrecg.sweep.launch import batch_of, launch_all, workers_of
from mrecg.system import devices


def jobs_of(count: int) -> list[Job]:
    return [
        Job(
            number=i,
            identity=identity_of(run_config({"seed": i})),
            folder=f"{i}-job",
            overrides=(f"seed={i}",),
        )
        for i in range(count)
    ]


def end(folder: Path, status: str = COMPLETED, seed: int | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    seed = int(folder.name.partition("-")[0]) if seed is None else seed
    write_yaml(folder / "config.yaml", plain(run_config({"seed": seed})))
    (folder / "report.html").touch()
    (folder / "summary.json").write_text(json.dumps({"status": status}))


class Fake:
    """A launcher that does to each job what it is told, and notes what it was given."""

    def __init__(self, root: Path, fate: Callable[[int, int], str]) -> None:
        self.root, self.fate, self.batches = root, fate, list[list[int]]()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[object]:
        numbers = [int(overrides[0].removeprefix("seed=")) for overrides in job_overrides]
        assert initial_job_idx == numbers[0]
        attempt = len(self.batches)
        self.batches.append(numbers)
        for overrides, number in zip(job_overrides, numbers, strict=True):
            folder = self.root / overrides[1].removeprefix("hydra.sweep.subdir=").strip("'")
            ending = self.fate(number, attempt)
            if ending in (COMPLETED, FAILED):
                end(folder, ending)
            elif ending == "killed":  # and with it all behind it, as under joblib
                folder.mkdir(exist_ok=True)
                (folder / "config.yaml").write_text("")
                raise RuntimeError("a worker process\nwas terminated")
        return []


def launched(root: Path, fate: Callable[[int, int], str], jobs: int = 4, **more: object) -> Fake:
    fake = Fake(root, fate)
    launch_all(fake, jobs_of(jobs), root, retries=2, **more)  # type: ignore[arg-type]
    return fake


def test_all_jobs_are_launched_at_once(tmp_path: Path) -> None:
    assert launched(tmp_path, lambda *_: COMPLETED).batches == [[0, 1, 2, 3]]


def test_batches_have_their_size(tmp_path: Path) -> None:
    assert launched(tmp_path, lambda *_: COMPLETED, batch=3).batches == [[0, 1, 2], [3]]


def test_what_failed_is_not_tried_again_and_stops_nobody(tmp_path: Path) -> None:
    fake = launched(tmp_path, lambda number, _: FAILED if number == 1 else COMPLETED, batch=1)
    assert fake.batches == [[0], [1], [2], [3]]


def test_what_was_killed_is_tried_alone_behind_those_that_never_began(tmp_path: Path) -> None:
    fake = launched(tmp_path, lambda number, attempt: "killed" if number == 1 and not attempt else COMPLETED)
    assert fake.batches == [[0, 1, 2, 3], [2, 3], [1]]
    assert [state(tmp_path / job.folder) for job in jobs_of(4)] == [COMPLETED] * 4


def test_what_is_always_killed_is_given_up(tmp_path: Path) -> None:
    fake = launched(tmp_path, lambda number, _: "killed" if number == 0 else COMPLETED, jobs=3)
    assert fake.batches == [[0, 1, 2], [1, 2], [0], [0]]
    assert [state(tmp_path / job.folder) for job in jobs_of(3)] == [OPEN, COMPLETED, COMPLETED]


def test_what_is_done_is_left_alone_and_what_failed_before_is_tried(tmp_path: Path) -> None:
    end(tmp_path / "0-job")
    end(tmp_path / "2-job", FAILED)
    assert launched(tmp_path, lambda *_: COMPLETED).batches == [[1, 2, 3]]
    assert launched(tmp_path, lambda *_: COMPLETED).batches == []


def test_a_job_that_goes_on_without_its_launcher_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "0-job"
    folder.mkdir()
    waited = []

    with run_lock(folder):
        assert state(folder) == RUNNING

        def wait(seconds: float) -> None:
            waited.append(seconds)
            end(folder)

        fake = launched(tmp_path, lambda *_: COMPLETED, jobs=2, wait=wait)
    assert waited and fake.batches == [[1]]


def test_a_job_is_known_by_what_it_does() -> None:
    plain = run_config({})
    assert identity_of(plain) == identity_of(
        run_config({"name": "x", "logger": {"project": "y"}, "shared": {"folder": "z"}, "reuse": "none"})
    )
    others = [{"seed": 1}, {"bits": {"weight": 3}}, {"method": {"name": "brecq"}}, {"trainer": {"steps": 1}}]
    assert len({identity_of(run_config(values)) for values in [{}, *others]}) == 5


def test_jobs_keep_their_numbers_and_folders(tmp_path: Path) -> None:
    first = number_jobs(
        [], [("a" * 16, "one", ("x=1",)), ("b" * 16, "two/../é", ("x=2",)), ("a" * 16, "one", ())]
    )
    assert [(job.number, job.folder) for job in first] == [(0, "0-one"), (1, "1-two-..-é")]
    write_jobs(tmp_path, first, command="mrecg", verb="quantize", arguments=["x=1,2"])
    known = read_jobs(tmp_path)
    assert list(known) == first
    again = number_jobs(known, [("c" * 16, "three", ()), ("b" * 16, "renamed", ("x=2",))])
    assert [(job.number, job.folder) for job in again] == [(2, "2-three"), (1, "1-two-..-é")]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"jobs": [{}]}', '{"jobs": 3}', '{"jobs": [{"number": "x"}]}']
)
def test_a_list_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(DataError, match=r"sweep\.json: not the list"):
        read_jobs(tmp_path)


def test_workers_are_counted_where_they_share_a_machine() -> None:
    class JoblibLauncher:
        def __init__(self) -> None:
            self.joblib = {"n_jobs": 3}

    class LocalLauncher:
        pass

    assert workers_of(JoblibLauncher(), 9) == 3 and workers_of(JoblibLauncher(), 2) == 2
    assert workers_of(LocalLauncher(), 4) == 4 and workers_of(object(), 4) == 1
    assert workers_of(LocalLauncher(), 4, 2) == 2 == workers_of(LocalLauncher(), 2, 3)


def test_an_engine_is_not_given_more_jobs_than_it_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    class LocalLauncher:
        pass

    class SlurmLauncher:
        pass

    monkeypatch.setattr(devices, "processors", lambda: 3)
    assert batch_of(LocalLauncher(), cpu=True) == 3
    assert batch_of(SlurmLauncher(), cpu=True) == 1000
    assert batch_of(object(), cpu=True) is None
