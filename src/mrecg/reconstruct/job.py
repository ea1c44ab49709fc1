"""One process's part of a reconstruction: the passes of a method in order, and their outcome."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mrecg.errors import ConfigError
from mrecg.methods.passes import Pass
from mrecg.planner.schedule import Plan
from mrecg.planner.verdict import Verdict
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache, CacheUse, Store
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.correction import BATCH
from mrecg.reconstruct.events import GroupResult, Listener, UnitResult
from mrecg.reconstruct.group_state import Finished
from mrecg.reconstruct.held_out import divided
from mrecg.reconstruct.merge_trials import HELD_OUT_SHARE, Trials
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.safe_merges import HeldOutJudge
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.walk import Walk


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The outcome.

    Attributes:
        units: Every base unit's error and loss in the finished network, in order.
        groups: Every group's curve, in the order of the optimisation.
        cache: What the rolling cache took.
        verdicts: On each merge that was judged, in order.
        lost_reused_s: Seconds that other runs had spent on what the verdicts took back.
    """

    units: tuple[UnitResult, ...]
    groups: tuple[GroupResult, ...]
    cache: CacheUse
    verdicts: tuple[Verdict, ...] = ()
    lost_reused_s: float = 0.0

    @property
    def reused_seconds(self) -> float:
        """What other runs had spent on what was taken from them."""
        return self.lost_reused_s + sum(group.seconds for group in self.groups if group.reused)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all processes of a reconstruction know; see `mrecg.reconstruct.engine.reconstruct`."""

    plan: Plan
    passes: tuple[Pass, ...]
    settings: Settings
    trials: Trials | None = None

    @classmethod
    def of(
        cls, network: QuantizedNetwork, plan: Plan, settings: Settings, *, trials: Trials | None = None
    ) -> "Job":
        """Make the job of a whole reconstruction; see `mrecg.reconstruct.engine.reconstruct`.

        Raises:
            ConfigError: CUDA graphs are asked for, and the network is not on a GPU.
        """
        device = next(iter(network.model.state_dict().values())).device
        if settings.trainer.cuda_graphs is True and device.type != "cuda":
            raise ConfigError(
                f"trainer.cuda_graphs: needs a GPU, the network is on {device}; set it to false"
            )
        depthwise = any(layer.kind == "depthwise" for unit in network.units for layer in unit.facts.layers)
        return cls(plan=plan, passes=settings.passes(depthwise=depthwise), settings=settings, trials=trials)

    @property
    def block(self) -> int:
        """Images that have to stay in one process: those that are corrected together."""
        return BATCH if any(pass_.correction for pass_ in self.passes) else 1

    def run(
        self,
        network: QuantizedNetwork,
        images: Store,
        shard: Shard,
        *,
        listener: Listener,
        finished: Finished | None,
    ) -> Reconstruction:
        """Do this process's part.

        Args:
            network: The calibrated network, changed in place; equal in all processes, before and after.
            images: The calibration images that the process owns.
            shard: Which of all images these are.
            listener: Who is told of every chunk and unit.
            finished: Keeps the records of groups; only rank 0's is asked.

        Returns:
            The outcome for all images.
        """
        results: list[GroupResult] = []
        units: tuple[UnitResult, ...] = ()
        verdicts: tuple[Verdict, ...] = ()
        ranks = shard.ranks
        with (
            Cache(self.settings.cache, images.device, sharers=ranks.world) as kept,
            deterministic(),
        ):
            context = Context(
                network=network,
                settings=self.settings,
                cache=kept,
                images=images,
                shard=shard,
                listener=listener,
                finished=finished,
                held_out=self._held_out(shard.images),
            )
            judges = self.settings.judged and bool(self.plan.merged)
            judge = HeldOutJudge(context) if judges else None
            walk = Walk(context, self.plan)
            # What is tried and judged is so in the first pass: it decides for the others.
            ways = [(self.trials, judge), *[(None, None)] * (len(self.passes) - 1)]
            parts = list(zip(self.passes, ways, strict=True))
            listener.outline([walk.outline(p, trials, judged=bool(by)) for p, (trials, by) in parts])
            for pass_, (trials, by) in parts:
                report = pass_ is self.passes[-1]
                units, groups = walk.run(pass_, report_units=report, trials=trials, judge=by)
                results += groups
                if by is not None:
                    verdicts = tuple(walk.verdicts)
                    walk = Walk(context, self.plan.after(verdicts))
        memory, disk = ranks.total(kept.use.peak_mb, kept.use.disk_mb)
        use = replace(kept.use, peak_mb=round(memory, 3), disk_mb=round(disk, 3))
        lost = judge.reused_seconds if judge else 0.0
        return Reconstruction(
            units=units, groups=tuple(results), cache=use, verdicts=verdicts, lost_reused_s=lost
        )

    def _held_out(self, images: int) -> Tensor:
        """Numbers of the images that are for measuring."""
        if self.settings.held_out:
            return divided(images, self.settings.held_out, self.settings.seed)[1]
        asked = max((task.solve.held_out for task in self.passes if task.solve), default=0)
        tried = self.trials.held_out(images) if self.trials else 0
        if count := min(asked, images // HELD_OUT_SHARE):
            return divided(images, max(count, tried) / images, self.settings.seed)[1]
        return torch.arange(images)[images - tried :]


@contextmanager
def deterministic() -> Iterator[None]:
    """Choose convolution algorithms that repeat themselves."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
