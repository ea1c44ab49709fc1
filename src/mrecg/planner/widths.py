"""The bits of single layers, and how many each gets under a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrecg.errors import PlanError


@dataclass(frozen=True, kw_only=True)
class LayerBits:
    """Bits of one layer; 32: in full precision.

    Attributes:
        weight: The bits of its weights.
        input: The bits of what it reads.
    """

    weight: int
    input: int


def choose_widths(
    costs: Sequence[Mapping[int, float]], sizes: Sequence[Mapping[int, int]], limit: float
) -> list[int]:
    """Choose a width for each layer so that the costs together are least and the sizes keep a limit.

    A multiple-choice knapsack problem, solved exactly by HiGHS's branch and cut, which SciPy has.

    Args:
        costs: Of each layer by width, in any unit.
        sizes: Likewise; the same widths.
        limit: The sum of the chosen sizes is not above it.

    Returns:
        A width for each layer.

    Raises:
        PlanError: The least sizes together are above the limit, or no solution was found.

    >>> choose_widths([{2: 9.0, 4: 1.0}, {2: 2.0, 4: 1.0}], [{2: 20, 4: 40}, {2: 20, 4: 40}], 60)
    [4, 2]
    """
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_matrix

    places = [(i, width) for i, own in enumerate(costs) for width in own]
    cost = np.array([costs[i][width] for i, width in places])
    size = np.array([[sizes[i][width] for i, width in places]], dtype=float)
    if sum(min(own.values()) for own in sizes) > limit:
        raise PlanError("the least sizes together are above the limit")
    ones = csr_matrix(
        (np.ones(len(places)), ([i for i, _ in places], range(len(places)))), (len(costs), len(places))
    )
    found = milp(
        cost / (cost.max() or 1.0),
        integrality=np.ones(len(places)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(ones, 1, 1), LinearConstraint(size / limit, -np.inf, 1.0)],
        options={"mip_rel_gap": 1e-4, "time_limit": 30.0},
    )
    if found.x is None:
        raise PlanError(f"no widths were found: {found.message}")
    chosen = {i: width for (i, width), taken in zip(places, found.x, strict=True) if taken > 0.5}
    return [chosen[i] for i in range(len(costs))]
