"""What a run gives back, and its folder: writing it and reading it."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from mrecg import report
from mrecg.config.consent import Consent
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.errors import CheckpointError, MrecgError
from mrecg.formats.checkpoint import Quantized, dump, fill, read, rebuild
from mrecg.models.build import architecture
from mrecg.models.preprocessing import resolve
from mrecg.pipeline.shown import as_html, facts_of, unit_rows
from mrecg.planner.schedule import Plan
from mrecg.reconstruct.events import FinishPoint, GroupResult, UnitResult
from mrecg.runs.frames import pandas_module
from mrecg.runs.identity import read_config
from mrecg.runs.layout import (
    CONFIG,
    CURVES,
    DECISION_COLUMNS,
    DECISIONS,
    ENVIRONMENT,
    FINISHING,
    IMAGES,
    PAGE,
    PLAN,
    SUMMARY,
    WEIGHTS,
    WEIGHTS_ORIGIN,
)
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import DAMAGED, json_object, open_regular, read_regular, refuse_newer
from mrecg.track.csv_files import CsvFiles

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Result(Quantized):
    """A quantized network and how it came about.

    Attributes:
        plan: Which units were merged, and why.
        units: Error and loss after each base unit.
        groups: The optimisation curve of each group; empty in a result that was loaded, which has `curves`.
        summary: The content of summary.json.
        environment: The content of environment.json.
        images: The content of images.json; empty where a loaded folder has none.
        weights: The content of weights.json; empty where a loaded folder has none.
        decisions: The content of decisions.csv, one row per evaluation image: label, decision of the
            full-precision network, decision of the quantized one; shape (N, 3). None without such images, and
            where a loaded folder has none.
        curves: The files of the curves of a result that was loaded, by name.
        finishing: The curve of the finishing; empty where there was none.
        folder: The folder that it was loaded from; None if it was not loaded.
    """

    plan: Plan
    units: tuple[UnitResult, ...]
    groups: tuple[GroupResult, ...]
    summary: dict[str, Any]
    config: RunConfig
    environment: dict[str, Any]
    images: dict[str, Any]
    weights: dict[str, Any]
    decisions: Tensor | None = None
    curves: Mapping[str, bytes] = field(default_factory=dict)
    finishing: tuple[FinishPoint, ...] = ()
    folder: Path | None = None

    def __repr__(self) -> str:
        """What was quantized, how, and what came out, in a few lines."""
        first, *facts = facts_of(self.config, self.plan, self.summary, self.folder)
        return "\n".join([f"Result: {first}", *(f"  {fact}" for fact in facts)])

    def _repr_html_(self) -> str:
        """The same for a notebook, with a table of the units."""
        facts = facts_of(self.config, self.plan, self.summary, self.folder)
        return as_html(facts, unit_rows(self.network, self.plan, self.units))

    def units_frame(self) -> "pd.DataFrame":
        """Make a table of the units, one row each in network order.

        Returns:
            A table with the columns ``unit``; ``group``, its units joined by "+"; ``layers``, how many have
            weights; ``weight_bits``, ``4`` or ``4/8``; ``weights``, their number; ``bytes``, of the quantized
            weights; ``error``, the relative error after the unit; ``sqnr_db``, in decibels; ``loss``.

        Raises:
            ConfigError: pandas is not installed.
        """
        rows = unit_rows(self.network, self.plan, self.units)
        table: pd.DataFrame = pandas_module().DataFrame(rows)
        return table

    def save(self, folder: Path | str) -> Path:
        """Write the run folder: config, environment, plan, curves, weights, summary and report.

        Args:
            folder: The folder to write. It is made if it does not exist.

        Returns:
            The folder.
        """
        folder = Path(folder)
        (folder / CURVES).mkdir(parents=True, exist_ok=True)
        for name, content in self.curves.items():
            write_durably(folder / CURVES / name, content)
        files = CsvFiles(folder, keep=self.curves)
        task = None
        for group in self.groups:
            if group.task != task:
                files.begin((), 0)
                task = group.task
            if group.curve:
                files.curve(group.name, group.task, group.curve, group.steps)
        for index, unit in enumerate(self.units):
            files.unit(index, unit)
        if self.finishing:
            files.finishing(self.finishing, 0)
        write_yaml(folder / CONFIG, plain(self.config))
        write_json(folder / ENVIRONMENT, self.environment)
        write_json(folder / PLAN, self.plan.as_dict())
        write_json(folder / IMAGES, self.images)
        write_json(folder / WEIGHTS_ORIGIN, self.weights)
        write_decisions(folder, self.decisions)
        write_weights(folder, self)
        write_json(folder / SUMMARY, self.summary)
        with report.only_a_warning(folder):
            report.write_report([folder], folder / PAGE)
        return folder


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values, readable by people."""
    write_durably(path, (json.dumps(values, indent=2) + "\n").encode())


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as YAML."""
    import yaml

    write_durably(path, yaml.safe_dump(dict(values), sort_keys=False).encode())


def write_decisions(folder: Path, decisions: Tensor | None) -> None:
    """Write decisions.csv.

    Args:
        decisions: See `Result`; None: nothing to write.
    """
    if decisions is not None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([tuple(DECISION_COLUMNS), *decisions.tolist()])
        write_durably(folder / DECISIONS, text.getvalue().encode())


def write_weights(folder: Path, result: Result) -> None:
    """Write quantized.safetensors.

    Args:
        result: The hardened network and its configuration.
    """
    write_durably(folder / WEIGHTS, dump(result.network, result.config, result.preprocessing))


def load(folder: Path | str, *, model: nn.Module | None = None, allow_import: bool = False) -> Result:
    """Load a saved run.

    Args:
        model: The full-precision model that was quantized. Needed where it was passed from Python; otherwise
            it is built from the run's own config, without its weights, which do not matter.
        allow_import: Whether the model's class may be imported, which runs its code, where the folder names
            it by import path.

    Returns:
        The result; its ``model`` gives the outputs that it gave when it was saved.

    Raises:
        CheckpointError: A file is missing or damaged, of a newer version, or does not fit the model.
        ConfigError: The folder names a class to import, and that is not allowed.
    """
    folder = Path(folder)
    for name in (CONFIG, PLAN, SUMMARY, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: is no finished run, {name} is missing")
    summary = _read(folder / SUMMARY)
    refuse_newer(summary, folder / SUMMARY, error=CheckpointError)
    config = read_config(folder)
    given = model is not None
    if model is None:
        if config.model.source == "python":
            raise CheckpointError(
                f"{folder}: its model was passed from Python; call load(folder, model=...) with it"
            )
        Consent(str(folder), allow_import).to(config.model, None)
        model = architecture(config.model)
    plan = _valid(folder / PLAN, Plan.from_dict, _read(folder / PLAN))
    units = _valid(folder / SUMMARY, _UNITS.validate_python, summary.get("units"))
    preprocessing = None if given else resolve(config.model)
    shape = preprocessing.input_shape if preprocessing else config.model.input_shape
    about, state = read(folder / WEIGHTS)
    chosen, what = config.model.output, str(folder)
    network = rebuild(model, config.bits, config.granularity, shape, about=about, what=what, output=chosen)
    fill(network, state, str(folder))
    return Result(
        model=network.model,
        plan=plan,
        units=units,
        groups=(),
        summary=summary,
        config=config,
        environment=_read(folder / ENVIRONMENT),
        network=network,
        preprocessing=preprocessing,
        input_shape=shape,
        images=_read(folder / IMAGES),
        weights=_read(folder / WEIGHTS_ORIGIN),
        decisions=_decisions(folder / DECISIONS),
        curves={
            file.name: file.read_bytes()
            for file in sorted((folder / CURVES).glob("*.csv"))
            if file.is_file() and not file.is_symlink()
        },
        finishing=_finishing(folder / FINISHING),
        folder=folder,
    )


def _rows(file: Path, names: Sequence[str]) -> list[list[str]] | None:
    """Read the rows below the header of a CSV file; None where there is no file."""
    if not file.is_file():
        return None
    with TextIOWrapper(open_regular(file), encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    if header != [*names]:
        raise ValueError(f"its columns are not {', '.join(names)}")
    return rows


def _finishing(file: Path) -> tuple[FinishPoint, ...]:
    with _damage_named(file):
        rows = _rows(file, [each.name for each in fields(FinishPoint)]) or []
        values = [(int(step), _number(loss), _number(held_out)) for step, loss, held_out in rows]
        return tuple(FinishPoint(step=step, loss=loss, held_out=held) for step, loss, held in values)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _decisions(file: Path) -> Tensor | None:
    with _damage_named(file):
        rows = _rows(file, [*DECISION_COLUMNS])
        return None if rows is None else torch.tensor([[int(v) for v in row] for row in rows]).reshape(-1, 3)


@contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, csv.Error, RuntimeError, *DAMAGED) as error:
        raise CheckpointError(f"{file}: {error}; repeat the run, or remove the file") from error


def _read(file: Path) -> dict[str, Any]:
    """What a file holds that older runs lack."""
    try:
        return json_object(read_regular(file)) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not readable as JSON ({error}); repeat the run") from error


_UNITS = TypeAdapter(tuple[UnitResult, ...])


def _valid(file: Path, check: Callable[[Any], T], values: Any) -> T:
    """Check what a file holds, and name the file where it is not right."""
    try:
        return check(values)
    except (MrecgError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{file}: {reason}; repeat the run") from error
