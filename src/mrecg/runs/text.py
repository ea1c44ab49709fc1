"""Numbers as text, the same in tables, pages and on the screen."""

import math

NONE = "–"
MEASURES = {"kl": "KL divergence", "relative_error": "relative error"}
"""Names of the differences of predictions that are measured."""
COLUMNS = 6
"""Of `number`."""
_TIMES = (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1))


def percent(value: float | None) -> str:
    """Write a fraction of 1 as a percentage; a dash for None and for not a number.

    >>> percent(0.95401), percent(None)
    ('95.40 %', '–')
    """
    return NONE if value is None or math.isnan(value) else f"{100 * value:.2f} %"


def compact(value: float | None, digits: int = 3) -> str:
    """Write a number of any size in few characters; a dash for None and for not a number.

    Args:
        digits: Significant digits.

    >>> compact(1234567.0), compact(0.5), compact(12.0)
    ('1.23e6', '0.5', '12')
    """
    if value is None or math.isnan(value):
        return NONE
    mantissa, e, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def number(value: float | None) -> str:
    """Write a number in six columns where possible, trailing zeros kept; a dash for None.

    >>> [number(value) for value in (1234.5, 12.345, 0.7, 0.0351, 0.00123, 98765.0, None)]
    ['1234', '12.35', '0.700', '0.0351', '1.2e-3', '9.88e4', '–']
    """
    if value is None:
        return NONE
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    size = abs(value)
    if 0.01 <= size < 9999.5:
        return f"{value:#.4g}".rstrip(".") if size >= 1 else f"{value:#.3g}"
    for digits in (2, 1):
        mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
        text = f"{mantissa}e{int(exponent)}"
        if len(text) <= COLUMNS:
            break
    return text


def size(count: float) -> str:
    """Write bytes as kB or MB; a dash for 0.

    >>> size(412_000), size(1_650_000)
    ('412 kB', '1.65 MB')
    """
    if not count:
        return NONE
    return f"{count / 1e3:.0f} kB" if count < 999_500 else f"{count / 1e6:.2f} MB"


def memory(megabytes: float) -> str:
    """Write an amount of memory, in units of 1024.

    >>> memory(812.3), memory(2150)
    ('812 MB', '2.1 GB')
    """
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


def duration(seconds: float | None) -> str:
    """Write a time in two units at most; a dash for None.

    >>> duration(42.4), duration(80), duration(5000), duration(200_000)
    ('42 s', '1 min 20 s', '1 h 23 min', '2 d 7 h')
    """
    if seconds is None:
        return NONE
    whole = round(seconds)
    for large, small, length, part in _TIMES:
        if whole >= length:
            return f"{whole // length} {large} {whole % length // part} {small}"
    return f"{whole} s"


def stopwatch(seconds: float) -> str:
    """Write a time that was measured, in eight columns: with tenths below ten seconds.

    >>> [stopwatch(seconds) for seconds in (4.25, 38.2, 83, 7500)]
    ['4.2 s', '38 s', '1:23 min', '2:05 h']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02d} h"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "unit"), plural(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
