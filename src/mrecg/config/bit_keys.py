"""Patterns and sizes as the keys below ``bits`` take them, brought into one form."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(rf"(\d+(?:\.\d*)?)\s*({'|'.join(_UNITS)})")


def by_pattern(value: Any) -> Any:
    """Bring widths by pattern into one form: a name with dots, typed as a key, has made groups in groups.

    Args:
        value: What was given, for example ``{"features": {"0": 8}}``.

    Returns:
        Widths by pattern, for example ``{"features.0": 8}``; anything but a mapping as it is.

    Raises:
        ValueError: A width is no whole number.
    """
    if not isinstance(value, Mapping):
        raise ValueError("give widths by pattern, for example {features.0: 8}")
    found = dict(_flat(value, ""))
    for pattern, bits in found.items():
        if isinstance(bits, bool) or not isinstance(bits, int) or not (2 <= bits <= 8 or bits == 32):
            raise ValueError(f"{pattern} has {bits!r}; must be 2 to 8, or 32 for not quantized")
    return found


def one_width(value: Any) -> Any:
    """Refuse widths by layer where one width is set for all.

    Raises:
        ValueError: They are a mapping.
    """
    if isinstance(value, Mapping):
        raise ValueError("give one width for all layers; bits.layers and bits.activations take others")
    return value


def _flat(value: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def patterns(value: Any) -> Any:
    """Check a list of patterns.

    Raises:
        ValueError: It is no list of texts.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(one, str | int) for one in value):
        raise ValueError("give a list of patterns, for example [features.0]")
    return tuple(map(str, value))  # a part of an nn.Sequential has a number for its name


def budget(value: Any) -> Any:
    """Read a budget.

    Args:
        value: Average bits of a weight as a number, or bytes as a text such as ``200kB``.

    Returns:
        The number, or the text without blanks.

    Raises:
        ValueError: It is neither, or an average that no widths from 2 to 8 have.
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    try:
        number = float(text)
    except ValueError:
        if _SIZE.fullmatch(text):
            return text.replace(" ", "")
        raise ValueError(
            f"must be average bits of a weight, such as 3.5, or a size such as 200kB ({', '.join(_UNITS)})"
        ) from None
    if not (math.isfinite(number) and 2 <= number <= 8):
        raise ValueError("average bits must be 2 to 8; a size needs its unit, such as 200kB")
    return number


def widths_in_names(weight: Any, activation: Any, under: Any = None) -> str:
    """Write bit widths, or the budget under which those of weights are chosen, as names of files do.

    >>> widths_in_names(2, 4), widths_in_names(2, 4, 3.0), widths_in_names(2, 4, "200kB")
    ('w2a4', 'w3avg-a4', 'w200kB-a4')
    """
    asked = _asked(under, "{:g}avg")
    return f"w{weight}a{activation}" if asked is None else f"w{asked}-a{activation}"


def widths_in_words(weight: Any, activation: Any, under: Any = None) -> str:
    """Write the same for people.

    >>> widths_in_words(2, 4), widths_in_words(2, 4, 3.0), widths_in_words(2, 4, "200kB")
    ('W2A4', 'W(avg 3)A4', 'W(200kB)A4')
    """
    asked = _asked(under, "avg {:g}")
    return f"W{weight}A{activation}" if asked is None else f"W({asked})A{activation}"


def _asked(value: Any, average: str) -> str | None:
    """Write a budget; None also where the value cannot be one, which is refused elsewhere."""
    try:
        asked = None if value is None else budget(value)
    except ValueError:
        return None
    return average.format(asked) if isinstance(asked, float) else asked


def bytes_of(size: str) -> int:
    """Count the bytes of a size that `budget` has let pass.

    >>> bytes_of("1.5kB"), bytes_of("2MiB")
    (1500, 2097152)
    """
    found = _SIZE.fullmatch(size)
    assert found is not None
    return int(float(found[1]) * _UNITS[found[2]])
