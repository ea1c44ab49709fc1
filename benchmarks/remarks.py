"""Sentences about the numbers, each made from the numbers alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.targets import missed

WORTH_A_MENTION = 1.5
"""A unit whose step takes more than so many floors is named."""


def remarks(content: dict[str, Any]) -> list[str]:
    """Say what the numbers of one machine show.

    Args:
        content: The JSON of `benchmarks.engine`.

    Returns:
        Sentences.
    """
    device = content["device"]["device"]
    misses = [
        f"`{name}`: {target.name} {target.text(value)} (limit {target.text(target.limit(device))})"
        for name, target, value in missed(content)
    ]
    said = [f"Missed targets: {'; '.join(misses)}." if misses else "Every target is met."]
    return [*said, _ratios(content), _orders(content), _errors(content), *_kernels(content), _noise(content)]


def growth_of_memory(points: Sequence[dict[str, Any]]) -> str:
    """Say on what the memory depends.

    Args:
        points: ``memory`` in the JSON of `benchmarks.growth`.

    Returns:
        Sentences.
    """
    whole = {(p["group_size"], p["units"]): p["cache_mb"] + p["optimiser_mb"] + p["saved_mb"] for p in points}
    sizes, lengths = sorted({size for size, _ in whole}), sorted({units for _, units in whole})
    several = [units for units in lengths if units > sizes[-1]]  # a single group is another case
    first, last = several[0], several[-1]
    more = max(abs(whole[size, last] / whole[size, first] - 1) for size in sizes)
    times = whole[sizes[-1], last] / whole[sizes[0], last]
    return (
        "Memory: the peak of the cache, and of one step what is learned (with gradients and moments) and "
        f"what waits for the backward pass. From {first} to {last} units their sum changes by "
        f"{100 * more:.1f} % at most; with groups of {sizes[-1]} instead of {sizes[0]} it is {times:.1f} "
        "times as large. The calibration images themselves are not counted."
    )


def _units(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in content["networks"].items():
        for unit in found["units"]:
            yield f"`{name}` {unit['name']}", unit


def _ratio(unit: dict[str, Any]) -> float:
    return float(unit["step_ms"] / unit["floor_ms"])


def _ratios(content: dict[str, Any]) -> str:
    units = list(_units(content))
    name, worst = max(units, key=lambda each: _ratio(each[1]))
    best_name, best = min(units, key=lambda each: _ratio(each[1]))
    above = sum(_ratio(unit) > WORTH_A_MENTION for _, unit in units)
    return (
        f"A unit's step takes from {_ratio(best):.2f} ({best_name}) to {_ratio(worst):.2f} floors ({name}, a "
        f"step of {worst['step_ms']:.1f} ms); {above} of {len(units)} units are above {WORTH_A_MENTION}."
    )


def _orders(content: dict[str, Any]) -> str:
    counts = Counter(unit["floor_format"] for _, unit in _units(content))
    parts = [f"{order} in {count}" for order, count in counts.most_common()]
    return f"The faster memory order of the floor is {', '.join(parts)} of {counts.total()} units."


def _errors(content: dict[str, Any]) -> str:
    parts = [
        f"{max(0.0, found['prefix_passes'] - found['advance_passes']):.2f} (`{name}`)"
        for name, found in content["networks"].items()
    ]
    return f"Of the cache's passes, errors and bookkeeping of the units take {', '.join(parts)}."


def _kernels(content: dict[str, Any]) -> Iterator[str]:
    parts = []
    for name, found in content["networks"].items():
        units = found["units"]
        if all(unit["plain_ms"] is not None for unit in units):
            gain = sum(unit["plain_ms"] for unit in units) / sum(unit["step_ms"] for unit in units)
            parts.append(f"{gain:.2f} times as long (`{name}`)")
    if parts:
        yield f"Without the fused kernels the steps take {', '.join(parts)}."


def _noise(content: dict[str, Any]) -> str:
    name, worst = max(_units(content), key=lambda each: each[1]["ratio_spread"])
    parts = [
        f"{100 * (high - low) / found['overhead']:.0f} % (`{name}`)"
        for name, found in content["networks"].items()
        for low, high in [found["overhead_quartiles"]]
    ]
    return (
        f"Noise: the middle half of the rounds of a network's ratio spans {', '.join(parts)} of it; of a "
        f"single unit's ratio at most {100 * worst['ratio_spread']:.0f} % ({name})."
    )
