"""Labels of a run at W&B: its tags and its sweep."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrecg.system.checked_read import DAMAGED, read_regular, yaml_mapping


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
        found.append(f"w{bits['weight']}a{bits['activation']}")
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
    date = place.parent.name
    return f"{date}-{place.name}" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) else place.name
