"""W&B in a thread of its own, so that its failures never stop or fail the job."""

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple, Protocol

from mrecg.planner.schedule import Plan
from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.events import CurvePoint, FinishPoint, GroupResult, Listener, Silent, UnitResult
from mrecg.track.wandb_logger.account import server
from mrecg.track.wandb_logger.service import abandon
from mrecg.track.wandb_logger.wandb_run import Mode

log = logging.getLogger(__name__)

FINISH_SECONDS = 60.0
"""Seconds that the end of a job waits for W&B: more than W&B's own limit for uploads, so that it says why."""
FAILED_SECONDS = 15.0
"""The same where the job failed or was interrupted: the process is awaited, and often killed soon after."""
LEAST_SECONDS = 2.0
"""The same where W&B has stood still for longer than these already."""


class Tracked(Listener, Protocol):
    """The part of a W&B run that is used here."""

    local: Path
    """Folder of its local files."""

    def plan(self, plan: Plan) -> None:
        """Send the plan."""

    def block_wise(self, errors: Sequence[float]) -> None:
        """Compare the units' errors with these."""

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Send what is left and end the run."""

    def close(self) -> None:
        """End the run as it is."""


class _Call(NamedTuple):
    method: str
    arguments: tuple[Any, ...]
    rows: int = 0
    place: str = ""
    options: Mapping[str, Any] = {}


class Sender(Silent):
    """Takes what a W&B run is to get, at once, and sends it from a thread of its own.

    The first error ends the sending with a warning. At the end, one line says what was not sent.

    Args:
        start: Starts the W&B run in a mode.
        mode: ``offline`` or ``online``; where W&B does not start online, it is tried offline.
        artifact: Whether the end of the run has an artifact.
        fallen_back: Whether online was asked for, and ``mode`` is the next best.
    """

    def __init__(
        self,
        start: Callable[[Mode], Tracked],
        *,
        mode: Mode,
        folder: Path,
        artifact: bool = False,
        fallen_back: bool = False,
    ) -> None:
        self._start, self._mode, self._folder, self._artifact = start, mode, folder, artifact
        self._fallen_back = fallen_back
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._ended = Event()
        self._rows = self._sent = 0
        self._at: _Call | None = None
        self._since: float | None = monotonic()
        self._local: Path | None = None
        self._stopped = self._complete = self._given_up = False
        # A daemon, because a call that never returns must not keep the process.
        Thread(target=self._work, name="mrecg-wandb", daemon=True).start()

    def begin(self, groups: Sequence[str], steps: int) -> None:
        """Pass it on."""
        self._put(_Call("begin", (tuple(groups), steps)))

    def group(self, name: str, members: Sequence[str], steps: int, floor: float) -> None:
        """Pass it on."""
        self._put(_Call("group", (name, tuple(members), steps, floor)))

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        """Pass the points of a chunk on."""
        self._put(_Call("curve", (group, task, tuple(points), steps), len(points), group))

    def unit(self, index: int, result: UnitResult) -> None:
        """Pass the error and the loss after a unit on."""
        self._put(_Call("unit", (index, result), 1, result.name))

    def judged(self, verdict: Verdict) -> None:
        """Pass it on."""
        self._put(_Call("judged", (verdict,)))

    def finished(self, result: GroupResult) -> None:
        """Pass it on."""
        self._put(_Call("finished", (result,)))

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        """Pass the points of a chunk on."""
        self._put(_Call("finishing", (tuple(points), steps), len(points), "the finishing"))

    def plan(self, plan: Plan) -> None:
        """Pass the plan on."""
        rows = len(plan.units) if plan.criteria and not plan.verdicts else 0
        self._put(_Call("plan", (plan,), rows, "the plan"))

    def block_wise(self, errors: Sequence[float]) -> None:
        """Pass it on."""
        self._put(_Call("block_wise", (tuple(errors),)))

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """End the run, within a bound, and say what was not sent.

        Args:
            summary: The content of summary.json; empty where the run failed.
            failed: Whether the run failed.
        """
        self._put(_Call("finish", (summary,), options={"failed": failed}))
        self._calls.put(None)
        limit, since = FAILED_SECONDS if failed else FINISH_SECONDS, self._since
        standing = 0.0 if since is None else monotonic() - since
        try:
            answered = self._ended.wait(max(LEAST_SECONDS, limit - standing))
        except BaseException:
            self._give_up()
            raise
        if not answered:
            self._give_up()
            log.warning("W&B: no answer for %.0f s; no longer waiting for it", max(limit, standing))
        self._say_what_is_missing(failed)

    def _put(self, call: _Call) -> None:
        self._rows += call.rows
        if not self._stopped:
            self._calls.put(call)

    def _work(self) -> None:
        run: Tracked | None = None
        try:
            run = self._open()
            for call in iter(self._calls.get, None):
                self._at, self._since = call, monotonic()
                getattr(run, call.method)(*call.arguments, **call.options)
                self._sent += call.rows
                self._since = None
            self._complete = True
        except BaseException as error:  # this thread has no signals: a SystemExit here is W&B's own
            self._stopped = True
            if not self._given_up:
                where = f"at {self._at.place or 'its ' + self._at.method}" if self._at else "at its start"
                log.warning(
                    "W&B: sending stopped %s (%s); the run continues with its CSV files", where, reason(error)
                )
                self._close(run)
        finally:
            self._ended.set()

    def _open(self, *, again: bool = False) -> Tracked:
        try:
            run = self._start(self._mode)
        except Exception as error:
            if self._given_up:
                raise
            if not again and abandon(dead_only=True):  # it was the process of an earlier run
                self._since = monotonic()
                return self._open(again=True)
            if self._mode != "online":
                raise
            log.warning("W&B: no run at %s (%s); written offline instead", server(), reason(error))
            abandon()  # its process takes the id for one that is in use
            self._mode, self._fallen_back, self._since = "offline", True, monotonic()
            run = self._start(self._mode)
        self._local, self._since = run.local, None
        return run

    def _close(self, run: Tracked | None) -> None:
        """End a run that raised, as far as W&B still can."""
        hopeless = False
        try:
            if run is not None:
                run.close()
        except BaseException:
            hopeless = True
        if not self._given_up:
            abandon(dead_only=not hopeless)

    def _give_up(self) -> None:
        self._given_up = self._stopped = True
        abandon()

    def _say_what_is_missing(self, failed: bool) -> None:
        local = self._local if self._local is not None and any(self._local.glob("*.wandb")) else None
        send = "" if local is None else "wandb sync " + "--include-online " * (self._mode == "online")
        send += "" if local is None else shlex.quote(str(_short(local)))
        if self._complete:
            if self._fallen_back:
                log.warning("W&B: nothing was sent; to send it: %s", send)
            return
        missing = []
        if unsent := self._rows - self._sent:
            place = self._at.place if self._at is not None and self._at.place else "the start"
            missing.append(f"{unsent} of {self._rows} rows of curves (from {place} on)")
        if not failed:
            missing += ["summary", "artifact"] if self._artifact else ["summary"]
        log.warning(
            "W&B: not sent: %s; all of it is in %s%s",
            ", ".join([*missing, "the end of the run"]),
            _short(self._folder),
            f"; to send what W&B has of it: {send}" if send else "",
        )


def reason(error: BaseException) -> str:
    """Say an error in one line.

    Returns:
        Its type and its words, at most 300 characters.
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].removesuffix(": ")


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
