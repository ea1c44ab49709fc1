"""A planned merge is made only if held-out images are for it.

The group's units are optimised one by one first, as a block-wise run would, and then, from the same prefix,
jointly. Both are judged by the network's predictions when the full-precision rest follows, on images that
nothing learns from. So up to there the network is never further off, by these images, than with blocks alone.
"""

import math
from contextlib import suppress
from dataclasses import asdict, replace

import torch
from torch import Tensor

from mrecg.errors import DivergenceError
from mrecg.methods.passes import Pass
from mrecg.planner.verdict import Verdict
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.group_state import GroupRecord, remembered, restore
from mrecg.reconstruct.held_out import Predictions, differences
from mrecg.reconstruct.walk import Done, Prefix, Walk
from mrecg.system.checked_read import DAMAGED

_NOTED, _LOST = "verdict", "lost_s"
"""What a merged group's record notes: the verdict, and the seconds of the way that was taken back."""


class HeldOutJudge:
    """Judges merges; see `mrecg.reconstruct.walk.Judge`.

    Args:
        context: What the reconstruction works with.

    Attributes:
        reused_seconds: What other runs had spent on ways that were taken back.
    """

    def __init__(self, context: Context) -> None:
        self.reused_seconds = 0.0
        self._context = context
        self._predictions = Predictions(context)

    def __call__(
        self, walk: Walk, members: range, pass_: Pass, prefix: Prefix
    ) -> tuple[list[Done], Prefix, Verdict]:
        """Bring a planned group through a pass.

        Args:
            members: Its units, several.
            prefix: What enters it.

        Returns:
            The groups that it became, what leaves them, and why.
        """
        begin = self._place()
        verdict = self._verdict_of(walk.known(pass_, members))
        self._go(begin)
        if verdict is None:
            return self._both(walk, members, pass_, prefix)
        # As long as the attempts took, so that progress is right.
        if verdict.kept:
            self._passed_over([range(i, i + 1) for i in members], pass_)
            done, after = walk.through(members, pass_, prefix)
            return [done], after, verdict
        alone, after = self._one_by_one(walk, members, pass_, prefix)
        self._passed_over([members], pass_)
        return alone, after, verdict

    def _both(
        self, walk: Walk, members: range, pass_: Pass, prefix: Prefix
    ) -> tuple[list[Done], Prefix, Verdict]:
        units, begin = self._context.quantized(members), self._place()
        before = remembered(units, pass_)
        walk.hold(prefix)
        alone, after_alone = self._one_by_one(walk, members, pass_, prefix)
        alone_state, alone_place = remembered(units, pass_), self._place()
        apart = self._predictions.after(after_alone.quantized, members.stop)
        restore(units, before)
        self._go(begin)
        attempt: tuple[Done, Prefix] | None = None
        with suppress(DivergenceError):
            attempt = walk.through(members, pass_, prefix, keep=False)
        walk.hold(None)
        walk.drop(prefix)
        joint = attempt and self._predictions.after(attempt[1].quantized, members.stop)
        verdict = self._judged(members, apart, joint)
        if attempt is not None:
            merged, after_merged = attempt
            lost = alone if verdict.kept else [merged]
            noted = {_NOTED: asdict(verdict), _LOST: sum(done.record.seconds for done in lost)}
            record = replace(merged.record, noted=noted)
            if self._context.finished is not None:
                self._context.finished.keep(record)
            if verdict.kept:
                walk.drop(after_alone)
                return [Done(members, record)], after_merged, verdict
            walk.drop(after_merged)
        restore(units, alone_state)
        self._go(alone_place)
        return alone, after_alone, verdict

    def _one_by_one(
        self, walk: Walk, members: range, pass_: Pass, prefix: Prefix
    ) -> tuple[list[Done], Prefix]:
        found = []
        for i in members:
            done, prefix = walk.through(range(i, i + 1), pass_, prefix)
            found.append(done)
        return found, prefix

    def _judged(self, members: range, apart: Tensor, joint: Tensor | None) -> Verdict:
        full, ranks = self._predictions.full(members.stop), self._context.shard.ranks
        logits = full.ndim == 2
        alone = differences(apart, full)
        merged = torch.full_like(alone, math.inf) if joint is None else differences(joint, full)
        paired = merged - alone
        sizes = float(len(full)) if logits else float(full.double().square().sum())
        count, size, *sums = ranks.total(
            float(len(alone)),
            sizes,
            *(float(v.sum()) for v in (alone, merged, paired, paired.square())),
        )
        size = max(size, torch.finfo(torch.float64).tiny)
        spread = sums[3] / count - (sums[2] / count) ** 2
        error = math.sqrt(max(spread, 0.0) * count) / size if count > 1 and math.isfinite(spread) else None
        return ranks.agreed(
            Verdict(
                group=tuple(self._context.names(members)),
                alone=_finite(sums[0] / size),
                merged=_finite(sums[1] / size),
                standard_error=error,
                kept=sums[1] < sums[0],  # never where one is no number
                measure="kl" if logits else "relative_error",
                images=self._predictions.images,
            )
        )

    def _verdict_of(self, record: GroupRecord | None) -> Verdict | None:
        """The verdict that was noted with a group; None where there is none."""
        if record is None:
            return None
        try:
            noted = dict(record.noted[_NOTED])
            verdict = Verdict(**{**noted, "group": tuple(map(str, noted["group"]))})
            self.reused_seconds += float(record.noted[_LOST]) if record.reused else 0.0
            return verdict
        except DAMAGED:
            return None

    def _passed_over(self, groups: list[range], pass_: Pass) -> None:
        """Count the steps of an attempt that an earlier run has made and taken back."""
        for members in groups:
            context = self._context
            steps = context.counted.optimisation(pass_, members) + context.counted.corrections(pass_, members)
            context.listener.curve(context.name(members), pass_.name, (), steps)

    def _place(self) -> str:
        return "" if self._context.finished is None else self._context.finished.place

    def _go(self, place: str) -> None:
        if self._context.finished is not None:
            self._context.finished.place = place


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
