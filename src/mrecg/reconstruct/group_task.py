"""The task of one group: what it learns, from what, and in how many steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from mrecg.config.schema import Precision
from mrecg.methods.passes import Pass
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.rolling_cache import GroupCache


@dataclass(frozen=True, kw_only=True)
class GroupTask:
    """What one group learns, from what, and in how many steps.

    Attributes:
        pass_: What the method's pass learns, and how.
        cache: Inputs and targets, on the device of the optimisation.
        steps: Optimisation steps.
        batch: Images a step.
        seed: Seed of this group's draws.
        log_every: Steps between two points of the curve.
        precision: Of convolutions and linear layers.
        graphs: Whether steps are recorded as CUDA graphs and replayed; auto: on a GPU that holds the cache
            and works alone, unless recording fails.
        tail: The full-precision units after it in order; needed where the network's prediction counts.
        learned_from: Numbers of the images to learn from, ascending; None: all.
        shard: The images that this process owns of all, where several share the work; the cache holds these.
    """

    pass_: Pass
    cache: GroupCache
    steps: int
    batch: int
    seed: int
    log_every: int
    precision: Precision = 32
    graphs: bool | Literal["auto"] = False
    tail: Sequence[nn.Module] = ()
    learned_from: Tensor | None = None
    shard: Shard | None = None
