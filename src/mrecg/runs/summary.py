"""The record of a run's outcome, summary.json: each of its keys is named here alone.

A run writes it as it is. What is read may come from elsewhere, so it is converted and checked: a value that
is read by some function of this package and is not as expected is refused; others are left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mrecg.config.bit_keys import widths_in_words
from mrecg.errors import DataError
from mrecg.runs.layout import COMPLETED, FAILED
from mrecg.runs.summary_parts import (
    Accuracy,
    Bits,
    Count,
    GroupSummary,
    Number,
    Oscillation,
    Seconds,
    Text,
    ToFullPrecision,
    UnitResult,
    Values,
    checked,
    first_fault,
    mapping,
    memory,
    metric_values,
    numbers,
    or_none,
    widths_of,
)
from mrecg.runs.values import clean, count, number, strings, whole
from mrecg.system.checked_read import SCHEMA

REMEDY = "repeat the run, or leave its folder out of the report"
_READING = {"reading": True}


class RunSummary(BaseModel):
    """The content of summary.json, in the order of the file.

    What a failed or an old run has not written has the default that is given here.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    schema_version: Annotated[int | None, or_none(count)] = SCHEMA
    """The version of this record. A newer one than the program knows is refused."""
    run_name: Text = ""
    """The name of the run: `name` in the settings."""
    model: Text = ""
    """The name of the network."""
    data: Text = ""
    """The name of the data set."""
    bits: Annotated[Bits, checked(dict)] = Bits()
    """The bit widths of most layers."""
    boundary_bits: Annotated[int | None, or_none(count)] = None
    """The bits of the first and the last layer's weights; null: those of all others."""
    layer_bits: Annotated[Mapping[str, Mapping[str, int]] | None, or_none(widths_of)] = None
    """The bits of each layer's ``weight`` and ``input``. There only if patterns or a budget decided them."""
    average_bits: Annotated[Number | None, or_none(number)] = None
    """The average bits of the weights whose widths a budget chose. There only with a budget."""
    stem_output: Annotated[int | str, checked(str)] = "low"
    """The convention for the first layer's output: `low`, `high` or 8, as in `bits.stem_output`."""
    method: Text = ""
    """The name of the method."""
    options: Annotated[Mapping[str, Any], checked(strings)] = {}
    """Every other setting that decides the numbers and is not the default, by its dotted key."""
    granularity: Text = ""
    """The name of the granularity."""
    planner: Text = ""
    """The planner that chose the merges; empty where the granularity alone decides."""
    merge_count: Count = 0
    """The number of pairs that the planner was asked to merge, or chose."""
    merged_pairs: Annotated[int | None, or_none(count)] = None
    """The number of pairs that were merged."""
    groups: Annotated[tuple[tuple[str, ...], ...], checked(lambda v: [[*map(str, g)] for g in v])] = ()
    """The groups that were optimised, each as the list of its units' names."""
    seed: Count = 0
    """The seed of the optimisation."""
    precision: Annotated[int | str, checked(str)] = "32"
    """The arithmetic of convolutions in the optimisation: 32, `tf32` or `bf16`."""
    steps: Count = 0
    """The optimisation steps per unit or per group."""
    steps_per: Text = "unit"
    """Whether ``steps`` counts per `unit` or per `group`."""
    optimisation_steps: Annotated[int | None, or_none(count)] = None
    """The steps of all groups in all passes together."""
    batch_size: Count = 0
    """The number of images in a step; 0 if it is not known."""
    calibration_images: Count = 0
    """The number of calibration images."""
    calibration: Values = None
    """Which images these are: how many of how many, the seed of the draw, and a hash."""
    weights: Values = None
    """Where the full-precision weights come from."""
    preprocessing: Values = None
    """How images were prepared; null where they were passed from Python."""
    device: Text = ""
    """The device that the run used, for example `cpu` or `cuda:0`."""
    devices: Annotated[int | None, or_none(count)] = None
    """How many such devices shared the run."""
    fp: Annotated[Accuracy | None, checked(mapping)] = None
    """The accuracy of the full-precision network; null without evaluation images."""
    quantized: Annotated[Accuracy | None, checked(mapping)] = None
    """The accuracy of the quantized network; null without evaluation images."""
    to_fp: Annotated[ToFullPrecision | None, or_none(mapping)] = None
    """How far the quantized predictions are from full precision; null without evaluation images."""
    metrics: Annotated[Mapping[str, Mapping[str, float | None]] | None, or_none(metric_values)] = None
    """The values of a metric of your own, by its name, of ``fp`` and ``quantized``. There only with one."""
    output_error: Values = None
    """The relative error of each output on the evaluation images. There only if it is no classifier."""
    evaluation_images: Count = 0
    """The number of evaluation images; 0 without."""
    evaluation: Annotated[Mapping[str, Any] | None, checked(mapping)] = None
    """Which images these are, with the keys of ``calibration``."""
    oscillation: Oscillation | None = None
    """How much error and loss go up and down along the units."""
    units: tuple[UnitResult, ...] = ()
    """What was measured after each unit, in the network's order."""
    block_errors: Annotated[tuple[Number, ...] | None, or_none(numbers)] = None
    """The relative error after each unit in the block-wise run with the same settings, before any finishing.
    Merges are compared with it. There only if units were merged and such a run was known."""
    evaluation_errors: Annotated[tuple[Number, ...], checked(numbers)] = ()
    """The relative error after each unit on about 256 evaluation images. There only with such images."""
    weight_ranges: Values = None
    """How the weights of each unit lie on their grids, by the name of the unit."""
    activation_ranges: Values = None
    """How the activations of each unit lie on their grids. There only with evaluation images."""
    group_results: tuple[GroupSummary, ...] = ()
    """How each group went in each pass, in the order of the optimisation."""
    rebasis: Values = None
    """What was re-based. There only if rebasis is not `none`."""
    finish: Values = None
    """How the network was finished. There only with finish=network."""
    verdicts: Annotated[tuple[Any, ...] | None, or_none(tuple)] = None
    """What held-out images said of each planned merge. There only if they were asked."""
    timing_s: Seconds = {}
    """The seconds that each stage took: `plan`, `calibrate`, `reconstruct`, `finish` and `evaluate`."""
    reused_s: Seconds = {}
    """The seconds that other runs had spent on what this run took from them, by stage."""
    peak_memory_mb: Annotated[Number, checked(memory)] = 0
    """The largest memory in use, MB: the GPU's, or on a CPU the process's."""
    size_bytes: Annotated[Mapping[str, int], checked(whole)] = {}
    """The bytes of the weights: ``fp`` before and ``quantized`` after quantization."""
    unquantized: Annotated[tuple[Any, ...] | None, or_none(tuple)] = None
    """The parts of the network that stay in floating point."""
    cache: Values = None
    """What the cached activations took."""
    notes: Annotated[tuple[str, ...] | None, or_none(lambda notes: tuple(map(str, notes)))] = ()
    """Remarks on the graph and the labels."""
    status: Text = COMPLETED
    """`completed` or `failed`."""
    error: Text = ""
    """Why the run failed. There only then."""

    @classmethod
    def failed(cls, name: str, reason: str) -> Self:
        """The summary of a run that failed.

        Args:
            name: The run's name.
            reason: Why.

        Returns:
            A summary without results.
        """
        return cls(schema_version=SCHEMA, run_name=name, status=FAILED, error=reason)

    def as_dict(self) -> dict[str, Any]:
        """What was set, as plain values by the keys of the file."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], file: Path, **own: Any) -> Self:
        """Read what a file holds.

        Args:
            file: For messages.
            own: Values that do not come from it; they are not converted.

        Returns:
            The summary. That of a run that did not complete may lack results.

        Raises:
            DataError: A value is missing, or not as expected.
        """
        given = _given(values)
        if str(given.get("status", COMPLETED)) == COMPLETED:
            for key in _NEEDED:
                if key not in given:
                    raise DataError(f"{file}: key {key!r} is missing; {REMEDY}")
        try:
            found = cls.model_validate({**given, **own}, context=_READING)
        except ValidationError as error:
            key, reason = first_fault(error)
            raise DataError(f"{file}: key {key!r} is not as expected ({reason}); {REMEDY}") from error
        if found.completed:
            for key, bits in (("weight", found.bits.weight), ("activation", found.bits.activation)):
                if bits == 0 and dict(given["bits"]).get(key) is None:
                    raise DataError(f"{file}: key {key!r} is missing; {REMEDY}")
        return found

    @classmethod
    def readable(cls, values: Mapping[str, Any], *, units: bool = True) -> Self:
        """Read as much as can be read: of a file that is damaged, or by a display that stops for nothing.

        Args:
            values: The content of a summary.json.
            units: Whether to read the records of units and groups, which are most of it.

        Returns:
            The summary; keys whose values are not as expected are left out.
        """
        kept = values if units else {key: value for key, value in values.items() if key not in _RECORDS}
        given = _given(clean(kept))
        try:
            return cls.model_validate(given, context=_READING)
        except ValidationError as error:
            wrong = {one["loc"][0] for one in error.errors(include_url=False, include_input=False)}
            right = {key: value for key, value in given.items() if key not in wrong}
            return cls.model_validate(right, context=_READING)

    @property
    def completed(self) -> bool:
        """Whether the run reached its end."""
        return self.status == COMPLETED

    @property
    def widths(self) -> str:
        """The bit widths as the field writes them, for example W2A4 or W(avg 3)A4; empty when not known."""
        weight, activation = self.bits.weight, self.bits.activation
        return widths_in_words(weight, activation, self.options.get("bits.budget")) if weight else ""

    @property
    def errors(self) -> tuple[Number, ...]:
        """Relative error after each base unit, in network order."""
        return tuple(unit.error for unit in self.units)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage.

        What other runs had done before counts, too: otherwise the order of a sweep's jobs would decide.
        """
        keys = {**self.timing_s, **self.reused_s}
        return {key: self.timing_s.get(key, 0.0) + self.reused_s.get(key, 0.0) for key in keys}

    @property
    def total_seconds(self) -> float:
        """Seconds of all stages together."""
        return sum(self.seconds.values())

    @property
    def seconds_here(self) -> float:
        """Seconds of the run itself."""
        return sum(self.timing_s.values())

    @property
    def seconds_reused(self) -> float:
        """Seconds that other runs had spent on what this one took from them."""
        return sum(self.reused_s.values())

    @property
    def size_fp(self) -> int:
        """Bytes of the weights in floating point; 0 when unknown."""
        return self.size_bytes.get("fp", 0)

    @property
    def size_quantized(self) -> int:
        """Bytes of the weights after quantization; 0 when unknown."""
        return self.size_bytes.get("quantized", 0)

    @property
    def evaluation_set(self) -> str:
        """Digest of which images were evaluated on; empty when not known."""
        return str((self.evaluation or {}).get("sha256", ""))

    @property
    def evaluated_on(self) -> tuple[str, int]:
        """Digest and number of the evaluation images: what two accuracies share that may be compared."""
        return self.evaluation_set, self.evaluation_images


_RECORDS = (
    *("units", "groups", "group_results", "layer_bits"),
    *("evaluation_errors", "weight_ranges", "activation_ranges"),
)
_NEEDED = ("model", "data", "method", "granularity", "bits", "seed", "steps", "units", "oscillation")


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is there of our keys; null: it is not, but for the status, which then is none of ours."""
    given = {key: value for key, value in values.items() if value is not None or key == "status"}
    return {key: given[key] for key in given if key in RunSummary.model_fields}
