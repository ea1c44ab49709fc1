"""Trials of merges: while a network is reconstructed block by block, each unit is also tried with the next.

What a merge is worth shows at the network's output: how far its predictions are off when the full-precision
rest follows the pair. A trial takes the same steps in all as its two units alone, from the same prefix, so
the difference is what the merge brings at that budget. It is measured on images that nothing has learned
from: a merged group fits those that it learns from better in nearly every case, and often only those.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from mrecg.methods.passes import Pass
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.closed_form import Solver
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.group_state import remembered, restore
from mrecg.reconstruct.held_out import Predictions
from mrecg.reconstruct.optimise import learn
from mrecg.reconstruct.rolling_cache import GroupCache

HELD_OUT, HELD_OUT_SHARE = 256, 4
"""Images on which the network's output is compared: every fourth one, and no more than so many, because each
trial runs all that is after it."""


class Trials(Protocol):
    """What a reconstruction tries on its way."""

    def held_out(self, images: int) -> int:
        """How many of the calibration images are for measuring."""

    def groups(self, context: Context) -> Sequence[range]:
        """Units of each group that is tried, in the order of the trials."""

    def before(self, context: Context, index: int, pass_: Pass, learned: GroupCache) -> None:
        """A unit is about to be optimised, from what it will learn from."""

    def after(self, context: Context, index: int, quantized: Store) -> None:
        """A unit is hardened; what leaves it."""

    def noted(self) -> dict[str, Any]:
        """What was noted at the last unit, as plain values."""

    def recall(self, noted: dict[str, Any]) -> None:
        """Note what `noted` gave in an earlier walk, instead of trying."""


class PairTrials:
    """Tries pairs during a block-wise walk, and puts everything back after each trial.

    Args:
        candidates: Indices of the pairs to try; pair i is units i and i + 1.

    Attributes:
        reach: For each unit `output_difference` of the network when the units up to it are quantized, block
            by block, and the rest is in full precision; on images that were held out.
        pairs: For each neighbouring pair the same number after its second unit when both were optimised
            jointly; NaN where the pair was not tried.
    """

    def __init__(self, candidates: Collection[int]) -> None:
        self.candidates = frozenset(candidates)
        self.reach: list[float] = []
        self.pairs: list[float] = []
        self._predictions: Predictions | None = None

    def held_out(self, images: int) -> int:
        """Decide how many images are for measuring.

        Args:
            images: Calibration images.

        Returns:
            A quarter, at least 1 and at most `HELD_OUT`; 0 of a single image, which has to serve for both.
        """
        return min(HELD_OUT, max(images // HELD_OUT_SHARE, 1)) if images > 1 else 0

    def groups(self, context: Context) -> list[range]:
        """List the pairs that are tried.

        Args:
            context: What the reconstruction works with.

        Returns:
            Units of each pair, in the order of the trials.
        """
        pairs = range(len(context.network.units) - 1)
        return [range(i, i + 2) for i in pairs if i in self.candidates]

    def before(self, context: Context, index: int, pass_: Pass, learned: GroupCache) -> None:
        """Try a unit with the next one, before it is optimised alone.

        Args:
            context: What the reconstruction works with; its plan has one unit a group.
            index: The unit.
            learned: What the unit will learn from.
        """
        if index + 1 == len(context.network.units):
            return
        pair = range(index, index + 2)
        if index not in self.candidates or not context.counted.optimisation(pass_, pair):
            self.pairs.append(math.nan)
            return
        units = context.quantized(pair)
        before = remembered(units, pass_)
        target = context.advance(context.network.full[index + 1], learned.target)
        joint = GroupCache(learned.quantized, learned.full, target, logits=learned.logits)
        solver = Solver(context, pass_) if pass_.solve else None
        learn(context, pair, pass_, joint, targets=(learned.target, target), solver=solver)
        target.free()
        middle = context.advance_quantized(index, learned.quantized, pass_)
        out = context.advance_quantized(index + 1, middle, pass_)
        middle.free()
        self.pairs.append(self._reach(context, out, pair.stop))
        out.free()
        restore(units, before)

    def after(self, context: Context, index: int, quantized: Store) -> None:
        """Measure what a unit's error does to the network's output.

        Args:
            context: What the reconstruction works with.
            index: The unit, hardened.
            quantized: What leaves it, shape (N, ...).
        """
        self.reach.append(self._reach(context, quantized, index + 1))

    def noted(self) -> dict[str, Any]:
        """What was noted at the last unit.

        Returns:
            ``reach``, and ``pair`` where the unit has a next one; a pair that was not tried is None.
        """
        noted: dict[str, Any] = {"reach": self.reach[-1]}
        if len(self.pairs) == len(self.reach):
            noted["pair"] = None if math.isnan(self.pairs[-1]) else self.pairs[-1]
        return noted

    def recall(self, noted: dict[str, Any]) -> None:
        """Note what an earlier walk noted at the next unit.

        Args:
            noted: What `noted` gave there.
        """
        self.reach.append(float(noted["reach"]))
        if "pair" in noted:
            self.pairs.append(math.nan if noted["pair"] is None else float(noted["pair"]))

    def _reach(self, context: Context, quantized: Store, begin: int) -> float:
        if self._predictions is None:
            self._predictions = Predictions(context)
        return self._predictions.difference(self._predictions.after(quantized, begin), begin)
