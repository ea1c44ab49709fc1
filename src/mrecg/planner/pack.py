"""Pack-PTQ's packs: a unit on which the predictions depend little begins a group that others follow in.

Source: Pack-PTQ, arXiv 2505.00259, and its published code (Hessian-guided adaptive packing).
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mrecg.planner.capacity import rises
from mrecg.planner.schedule import Criterion, chain

TITLE = "Curvature of the predictions after each unit, which is quantized alone (Pack-PTQ)"
SHORT = "Pack-PTQ's score"


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What quantizing one unit does, with all others in full precision.

    Attributes:
        prediction: Kullback-Leibler divergence of the full-precision predictions from those with the unit
            quantized, mean over the images, in nats.
        slope: Its gradient at the unit's full-precision output, times the output's error (full precision
            minus quantized); mean over elements.
        squared_error: The output's squared error; mean over elements.
    """

    prediction: float
    slope: float
    squared_error: float

    @property
    def score(self) -> float:
        """``(prediction - slope) / (squared_error / 2)``: curvature per unit of output error."""
        return (self.prediction - self.slope) / max(self.squared_error / 2, sys.float_info.min)


def pack_scores(alone: Sequence[Alone]) -> Criterion:
    """Score each unit.

    Args:
        alone: One record a unit.

    Returns:
        The criterion; its differences are how much the score rises to the next unit, which ranks nothing.
    """
    scores = [unit.score for unit in alone]
    return Criterion(
        name="pack",
        difference="rise",
        capacities=tuple(scores),
        differences=tuple(rises(scores)),
        title=TITLE,
        short=SHORT,
        log=True,
    )


def packs(scores: Sequence[float], allowed: Collection[int], *, max_group_size: int) -> list[int]:
    """Choose the pairs to merge: again and again the smallest score of what is left begins a pack to its end.

    Args:
        scores: One number a unit.
        allowed: Indices of the pairs that may be merged at all; no pack reaches across another one.
        max_group_size: Units in one pack, at most; a longer one is divided before its smallest score, and so
            are the parts. The published packs have no limit.

    Returns:
        Indices of the merged pairs, ascending.

    >>> packs([5.0, 3.0, 4.0, 1.0, 2.0, 9.0], range(5), max_group_size=4)
    [1, 3, 4]
    >>> packs([5.0, 3.0, 4.0, 1.0, 2.0, 9.0], range(5), max_group_size=2)
    [1, 4]
    """
    pairs: list[int] = []
    for part in chain(len(scores), sorted(allowed)):
        end = part[-1] + 1
        while end > part[0]:
            head = min(range(part[0], end), key=lambda i: (scores[i], i))
            pairs += _within(scores, range(head, end), max_group_size)
            end = head
    return sorted(pairs)


def _within(scores: Sequence[float], pack: range, most: int) -> list[int]:
    """Pairs of a pack, or of its parts where it is too long."""
    if len(pack) <= most:
        return list(pack[:-1])
    cut = min(pack[1:], key=lambda i: (scores[i], i))
    return [
        *_within(scores, range(pack.start, cut), most),
        *_within(scores, range(cut, pack.stop), most),
    ]
