"""Labels of a run at W&B: its names, its tags and its sweep."""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

from mrecg.config.bit_keys import widths_in_names, widths_in_words
from mrecg.config.schema import MERGING
from mrecg.errors import MrecgError
from mrecg.runs.layout import MANIFEST
from mrecg.runs.manifest import read_jobs
from mrecg.runs.names import known_as, method_name, short_name
from mrecg.system.checked_read import DAMAGED, read_regular, yaml_mapping

_UNNAMED = "run"
_IN_THE_NAME: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("method", "method.name"), method_name),
    **{
        key: lambda name: known_as("", name, merged=name in MERGING)
        for key in ("granularity", "granularity.name")
    },
    **dict.fromkeys(("bits", "bits.weight", "bits.activation", "seed", "name"), str),
}
"""Keys whose values a short name has anyway, and how it has them: some in the same words."""


def label(settings: Mapping[str, Any], folder: Path, *, merged: bool | None = None) -> str:
    """Name a run's configuration as people know it; its seeds share the name.

    Args:
        settings: The run's whole configuration, as plain values.
        folder: The run folder; in a sweep, what else differs between the jobs is added.
        merged: Whether its plan merges anything; None: not known yet, so its granularity decides.

    Returns:
        For example ``MRECG + BRECQ`` or ``BRECQ, 240 steps``; empty where it has no method.
    """
    try:
        method, granularity = settings["method"]["name"], settings["granularity"]["name"]
    except KeyError:
        return ""
    if merged is None:
        count = settings.get("planner", {}).get("merge_count")
        merged = granularity in MERGING and not (granularity == "mixed" and count == 0)
    return ", ".join([known_as(method, granularity, merged=merged), *differing(folder)])


def display_name(settings: Mapping[str, Any], name: str, label: str) -> str:
    """Name a run in the list of runs.

    Args:
        settings: The run's whole configuration, as plain values.
        name: The run's own name: it stays, unless it is the one that every run gets.
        label: From `label`.

    Returns:
        For example ``MRECG + BRECQ W2A4 s0``.
    """
    if not label or not {"bits", "seed"} <= settings.keys():
        return name
    bits, seed, model = settings["bits"], settings["seed"], settings.get("model", {}).get("name")
    widths = (bits["weight"], bits["activation"], bits.get("budget"))
    parts = (
        model,
        widths_in_names(*widths),
        settings["method"]["name"],
        settings["granularity"]["name"],
        f"s{seed}",
    )
    if name not in (_UNNAMED, "-".join(map(str, parts))):
        return name
    return short_name(label, widths=widths_in_words(*widths), seed=seed)


def differing(folder: Path) -> list[str]:
    """Say in what else a job was asked to differ from others of its sweep.

    Args:
        folder: The run folder.

    Returns:
        A few words for each key; none outside of a sweep.
    """
    place = folder.absolute().parent
    try:
        file = (place / MANIFEST).stat()
        return list(_differing(place, (file.st_mtime_ns, file.st_size)).get(folder.name, ()))
    except (OSError, MrecgError):
        return []


@lru_cache(maxsize=8)
def _differing(sweep: Path, written: tuple[int, int]) -> dict[str, list[str]]:
    """`differing` of all jobs of a sweep by their folders: its list is read once each time it is written."""
    asked = {
        job.folder: dict(word.lstrip("+~").partition("=")[::2] for word in job.overrides)
        for job in read_jobs(sweep)
    }
    keys = {key for own in asked.values() for key in own}
    values = {key: {own.get(key) for own in asked.values()} for key in keys}
    return {
        job: [_words(key, own[key]) for key in own if _tells(key, own[key], values[key])]
        for job, own in asked.items()
    }


def _tells(key: str, own: str, values: Set[str | None]) -> bool:
    """Whether a key tells a job from others that the name alone does not tell from it."""
    others = values - {own}
    if key not in _IN_THE_NAME:
        return bool(others)
    named = _IN_THE_NAME[key]
    return named(own) in [named(other) for other in others if other is not None]


def _words(key: str, value: str) -> str:
    name = key.rpartition(".")[2].replace("_", " ")
    if "." not in key:
        return value
    return f"{value} {name}" if name in ("steps", "calibration images") else f"{name} {value}"


def tags(settings: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """Tag a run by what is compared most.

    Args:
        settings: The run's whole configuration, as plain values.
        own: The user's tags.

    Returns:
        Method, granularity and bits, then the user's; each once.

    >>> tags({"method": {"name": "qdrop"}, "bits": {"weight": 2, "activation": 4}}, ["mine", "qdrop"])
    ['qdrop', 'w2a4', 'mine']
    """
    found = [settings[group]["name"] for group in ("method", "granularity") if group in settings]
    if bits := settings.get("bits"):
        found.append(widths_in_names(bits["weight"], bits["activation"], bits.get("budget")))
    return list(dict.fromkeys([*found, *own]))


def sweep(folder: Path) -> str | None:
    """Name the sweep that a run is part of.

    Args:
        folder: The run folder. Hydra writes its own settings into it before a run begins, by any launcher.

    Returns:
        The name of the sweep's folder, after its date if it lies below one; None outside of a sweep.
    """
    file = folder / ".hydra" / "hydra.yaml"
    try:
        hydra = yaml_mapping(read_regular(file))["hydra"]
        if hydra["mode"] != "MULTIRUN":
            return None
        place = Path(str(hydra.get("sweep", {}).get("dir", folder.parent)))
    except (OSError, *DAMAGED):
        return None
    return sweep_name(place)


def sweep_name(place: Path) -> str:
    """Name a sweep by its folder, after its date if it lies below one."""
    date = place.parent.name
    return f"{date}-{place.name}" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) else place.name
