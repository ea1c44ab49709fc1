"""Numbers of the curve of errors along the units, computed from what every summary has."""

import math
from collections.abc import Sequence
from itertools import pairwise


def head_error(errors: Sequence[float]) -> float:
    """Find the error of what the classifier is given: that of the last feature map.

    Args:
        errors: Relative error after each unit, in network order; the last unit is the classifier.

    Returns:
        The error after the last unit before the classifier, of a single unit its own; not a number where it
        is not finite, and of no unit.

    >>> head_error([0.1, 0.6, 0.4, 0.2]), head_error([0.3])
    (0.4, 0.3)
    """
    found = errors[-2:][0] if errors else math.nan
    return found if math.isfinite(found) else math.nan


def regrowth(errors: Sequence[float]) -> float:
    """Add up how far the error grows back after its peak.

    The classifier's own error does not count: that of the logits is nearly the result itself. Of several
    equal peaks the first one counts.

    Args:
        errors: Relative error after each unit, in network order; the last unit is the classifier.

    Returns:
        The sum of all rises after the peak; 0 where the peak is the last of them or nothing rises after it.
        Not a number where one of these errors is not finite, and of no unit.

    >>> regrowth([0.1, 0.75, 0.25, 0.5, 0.9]), regrowth([0.1, 0.2, 0.9]), regrowth([0.3])
    (0.25, 0.0, 0.0)
    """
    body = errors[:-1]
    if not errors or not all(map(math.isfinite, body)):
        return math.nan
    peak = body.index(max(body)) if body else 0
    return math.fsum(max(0.0, after - before) for before, after in pairwise(body[peak:]))


def against_block(values: Sequence[float], block_wise: Sequence[float]) -> list[float]:
    """Compare the errors of a run with those of the block-wise one of the same settings; losses likewise.

    Args:
        values: One number a unit.
        block_wise: Those of the block-wise run, of the same units.

    Returns:
        For each unit ``value / block_wise - 1``: below 0 where the run has the smaller error. Not a number
        where either is not finite, or the block-wise one is 0.

    >>> against_block([0.5, 3.0], [1.0, 2.0])
    [-0.5, 0.5]
    """
    return [
        one / other - 1 if other and math.isfinite(one) and math.isfinite(other) else math.nan
        for one, other in zip(values, block_wise, strict=True)
    ]
