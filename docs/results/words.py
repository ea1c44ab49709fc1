"""Numbers and configurations as short texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.records import Configuration, varying

NONE = "–"
TITLES = {
    "trainer.steps": "steps",
    "trainer.lr_factor": "learning rates ×",
    "trainer.batch_size": "batch",
    "model.input_shape": "image",
}
"""Columns of settings that are not titled by the last part of their key."""


def number(value: float | None) -> str:
    """Write a number with three significant digits, from 100 on as an integer.

    Args:
        value: A number, or None.

    Returns:
        The number; a dash for None.

    >>> number(0.8), number(12.345), number(4321.5), number(0.0), number(None)
    ('0.800', '12.3', '4,322', '0', '–')
    """
    if value is None:
        return NONE
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}".replace("e-0", "e-")


def percent(value: float | None) -> str:
    """Write a fraction of 1 as percents with one decimal.

    Args:
        value: Fraction of 1, or None.

    Returns:
        The number without its sign; a dash for None.

    >>> percent(0.78866)
    '78.9'
    """
    return NONE if value is None else f"{100 * value:.1f}"


def spread(values: Sequence[float | None]) -> str:
    """Write least and largest of several percentages.

    Args:
        values: Fractions of 1.

    Returns:
        A text with a space before it; empty for one value, or where one is missing.

    >>> spread([0.786, 0.792, 0.788])
    ' (78.6 to 79.2)'
    """
    known = [value for value in values if value is not None]
    return f" ({percent(min(known))} to {percent(max(known))})" if len(known) == len(values) > 1 else ""


def whole(value: float | None) -> str:
    """Write seconds: an integer from 10 on.

    Args:
        value: Seconds, or None.

    Returns:
        The number; a dash for None.
    """
    return number(value) if value is None or value < 10 else f"{value:,.0f}"


def plain(value: Any) -> str:
    """Write the value of a setting.

    Args:
        value: Any plain value.

    Returns:
        A short text.

    >>> plain(20000), plain(4.0), plain([3, 32, 32]), plain(True), plain(0.00004), plain(None)
    ('20,000', '4', '3 × 32 × 32', 'yes', '4e-5', '–')
    """
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}".replace("e-0", "e-")
    if isinstance(value, int | float):
        return f"{value:,.0f}"
    return " × ".join(map(plain, value)) if isinstance(value, list) else str(value)


def listed(words: Sequence[str]) -> str:
    """Join words by commas and "and".

    Args:
        words: The words.

    Returns:
        One text.

    >>> listed(["0", "1", "2"])
    '0, 1 and 2'
    """
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def items(values: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Write some entries of a mapping.

    Args:
        values: The mapping.
        keys: Which; what it lacks is left out.

    Returns:
        One text an entry.
    """
    return [f"{key} {'null' if values[key] is None else plain(values[key])}" for key in keys if key in values]


class Words:
    """What tells each of some configurations from the others.

    Args:
        configurations: All that stand together in a table or picture.
        counts: Whether the number of merges is said.
    """

    def __init__(self, configurations: Sequence[Configuration], *, counts: bool = True) -> None:
        self.all, self.counts = configurations, counts
        self.bits_keys = varying({**c["bits"], "weight": 0, "activation": 0} for c in configurations)
        self.settings = sorted(
            varying(c["settings"] for c in configurations), key=lambda key: (key != "trainer.steps", key)
        )

    def bits(self, configuration: Configuration) -> str:
        """Bit widths, with what differs of the conventions."""
        return ", ".join([configuration.width, *items(configuration["bits"], self.bits_keys)])

    def method(self, configuration: Configuration) -> str:
        """Method, with those options that runs of it differ in."""
        own = [c["options"] for c in self.all if c["method"] == configuration["method"]]
        return _with(configuration["method"], items(configuration["options"], varying(own)))

    def granularity(self, configuration: Configuration) -> str:
        """Granularity; when mixed, who chose the merges, by which difference, and how many."""
        if configuration["method"] == "rtn":
            return NONE
        name, planner = configuration["granularity"], configuration["planner"]
        if not planner:
            return str(name)
        rivals = [c["planner"] for c in self.all if c["planner"].get("name") == planner["name"]]
        keys = [key for key in varying(rivals) if key not in ("merge_count", "difference")]
        details = [planner["difference"]] if "difference" in planner else []
        chosen = f"{name}: {_with(planner['name'], details + items(planner, keys))}"
        count = planner.get("merge_count")
        if count is None or not self.counts:
            return chosen
        return f"{chosen}, {'auto' if count == 'auto' else f'k = {count}'}"

    def extras(self, configuration: Configuration) -> list[tuple[str, str]]:
        """Settings that differ, as titles and texts."""
        return [(title(key), plain(configuration["settings"].get(key))) for key in self.settings]

    def label(self, configuration: Configuration) -> str:
        """Everything that differs but the bit widths; the granularity where nothing else does."""
        both = (self.method, self.granularity)
        texts = [say(configuration) for say in both if len({say(c) for c in self.all}) > 1]
        texts += items(configuration["bits"], self.bits_keys)
        steps = {"steps": "{} steps", "learning rates ×": "learning rates × {}"}
        extras = [(name, text) for name, text in self.extras(configuration) if text != NONE]
        texts += [steps.get(name, name + " {}").format(text) for name, text in extras]
        return ", ".join(texts) or self.granularity(configuration)


def title(key: str) -> str:
    """Title the column of a setting.

    Args:
        key: Its dotted key.

    Returns:
        A short title.
    """
    return TITLES.get(key, key.rpartition(".")[2].replace("_", " "))


def _with(name: str, details: Sequence[str]) -> str:
    return f"{name} ({', '.join(details)})" if details else name
