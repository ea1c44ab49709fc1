"""Names that people know: a run's method as papers write it, and a short name for a run."""

METHOD_NAMES = {
    "rtn": "RTN",
    "closed_form": "Closed form",
    "adaround": "AdaRound",
    "brecq": "BRECQ",
    "brecq_joint": "BRECQ",
    "qdrop": "QDrop",
    "pd_quant": "PD-Quant",
    "genie_m": "Genie-M",
}
"""By the configuration's name; BRECQ in one pass has no other name in papers."""
MERGES = "MRECG"
"""Name of merging neighbours, whichever method optimises them."""
_ALONE = ("rtn", "closed_form")  # they round or solve each layer by itself, whatever the groups are
_GRANULARITIES = {"layer": " by layer", "stage": " by stage", "network": ", whole network"}


def method_name(method: str) -> str:
    """Write a method as papers do.

    Args:
        method: Its name in the configuration; another package's is written as it is.

    >>> method_name("brecq_joint")
    'BRECQ'
    """
    return METHOD_NAMES.get(method, method)


def known_as(method: str, granularity: str, *, merged: bool) -> str:
    """Name a configuration by its method and by whether neighbours are merged.

    Args:
        method: Its name in the configuration.
        granularity: Its name in the configuration.
        merged: Whether any group has more than one unit; without one, a run is block-wise, whatever its
            granularity is called.

    >>> known_as("qdrop", "mixed", merged=True), known_as("qdrop", "mixed", merged=False)
    ('MRECG + QDrop', 'QDrop')
    >>> known_as("brecq", "stage", merged=True), known_as("adaround", "layer", merged=False)
    ('BRECQ by stage', 'AdaRound by layer')
    """
    name = method_name(method)
    if not can_merge(method):
        return name
    if granularity == "layer" or (merged and granularity in _GRANULARITIES):
        return name + _GRANULARITIES[granularity]
    return f"{MERGES} + {name}" if merged else name


def can_merge(method: str) -> bool:
    """Whether a method optimises groups of units, so that merging them can change its result.

    Args:
        method: Its name in the configuration.

    >>> can_merge("qdrop"), can_merge("rtn")
    (True, False)
    """
    return method not in _ALONE


def short_name(known: str, *, widths: str, seed: int, differs: str = "") -> str:
    """Name one run of several.

    Args:
        known: From `known_as`.
        widths: The bit widths, as people write them.
        seed: Seed of the optimisation.
        differs: What else tells it from its neighbours; may be empty.

    >>> short_name("MRECG + BRECQ", widths="W2A4", seed=0)
    'MRECG + BRECQ W2A4 s0'
    >>> short_name("BRECQ", widths="W(avg 3)A4", seed=0, differs="200 steps")
    'BRECQ, 200 steps W(avg 3)A4 s0'
    """
    return f"{known}{', ' if differs else ''}{differs} {widths} s{seed}"
