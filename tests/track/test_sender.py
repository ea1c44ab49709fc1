"""W&B that is missing, fails, hangs or is killed: the job ends in time, with whole CSV files, and says so."""

import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import wandb
from offline_run import OfflineRun
from wandb.errors import CommError, UsageError

from mrecg.config.schema import RunConfig
from mrecg.config.validate import run_config
from mrecg.pipeline import run as pipeline
from mrecg.reconstruct.events import CurvePoint
from mrecg.track.trackers import Trackers, tracked
from mrecg.track.wandb_logger import media, sender, wandb_run

Config = Callable[..., RunConfig]
OPENS_WITHIN = 8.0
"""Seconds, on a busy machine, most of which is the import of wandb."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("FINISH_SECONDS", "FAILED_SECONDS"):
        monkeypatch.setattr(sender, name, 1.0)
    monkeypatch.setattr(sender, "LEAST_SECONDS", 0.2)
    for name in ("tables", "pictures"):  # drawing takes longer than that
        monkeypatch.setattr(media, name, lambda *arguments: {})
    caplog.set_level(logging.WARNING, "mrecg.track")


def said_by(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("mrecg.track.")]


def small(tiny_config: Config, **logger: Any) -> RunConfig:
    return tiny_config(logger=logger, trainer={"steps": 3}, granularity={"name": "block"})


def tables(folder: Path) -> dict[str, str]:
    files = [folder / "units.csv", *(folder / "curves").glob("*.csv")]
    return {file.name: file.read_text() for file in files}


@pytest.fixture(scope="module")
def undisturbed(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The CSV files of a run without W&B."""
    folder = tmp_path_factory.mktemp("csv")
    pipeline.run(small(tiny_config, wandb="disabled"), folder)
    found = tables(folder)
    assert len(found) == 6
    return found


class Configuration(dict[str, Any]):
    """W&B's takes one argument more."""

    def update(self, values: dict[str, Any], *, allow_val_change: bool) -> None:  # type: ignore[override]
        assert allow_val_change
        super().update(values)


