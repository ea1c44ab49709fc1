"""Records of groups in stores: the run's own, from which it resumes, and the one that runs share."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any, NamedTuple

from mrecg.config.finishing import FinishConfig
from mrecg.errors import RunError
from mrecg.methods.passes import Pass
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.group_state import GroupRecord, Partial
from mrecg.system.checked_read import DAMAGED
from mrecg.system.content_store import ContentStore, Entry

log = logging.getLogger(__name__)
_POINT = [field.name for field in fields(CurvePoint)]


class Stores(NamedTuple):
    """A run's own store, which must not lose anything, and the shared one, which may."""

    own: ContentStore | None
    shared: ContentStore | None

    def get(self, key: str) -> Entry | None:
        """Find an entry; one that comes from another run says ``reused``."""
        if self.own is not None and (entry := self.own.get(key)) is not None:
            return entry
        if self.shared is not None and (entry := self.shared.get(key)) is not None:
            return Entry({**entry.facts, "reused": True}, entry.tensors)
        return None

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; without room in the shared store the run continues, and others do not profit."""
        if self.own is not None and not self.own.has(key):
            self.replace(key, entry)
        if self.shared is not None and not entry.facts.get("reused"):
            try:
                self.shared.put(key, entry)
            except OSError as error:
                if not self.shared.complained:
                    log.warning(
                        "shared.folder: %s cannot be written to (%s): this run continues, others will have "
                        "nothing of it; name another folder, or shared.folder=null",
                        self.shared.folder,
                        error.strerror or error,
                    )
                self.shared.complained = True

    def replace(self, key: str, entry: Entry) -> None:
        """Keep an entry on the own store alone, whatever was there under its key."""
        if self.own is None:
            return
        try:
            self.own.put(key, entry)
        except OSError as error:
            folder = self.own.folder
            raise RunError(
                f"{folder}: cannot be written to ({error.strerror or error}); what is finished is kept: "
                f"make room, and continue with resume={folder.parent}"
            ) from error


class GroupStore:
    """Records of groups on stores; see `mrecg.reconstruct.group_state.Finished`.

    Args:
        root: Where the chain of keys begins.
        every_steps: See `Finished`; only the run's own store keeps groups in the middle of their steps.

    Attributes:
        place: The key of the group that was announced last.
    """

    def __init__(self, stores: Stores, root: str, *, every_steps: int = 0) -> None:
        self._stores, self.place = stores, root
        self.every_steps = every_steps if stores.own is not None else 0
        self._partials: set[str] = set()

    def announce(self, task: Pass | FinishConfig, members: Sequence[str], steps: int) -> None:
        """Go on to the next group."""
        link = json.dumps([self.place, repr(task), list(members), steps])
        self.place = f"group-{hashlib.sha256(link.encode()).hexdigest()[:32]}"

    def recall(self) -> GroupRecord | None:
        """Find the record of the group that was announced."""
        entry = self._stores.get(self.place)
        try:
            return None if entry is None else record_of(entry)
        except DAMAGED:  # then it is optimised again
            return None

    def keep(self, record: GroupRecord) -> None:
        """Keep the record of the group that was announced."""
        self._stores.put(self.place, entry_of(record))
        while self._partials:  # it is through, and so are the trials before it
            self._drop(self._partials.pop())

    def recall_partial(self, name: str) -> Partial | None:
        """Find what an interrupted run has left of a group."""
        own, key = self._stores.own, self._partial_key(name)
        if own is None or (entry := own.get(key)) is None:
            return None
        try:
            steps, curve = int(entry.facts["steps"]), _points(entry.facts["curve"])
        except DAMAGED:
            return None
        self._partials.add(key)
        return Partial(steps=steps, state=entry.tensors, curve=curve)

    def keep_partial(self, name: str, partial: Partial) -> None:
        """Keep a group in the middle of its steps, in place of what was kept of it before."""
        key = self._partial_key(name)
        facts = {"steps": partial.steps, "curve": [astuple(point) for point in partial.curve]}
        self._partials.add(key)
        self._stores.replace(key, Entry(facts, dict(partial.state)))

    def _partial_key(self, name: str) -> str:
        return f"partial-{hashlib.sha256(json.dumps([self.place, name]).encode()).hexdigest()[:32]}"

    def _drop(self, key: str) -> None:
        if self._stores.own is not None:
            self._stores.own.drop(key)


def entry_of(record: GroupRecord) -> Entry:
    """Turn a group's record into what a store keeps."""
    facts = {
        "measured": record.measured,
        "seconds": record.seconds,
        "curve": [astuple(point) for point in record.curve],
        "floor": record.floor,
        "retries": record.retries,
        "noted": record.noted,
        "reused": record.reused,
    }
    return Entry(facts, dict(record.state))


def record_of(entry: Entry) -> GroupRecord:
    """Turn what a store has kept into a group's record."""
    facts = entry.facts
    return GroupRecord(
        state=entry.tensors,
        measured=tuple((float(error), float(loss)) for error, loss in facts["measured"]),
        seconds=float(facts["seconds"]),
        curve=_points(facts["curve"]),
        floor=facts["floor"],
        retries=int(facts["retries"]),
        noted=facts["noted"],
        reused=bool(facts["reused"]),
    )


def _points(rows: Sequence[Sequence[Any]]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(**dict(zip(_POINT, values, strict=True))) for values in rows)
