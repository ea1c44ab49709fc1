"""The records inside a run's summary, and how their values are read.

What a run writes is not converted; what is read (with a context) may come from elsewhere, and is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo

from mrecg.runs.values import LONGEST, count, number, times, whole, within
from mrecg.system.checked_read import DAMAGED

Number = int | float
"""A whole number stays one in the file."""


def widths_of(value: Any) -> dict[str, dict[str, int]]:
    """Read the bit widths of layers, by name."""
    return {str(name): whole(bits) for name, bits in value.items()}


def checked(convert: Callable[[Any], Any]) -> BeforeValidator:
    """Convert what is read, and refuse what cannot be; what a run writes stays as it is."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if info.context is None:
            return value
        try:
            return convert(value)
        except DAMAGED as error:
            raise ValueError(repr(error)) from error

    return BeforeValidator(check)


def or_none(convert: Callable[[Any], Any]) -> BeforeValidator:
    """Convert what is read; None where it cannot be, because no comparison needs it."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if info.context is None:
            return value
        try:
            return convert(value)
        except DAMAGED:
            return None

    return BeforeValidator(check)


def first_fault(error: ValidationError) -> tuple[str, str]:
    """The key of the first fault, and what is wrong, in a line of moderate length."""
    first = error.errors(include_url=False, include_input=False)[0]
    key, *place = first["loc"]
    reason = str(first.get("ctx", {}).get("error", first["msg"]))
    where = f"{'.'.join(map(str, place))}: " if place else ""
    return str(key), f"{where}{reason}"[:300]


def _fraction(value: Any) -> float | None:
    return None if value is None else within(float(value), 0, 1)


def _at_least_zero(value: Any) -> float | None:
    return None if value is None else within(float(value), 0, LONGEST)


def memory(value: Any) -> int | float:
    """Megabytes; a whole number stays one."""
    within(float(value), 0, LONGEST)
    return value if type(value) is int else float(value)


def mapping(value: Any) -> dict[str, Any]:
    """Values by name; nothing else has them."""
    return {**value}


def numbers(found: Any) -> tuple[Number, ...]:
    """One number for each unit."""
    return tuple(map(number, found))


def metric_values(found: Any) -> dict[str, dict[str, float | None]]:
    """Numbers by name, for each of the two networks."""
    return {
        network: {str(key): _real(value) for key, value in found[network].items()} for network in _NETWORKS
    }


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


_NETWORKS = ("fp", "quantized")
Text = Annotated[str, checked(str)]
Count = Annotated[int, checked(count)]
Measure = Annotated[Number, checked(number)]
Fraction = Annotated[float, checked(_fraction)]
Seconds = Annotated[Mapping[str, Number], checked(times)]
Values = Annotated[Mapping[str, Any] | None, or_none(mapping)]


@dataclass(frozen=True, kw_only=True)
class Bits:
    """Bit widths; 0 where they are not known.

    Attributes:
        weight: The bits of a weight.
        activation: The bits of an activation.
    """

    weight: Annotated[int, checked(lambda value: count(value or 0))] = 0
    activation: Annotated[int, checked(lambda value: count(value or 0))] = 0


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy on the evaluation images.

    Attributes:
        top1: The fraction of images whose class was the first choice.
        top5: The fraction of images whose class was among the first five; None where it was not computed.
    """

    top1: Fraction
    top5: Annotated[float | None, checked(_fraction)] = None


@dataclass(frozen=True, kw_only=True)
class ToFullPrecision:
    """How far the quantized network is from the full-precision one, on the evaluation images.

    Attributes:
        kl: The Kullback-Leibler divergence of the class probabilities, mean over the images, nats.
        agreement: The fraction of images for which both networks decide for the same class.
    """

    kl: Annotated[float | None, or_none(_at_least_zero)] = None
    agreement: Annotated[float | None, or_none(_fraction)] = None


@dataclass(frozen=True, kw_only=True)
class Oscillation:
    """How far the curves along the units are from monotone.

    Attributes:
        error_index: The oscillation index of the relative error; 0 exactly when its curve is monotone.
        error_peak: The largest relative error.
        loss_index: The oscillation index of the reconstruction loss.
        loss_peak: The largest reconstruction loss.
    """

    error_index: Measure
    error_peak: Measure
    loss_index: Measure
    loss_peak: Measure


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What was measured after one unit; not a number where it was not finite.

    Attributes:
        name: The name of the unit.
        group: The index of the group that it was optimised in, from 0.
        error: The relative error after it, with all units up to it quantized.
        loss: The reconstruction loss after it.
    """

    name: Text
    group: Annotated[int, checked(int)]
    error: Measure
    loss: Measure


@dataclass(frozen=True, kw_only=True)
class GroupSummary:
    """How a group went in one pass.

    Attributes:
        name: The name of the group: its units joined by "+".
        task: The name of the pass of the method.
        steps: The number of optimisation steps.
        floor: The reconstruction loss that the group would have in full precision after the quantized units
            before it; None where it was not measured.
        first_loss: The reconstruction loss at the first step; None where nothing was optimised.
        last_loss: The reconstruction loss at the last step; None where nothing was optimised.
        seconds: The time of the optimisation, in seconds.
        reused: Whether the group was taken from another run.
        retries: How often it was repeated with smaller learning rates.
    """

    name: Text
    task: Annotated[str, Field(alias="pass"), checked(str)]
    steps: Annotated[int | None, or_none(count)] = None
    floor: Annotated[Number | None, checked(lambda value: None if value is None else number(value))] = None
    first_loss: Annotated[Number | None, or_none(number)] = None
    last_loss: Annotated[Number | None, or_none(number)] = None
    seconds: Annotated[Number | None, or_none(number)] = None
    reused: Annotated[bool | None, or_none(bool)] = None
    retries: Annotated[int | None, or_none(count)] = None