class Fake(ModuleType):
    """Stands in for the package: one of its calls does something else from some time on."""

    def __init__(
        self, where: str, what: Callable[[], None], *, after: int = 0, starting_step: int = 0
    ) -> None:
        super().__init__("wandb")
        self.calls: list[str] = []
        self.rows: dict[int, dict[str, Any]] = {}
        self.starting_step, self.sync_dir = starting_step, "/nonexistent"
        self.config = Configuration()
        self.summary = SimpleNamespace(update=lambda *rest: self.call("summary"))
        self.where, self.what, self.after = where, what, after

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.where and self.calls.count(name) > self.after:
            self.what()

    def init(self, **settings: Any) -> "Fake":
        self.call("init")
        return self

    def Settings(self, **settings: Any) -> None:
        """None of them matters."""

    def Artifact(self, *arguments: Any, **more: Any) -> Any:
        return SimpleNamespace(add_file=lambda *rest, **more: None)

    def define_metric(self, *arguments: Any, **more: Any) -> None:
        self.call("define_metric")

    def log(self, row: dict[str, Any], *, step: int, commit: bool) -> None:
        self.call("log")
        assert commit
        self.rows[step] = row

    def log_artifact(self, artifact: object) -> None:
        self.call("log_artifact")

    def finish(self, exit_code: int) -> None:
        self.call("finish")


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("where", "after", "error", "stopped", "rows"),
    [
        ("init", 0, CommError("no\nroute"), "at its start (CommError: no route)", True),
        ("define_metric", 5, wandb.Error("bad"), "at the plan (Error: bad)", True),
        ("log", 7, OSError(28, "No space"), "at stem (OSError: [Errno 28] No space)", True),
        ("log", 7, SystemExit(1), "at stem (SystemExit: 1)", True),
        ("summary", 0, TypeError("what"), "at its finish (TypeError: what)", False),
        ("log_artifact", 0, UsageError("x"), "at its finish (UsageError: x)", False),
        ("finish", 0, TimeoutError(), "at its finish (TimeoutError)", False),
    ],
)
def test_an_error_of_w_and_b_costs_only_w_and_b(
    where: str,
    after: int,
    error: BaseException,
    stopped: str,
    rows: bool,
    tiny_config: Config,
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = Fake(where, raising(error), after=after)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    result = pipeline.run(small(tiny_config, wandb="offline", artifact=True), tmp_path)
    assert result.summary["status"] == "completed" and (tmp_path / "summary.json").is_file()
    assert tables(tmp_path) == undisturbed
    first, last = said_by(caplog)
    assert first == f"W&B: sending stopped {stopped}; the run continues with its CSV files"
    assert last.startswith("W&B: not sent: ") and ("rows of curves (from" in last) == rows
    assert "summary, artifact, the end of the run; all of it is in" in last
    assert fake.calls.count(where) in (after + 1, after + 2)  # nothing but the end is tried after that


@pytest.mark.parametrize(("where", "after"), [("init", 0), ("log", 7), ("finish", 0)])
def test_w_and_b_that_never_answers_is_waited_for_at_the_end_only_and_not_for_long(
    where: str,
    after: int,
    tiny_config: Config,
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    never = Event()
    monkeypatch.setitem(sys.modules, "wandb", Fake(where, lambda: (never.wait(), None)[1], after=after))
    waits: list[float] = []
    finish = sender.Sender.finish

    def timed(self: sender.Sender, *arguments: Any, **more: Any) -> None:
        begin = time.monotonic()
        finish(self, *arguments, **more)
        waits.append(time.monotonic() - begin)

    monkeypatch.setattr(sender.Sender, "finish", timed)
    try:
        pipeline.run(small(tiny_config, wandb="offline"), tmp_path)
    finally:
        never.set()
    assert tables(tmp_path) == undisturbed
    assert len(waits) == 1 and waits[0] < 4
    assert re.fullmatch(r"W&B: no answer for \d+ s; no longer waiting for it", said_by(caplog)[0])
    assert (
        said_by(caplog)[1].startswith("W&B: not sent: ")
        and "summary, the end of the run" in said_by(caplog)[1]
    )


def test_without_the_package_the_csv_files_are_written(
    tiny_config: Config,
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    pipeline.run(small(tiny_config, wandb="offline"), tmp_path)
    assert tables(tmp_path) == undisturbed and not (tmp_path / "wandb").exists()
    assert said_by(caplog) == [
        "W&B: the package wandb is not installed: only the CSV files are written; "
        "pip install wandb, or logger=csv"
    ]


@pytest.fixture
def anew() -> Iterator[None]:
    """W&B reads the environment again, and forgets afterwards what it has read."""
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("anew")
def test_online_without_a_login_is_written_offline_and_said(
    tiny_config: Config,
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settled: Callable[[Path], OfflineRun],
) -> None:
    monkeypatch.setattr(sender, "FINISH_SECONDS", 30.0)
    monkeypatch.setattr("builtins.input", lambda *rest: pytest.fail("asked for a key"))
    pipeline.run(small(tiny_config, wandb="online"), tmp_path)
    assert tables(tmp_path) == undisturbed
    assert settled(tmp_path).summary["status"] == "completed"
    (run,) = tmp_path.glob("wandb/offline-run-*")
    assert said_by(caplog) == [
        "W&B: not logged in at W&B (wandb login); written offline instead",
        f"W&B: nothing was sent; to send it: wandb sync {run}",
    ]


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def tell(trackers: Trackers, group: str, count: int) -> None:
    points = [
        CurvePoint(step=i, reconstruction=1.0, rounding=None, total=1.0, beta=None) for i in range(count)
    ]
    for listener in trackers.listeners:
        listener.begin([group], count)
        listener.curve(group, "joint", points, count)


@pytest.mark.usefixtures("anew")
def test_a_server_that_says_nothing_delays_no_start_and_the_run_is_written_offline(
    silent: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settled: Callable[[Path], OfflineRun],
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", silent)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(wandb_run, "START_SECONDS", 2.0)
    monkeypatch.setattr(sender, "FINISH_SECONDS", 30.0)
    begin = time.monotonic()
    with tracked(run_config({"logger": {"wandb": "online"}}), tmp_path) as trackers:
        assert time.monotonic() - begin < 1.5  # wandb is imported here already
        tell(trackers, "a", 20)
        assert time.monotonic() - begin < 1.9
        trackers.summary = {"status": "completed"}
    assert time.monotonic() - begin < 15
    first, last = said_by(caplog)
    assert first.startswith(f"W&B: no run at {silent} (CommError: ") and first.endswith(
        "written offline instead"
    )
    (run,) = tmp_path.glob("wandb/offline-run-*")
    assert last == f"W&B: nothing was sent; to send it: wandb sync {run}"
    read = settled(run)
    assert read.curve("total/a") == [(i, 1.0) for i in range(20)] and read.summary["status"] == "completed"
    assert len((tmp_path / "curves" / "a.csv").read_text().splitlines()) == 21


def test_ctrl_c_passes_and_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake("finish", lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(KeyboardInterrupt), tracked(run_config({}), tmp_path) as trackers:
        tell(trackers, "a", 2)
        assert trackers.wandb is not None
        monkeypatch.setattr(trackers.wandb._ended, "wait", lambda limit: raising(KeyboardInterrupt())())
