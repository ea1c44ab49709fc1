"""Which layers a pattern of ``bits.layers``, ``bits.activations`` or ``bits.exclude`` means.

A pattern is the name of a layer or of a module around it, with ``*``, ``?`` and ``[...]`` as in file names,
or ``kind:`` and one of `KINDS`.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import fx, nn

from mrecg.config.schema import FLOAT_BITS, BitsConfig
from mrecg.errors import ConfigError, few
from mrecg.graph.ops import module_of

KIND = "kind:"
KINDS = ("conv", "linear", "depthwise", "grouped", "pointwise", "first", "last")
"""What may follow ``kind:``; a layer can be of several kinds."""
NEAR = 5
"""Names that are listed where a pattern matches nothing."""


def kinds_of(node: fx.Node) -> frozenset[str]:
    """Tell of what kinds a weight layer is, apart from ``first`` and ``last``.

    Args:
        node: A convolution or linear layer.
    """
    layer = module_of(node)
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return frozenset({"linear"})
    kinds = {"conv"}
    if layer.groups > 1:
        kinds.add("depthwise" if layer.groups == layer.in_channels else "grouped")
    elif max(layer.kernel_size) == 1:
        kinds.add("pointwise")
    return frozenset(kinds)


def widths(key: str, given: Mapping[str, int], layers: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """Find the width of each layer that a pattern matches; the last pattern that does counts.

    Args:
        key: Where the patterns stand, for messages.
        given: Bits by pattern, in order.
        layers: Kinds by layer name, in the network's order.

    Returns:
        Bits by layer name.

    Raises:
        ConfigError: A pattern matches no layer, or only such that a later one matches, too.
    """
    found: dict[str, int] = {}
    by: dict[str, str] = {}
    for pattern, bits in given.items():
        names = matching(key, pattern, layers)
        found |= dict.fromkeys(names, bits)
        by |= dict.fromkeys(names, pattern)
    for pattern in given:
        if pattern not in by.values():
            later = by[matching(key, pattern, layers)[0]]
            raise ConfigError(
                f"{key}: {pattern!r} has no effect, because {later!r} matches the same layers and stands "
                "after it; put it last, or leave it out"
            )
    return found


def excluded(bits: BitsConfig, layers: Mapping[str, frozenset[str]]) -> set[str]:
    """Find the layers that ``bits.exclude`` names.

    Args:
        bits: The configured widths.
        layers: Kinds by layer name, in the network's order.

    Raises:
        ConfigError: A pattern matches no layer, or all that a pattern with a width matches are excluded.
    """
    found = {name for pattern in bits.exclude for name in matching("bits.exclude", pattern, layers)}
    for key, given in (("bits.layers", bits.layers), ("bits.activations", bits.activations)):
        for pattern in given if found else ():
            if found.issuperset(matching(key, pattern, layers)):
                raise ConfigError(
                    f"{key}: {pattern!r} has no effect, because bits.exclude names the same layers; "
                    "leave one out"
                )
    return found


def matching(key: str, pattern: str, layers: Mapping[str, frozenset[str]]) -> list[str]:
    """List the layers that a pattern matches.

    Args:
        key: Where it stands, for messages.
        layers: Kinds by layer name, in the network's order.

    Returns:
        At least one name.

    Raises:
        ConfigError: It matches none; the message lists near names.
    """
    if pattern.startswith(KIND):
        kind = pattern.removeprefix(KIND)
        if kind not in KINDS:
            close = get_close_matches(kind, KINDS, n=1)
            hint = f" (did you mean {KIND}{close[0]}?)" if close else ""
            raise ConfigError(
                f"{key}: {pattern!r} is no kind of layers{hint}; choose from {', '.join(KINDS)}"
            )
        names = [name for name, kinds in layers.items() if kind in kinds]
        if not names:
            there = [one for one in KINDS if any(one in kinds for kinds in layers.values())]
            raise ConfigError(f"{key}: the network has no layer of {pattern!r}; it has {', '.join(there)}")
        return names
    names = [name for name in layers if any(fnmatchcase(part, pattern) for part in _around(name))]
    if not names:
        raise ConfigError(f"{key}: {pattern!r} matches no layer; {_near(pattern, list(layers))}")
    return names


def _around(name: str) -> Iterable[str]:
    """A layer's name and those of the modules around it, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _near(pattern: str, layers: Sequence[str]) -> str:
    if pattern in KINDS:
        return f"did you mean {KIND}{pattern}?"
    known = list(dict.fromkeys(part for name in layers for part in _around(name)))
    bare = pattern.strip("*?.")
    close = get_close_matches(bare, known, n=NEAR, cutoff=0.5)
    close = close or [name for name in known if name.rpartition(".")[2] == bare.rpartition(".")[2]][:NEAR]
    if close:
        return f"near it are {', '.join(close)}"
    return f"the network has {few(layers)}; kinds are {', '.join(KIND + kind for kind in KINDS)}"


def said_widths(bits: BitsConfig) -> str:
    """Name the keys that keep layers in full precision, for a reader."""
    by_width = FLOAT_BITS in bits.layers.values()
    return " and ".join(["bits.exclude"] * bool(bits.exclude) + ["bits.layers"] * by_width)
