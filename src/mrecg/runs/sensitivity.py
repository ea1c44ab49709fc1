"""What quantizing each unit and layer alone does: the record of ``mrecg sensitivity``, and its files."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mrecg.errors import DataError, short
from mrecg.runs.layout import SENSITIVITY, SENSITIVITY_TABLE
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import DAMAGED, json_object, read_regular

Measure = Literal["kl", "relative_error"]
_MEASURES: dict[str, Measure] = {"kl": "kl", "relative_error": "relative_error"}


@dataclass(frozen=True, kw_only=True)
class Sensitive:
    """A layer or a unit, quantized alone while all else is in full precision.

    Attributes:
        of: What was quantized alone: ``unit`` or ``layer``.
        name: The name of the unit or layer.
        unit: The name of the unit that it is in.
        quantized: Which part of it was quantized: ``weights``, or ``activations`` (of a layer what it reads,
            of a unit all that it computes).
        bits: The fewest bits of what was quantized.
        parameters: The number of weights; 0 for activations.
        kl: The Kullback-Leibler divergence of the class probabilities from full precision, mean over the
            images, nats; for outputs that are no logits the relative error, of several outputs the mean.
        error: The relative error of the last feature map, which enters the last unit; None for the last unit,
            and where there are several outputs.
    """

    of: str
    name: str
    unit: str
    quantized: str
    bits: int
    parameters: int
    kl: float
    error: float | None


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The sensitivities of a network.

    Attributes:
        model: The name of the network.
        images: The number of held-out calibration images that it was measured on.
        rows: The measurements: units and then layers, each in the network's order.
        measure: What ``kl`` of a row is: ``kl``, or ``relative_error`` where the outputs are no class scores.
    """

    model: str
    images: int
    rows: tuple[Sensitive, ...]
    measure: Measure = "kl"

    def of(self, what: str, quantized: str | None = None) -> list[Sensitive]:
        """The rows of units or of layers.

        Args:
            what: ``unit`` or ``layer``.
            quantized: ``weights`` or ``activations``; None: both.
        """
        return [row for row in self.rows if row.of == what and quantized in (None, row.quantized)]

    def worst(self, what: str) -> list[Sensitive]:
        """The rows of units or of layers, the one that harms most first.

        Args:
            what: ``unit`` or ``layer``.
        """
        return sorted(self.of(what), key=lambda row: -row.kl if math.isfinite(row.kl) else -math.inf)

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values for sensitivity.json."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Write sensitivity.json and sensitivity.csv.

        Args:
            folder: Where; it is there.
        """
        write_durably(folder / SENSITIVITY, (json.dumps(self.as_dict(), indent=2) + "\n").encode())
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(cells(self.rows))
        write_durably(folder / SENSITIVITY_TABLE, file.getvalue().encode())


def read_sensitivity(file: Path) -> Sensitivity:
    """Read sensitivity.json.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        found = json_object(read_regular(file))
        rows = tuple(_row(row) for row in found["rows"])
        measure = _MEASURES[found.get("measure", "kl")]
        return Sensitivity(model=str(found["model"]), images=int(found["images"]), rows=rows, measure=measure)
    except (OSError, *DAMAGED) as error:
        raise DataError(
            f"{file}: cannot be read ({short(error, 200)}); measure again: mrecg sensitivity"
        ) from error


def _row(found: Mapping[str, Any]) -> Sensitive:
    row = Sensitive(**found)
    numbers = [row.kl, *(() if row.error is None else (row.error,))]
    if not all(isinstance(value, int | float) for value in numbers) or not all(
        isinstance(value, str) for value in (row.of, row.name, row.unit, row.quantized)
    ):
        raise TypeError("a row has something else than names and numbers")
    return row


COLUMNS = tuple(field.name for field in fields(Sensitive))


def cells(rows: Sequence[Sensitive]) -> list[list[Any]]:
    """Rows as lists of plain values under `COLUMNS`; empty where a number is not there."""
    return [list(asdict(row).values()) for row in rows]
