"""Numbers as text: what does not fit the usual case."""

import math

import pytest

from mrecg.runs.text import COLUMNS, NONE, compact, duration, memory, number, percent, plural, size, stopwatch


def test_what_is_missing_is_a_dash() -> None:
    assert [percent(None), percent(math.nan), compact(None), compact(math.nan)] == [NONE] * 4
    assert [number(None), duration(None), size(0)] == [NONE] * 3


@pytest.mark.parametrize(
    "value", [0.0, 1e-9, 0.00999, 0.0099999, 0.01, 0.99999, 9999.4, 9999.5, 123456.0, 9.9e9]
)
def test_a_number_fits_its_columns_and_is_near(value: float) -> None:
    text = number(value)
    assert len(text) <= COLUMNS and float(text) == pytest.approx(value, rel=0.02)


def test_what_is_not_finite_and_what_is_negative() -> None:
    assert [number(math.inf), number(math.nan), number(-0.5)] == ["inf", "nan", "-0.500"]
    assert [compact(-math.inf), compact(-1e-9)] == ["-inf", "-1e-9"]


def test_times_round_before_they_choose_a_unit() -> None:
    assert [stopwatch(s) for s in (9.94, 9.96, 59.4, 59.6, 3599.6)] == [
        *("9.9 s", "10 s", "59 s", "1:00 min", "1:00 h")
    ]
    assert [duration(s) for s in (59.6, 3599.6, 86399.6)] == ["1 min 0 s", "1 h 0 min", "1 d 0 h"]


def test_units_and_plurals() -> None:
    assert [size(999), size(999_999), size(1_000_000)] == ["1 kB", "1.00 MB", "1.00 MB"]
    assert [memory(999), memory(1000)] == ["999 MB", "1.0 GB"]
    assert [plural(0, "run"), plural(1, "run"), plural(2, "run")] == ["0 runs", "1 run", "2 runs"]
