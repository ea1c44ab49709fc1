"""Names of files: what differs, and nothing else."""

import hashlib
import re
from collections.abc import Sequence


def slug(text: str) -> str:
    """Make a part of a file name that every system takes.

    Returns:
        Letters, digits, dots, underscores and hyphens of it.

    >>> slug("resnet18 (a/b) on digits")
    'resnet18-a-b-on-digits'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._") or "run"


def digest(text: str) -> str:
    """A short mark that another text does not have."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def distinct(facets: Sequence[Sequence[str]], *, always: int = 1) -> list[str]:
    """Name things by what tells them apart.

    Args:
        facets: Of each thing what could be in its name, the most telling first; an empty one is left out.
        always: The first ones that are in every name.

    Returns:
        A name each, no two the same, also where a file system takes "A" for "a"; a digest where the facets do
        not tell two apart.

    >>> distinct([["loss", "k1", "s0"], ["loss", "k2", "s0"]])
    ['loss-k1', 'loss-k2']
    """
    chosen = list(range(always))
    most = max(map(len, facets), default=0)
    for place in range(always, most):
        if len(set(_names(facets, [*chosen, place]))) > len(set(_names(facets, chosen))):
            chosen.append(place)
    names = _names(facets, chosen)
    return [
        name if names.count(name) == 1 else f"{name}-{digest(repr((i, own)))}"
        for i, (name, own) in enumerate(zip(names, facets, strict=True))
    ]


def _names(facets: Sequence[Sequence[str]], chosen: Sequence[int]) -> list[str]:
    return [
        "-".join(slug(own[i].casefold())[:40] for i in chosen if i < len(own) and own[i]) for own in facets
    ]
