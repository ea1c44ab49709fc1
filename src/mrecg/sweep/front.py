"""Result of a search: search.json, the trials that no other one beats, a table and a picture."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from rich import box
from rich.table import Table

from mrecg.errors import DataError
from mrecg.runs.layout import COMPLETED, SUMMARY
from mrecg.runs.summary import RunSummary
from mrecg.runs.text import NONE, compact, plural
from mrecg.sweep.job_state import reason, state
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import DAMAGED, json_object, read_regular, refuse_newer

SEARCH = "search.json"
SECONDS = "seconds"
"""An objective that is not in summary.json: the time of all stages, also of those taken from other runs."""


@dataclass(frozen=True)
class Objective:
    """An objective of a search.

    Attributes:
        key: Key of summary.json, with dots; or ``seconds``.
        maximize: Whether more is better.
    """

    key: str
    maximize: bool

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Optuna's word."""
        return "maximize" if self.maximize else "minimize"


@dataclass(kw_only=True)
class Record:
    """One trial, as search.json has it.

    Attributes:
        params: What it has chosen, as values of overrides.
        folder: Its run folder, below the search's.
        state: ``running``, ``completed`` or ``failed``.
        values: Of the objectives; None until it is completed.
        front: Whether no other trial is better in one objective and as good in all.
    """

    number: int
    params: dict[str, str]
    folder: str
    state: str = "running"
    values: list[float] | None = None
    error: str = ""
    front: bool = False


_RECORDS = TypeAdapter(list[Record])


@dataclass
class Found:
    """All trials of a search."""

    objectives: tuple[Objective, ...]
    trials: dict[int, Record] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, objectives: Sequence[Objective]) -> "Found":
        """Read what an earlier process has found.

        Returns:
            The trials; none where there is no search.json.

        Raises:
            DataError: It is broken.
        """
        file = folder / SEARCH
        found = cls(tuple(objectives))
        if file.is_file():
            try:
                content = json_object(read_regular(file))
                refuse_newer(content, file)
                records = _RECORDS.validate_python(content["trials"])
            except (OSError, *DAMAGED) as error:
                raise DataError(
                    f"{file}: not a record of a search ({error!r}); move it away to continue"
                ) from error
            found.trials = {record.number: record for record in records}
        return found

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Mark the front and write search.json.

        Args:
            about: What else it says.
        """
        completed = [record for record in self.trials.values() if record.values is not None]
        best = pareto([record.values or [] for record in completed], self.objectives)
        for record, front in zip(completed, best, strict=True):
            record.front = front
        content = {
            "schema_version": 1,
            "objectives": [{"key": one.key, "direction": one.direction} for one in self.objectives],
            **about,
            "front": [record.number for record in self.front],
            "trials": [asdict(self.trials[number]) for number in sorted(self.trials)],
        }
        write_durably(folder / SEARCH, (json.dumps(content, indent=1) + "\n").encode())

    @property
    def front(self) -> list[Record]:
        """The trials that no other one beats, best by the first objective first, each configuration once."""
        first = self.objectives[0]
        best = {record.folder: record for record in reversed(self.trials.values()) if record.front}
        return sorted(best.values(), key=lambda r: (r.values or [0.0])[0], reverse=first.maximize)


def pareto(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[bool]:
    """Find what nothing else beats.

    Args:
        values: Of the objectives, for each trial.
        objectives: The directions.

    Returns:
        For each trial whether none is at least as good in all objectives and better in one.

    >>> pareto([(0.9, 20), (0.8, 10), (0.8, 15)], [Objective("top1", True), Objective("seconds", False)])
    [True, True, False]
    """
    signs = [1 if one.maximize else -1 for one in objectives]
    points = [tuple(s * v for s, v in zip(signs, row, strict=True)) for row in values]
    return [
        not any(
            other != point and all(map(float.__ge__, map(float, other), map(float, point)))
            for other in points
        )
        for point in points
    ]


def measure(folder: Path, objectives: Sequence[Objective]) -> tuple[list[float] | None, str]:
    """Read the result of a trial.

    Returns:
        The values, or None and why there are none, in one line.
    """
    if state(folder) != COMPLETED:
        return None, " ".join(reason(folder).split()) or "its process was killed"
    try:
        summary = json_object(read_regular(folder / SUMMARY))
        found = RunSummary.readable(summary, units=False)
        times = [*found.timing_s.values(), *found.reused_s.values()]
        total = sum(times) if times else None
    except (OSError, *DAMAGED) as error:
        return None, f"{SUMMARY} is not readable: {error}"
    values = []
    for one in objectives:
        # Any key may be an objective, so it is looked up by its name.
        value = total if one.key == SECONDS else _select(summary, one.key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            shown = "missing" if value is None else f"{value!r}, which is not a finite number"
            return None, f"{one.key}: is {shown} in its summary.json"
        values.append(float(value))
    return values, ""


def _select(values: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        elif isinstance(values, dict):
            values = values.get(part)
        else:
            return None
    return values


def front_table(found: Found) -> Table:
    """Make the table of the front.

    Returns:
        One row for each trial of the front.
    """
    done = sum(record.values is not None for record in found.trials.values())
    failed = sum(record.state == "failed" for record in found.trials.values())
    counts = plural(done, "trial") + (f", {failed} failed" if failed else "")
    what = "best" if len(found.objectives) == 1 else "no other trial is better in both"
    what = what if len(found.objectives) < 3 else "no other trial is better in all"
    table = Table(title=f"{counts}; {what}", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    keys = list(dict.fromkeys(key for record in found.front for key in record.params))
    table.add_column("run", justify="right")
    for one in found.objectives:
        table.add_column(f"{one.key} {'↑' if one.maximize else '↓'}", justify="right")
    for key in keys:
        table.add_column(key, justify="right", overflow="fold")
    for record in found.front:
        values = [compact(value, 4) for value in record.values or []]
        number = record.folder.split("-")[0]
        table.add_row(number, *values, *(record.params.get(key, NONE) for key in keys))
    return table


def show(found: Found, folder: Path) -> None:
    """Print the front and draw it.

    Args:
        folder: Where ``search.png`` and ``search.svg`` go.
    """
    if not found.front:
        return
    from mrecg.report.figures.search import Trial, search_figure
    from mrecg.track.terminal import results_console

    console = results_console()
    console.print(front_table(found))
    drawn = [
        Trial(label=record.folder.split("-")[0], values=tuple(record.values), front=record.front)
        for record in found.trials.values()
        if record.values is not None
    ]
    titles = [one.key for one in found.objectives]
    for ending in ("png", "svg"):
        path = search_figure(drawn, titles, found.objectives[0].maximize, folder / f"search.{ending}")
        console.print(f"picture: {path}", soft_wrap=True, highlight=False)
