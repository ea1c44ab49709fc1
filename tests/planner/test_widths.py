"""Widths under a budget: the best of all that keep it."""

import itertools
import random

import pytest

from mrecg.errors import PlanError
from mrecg.planner.widths import choose_widths

WIDTHS = (2, 3, 4, 8)


@pytest.mark.parametrize("seed", range(8))
def test_no_other_choice_within_the_limit_costs_less(seed: int) -> None:
    draw = random.Random(seed)
    counts = [draw.randrange(10, 1000) for _ in range(5)]
    costs = [{bits: draw.random() * 4.0**-bits for bits in WIDTHS} for _ in counts]
    sizes = [{bits: count * bits for bits in WIDTHS} for count in counts]
    limit = draw.uniform(2, 8) * sum(counts)

    def total(of: list[dict[int, float]], chosen: tuple[int, ...]) -> float:
        return sum(own[bits] for own, bits in zip(of, chosen, strict=True))

    chosen = tuple(choose_widths(costs, sizes, limit))
    kept = [one for one in itertools.product(WIDTHS, repeat=5) if total(sizes, one) <= limit]
    assert total(sizes, chosen) <= limit
    assert total(costs, chosen) <= min(total(costs, one) for one in kept) * (1 + 1e-3)


def test_a_limit_below_the_least_is_refused() -> None:
    with pytest.raises(PlanError, match="above the limit"):
        choose_widths([{2: 1.0}], [{2: 10}], 9)


def test_nothing_to_gain_is_no_fault() -> None:
    (chosen,) = choose_widths([{2: 0.0, 4: 0.0}], [{2: 2, 4: 4}], 3)
    assert chosen == 2
