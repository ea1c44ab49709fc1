"""Optimise one group: prepare what it learns from, take its steps, harden it."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from mrecg.errors import ConfigError, DivergenceError
from mrecg.quant.modules import quantization
from mrecg.reconstruct import correction
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.fisher import fisher_weights
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.group_state import Partial, agree, restore, state_of
from mrecg.reconstruct.lightning_fit import fit_in_chunks, learning
from mrecg.reconstruct.loss_floor import loss_floor
from mrecg.reconstruct.methods import Pass
from mrecg.reconstruct.optimiser_state import Keeper, load_learned
from mrecg.reconstruct.rolling_cache import GroupCache

if TYPE_CHECKING:
    from mrecg.reconstruct.walk import Walk

EXPLODED = 1e4
"""A loss of so many times the first one will not come back."""
TINY = 1e-6
"""A first loss below this is rounding: weights alone, or nothing to quantize in front."""
RETRIES = 2
"""With on_divergence=retry: an eighth of the learning rates would be another method."""


def optimise(walk: "Walk", members: range, task: Pass, learned: GroupCache, steps: int) -> "Learned":
    """Prepare what a group learns from, as the pass wants it, and fit and harden the group.

    Args:
        walk: The walk.
        members: Its units.
        task: The pass.
        learned: Inputs and targets as they are.
        steps: Optimisation steps.

    Returns:
        The logged points, the floor of their loss, and how often it began anew.

    Raises:
        DivergenceError: The loss is not finite, or exploded, however often the walk allows another try.
    """
    made: list[Store] = []
    uncorrected, network = learned.target, walk.network
    if task.correction is not None and walk.counted.corrections(task, members):
        corrected = correction.correct(
            [network.unfolded(i) for i in members],
            learned.full,
            task.correction,
            steps=walk.counted.correction(task),
            cache=walk.cache,
            report=lambda done: walk.listener.curve(walk.name(members), task.name, (), done),
        )
        made.append(corrected)
        for i in members:
            made.append(walk.advance(network.full[i], made[-1]))
        learned = replace(learned, full=corrected, target=made[-1])
    if task.loss == "fisher_diag":
        units = network.low[members.start : members.stop]
        with quantization(nn.Sequential(*units), activations=task.activations):
            weight = fisher_weights(
                units,
                network.full[members.stop :],
                entering=learned.quantized,
                target=uncorrected,
                cache=walk.cache,
            )
        made.append(weight)
        learned = replace(learned, weight=weight)
    floor = loss_floor(
        network.full[members.start : members.stop],
        learned,
        batch=walk.eval_batch,
        seen=steps * walk.trainer.batch_size,
        shard=walk.shard,
    )
    names = [network.units[i].name for i in members]
    units = network.low[members.start : members.stop]
    begin = {name: value.clone() for name, value in state_of(units).items()}
    retries = 0
    while True:
        walk.listener.group(walk.name(members), names, steps, floor)
        try:
            curve = fit(walk, members, task.faster(0.5**retries), learned, steps)
            break
        except DivergenceError:
            if retries == walk.retries:
                raise
            retries += 1
            restore(units, begin)
    for store in made:
        store.free()
    return Learned(curve, floor, retries)


class Learned(NamedTuple):
    """How the optimisation of a group went.

    Attributes:
        curve: The logged points.
        floor: Of their loss.
        retries: How often it began anew with half the learning rates.
    """

    curve: list[CurvePoint]
    floor: float
    retries: int


def fit(walk: "Walk", members: range, task: Pass, cache: GroupCache, steps: int) -> list[CurvePoint]:
    """Take the steps of a group, from where an interrupted run has left it, and harden it.

    Args:
        walk: The walk.
        members: Its units.
        task: The pass.
        cache: What it learns from.
        steps: Optimisation steps.

    Returns:
        The logged points.

    Raises:
        ConfigError: CUDA graphs are asked for and cannot be.
        DivergenceError: The loss is not finite, or exploded.
    """
    name, units = walk.name(members), walk.network.low[members.start : members.stop]
    images, ranks = walk.shard.images - walk.held_out, walk.shard.ranks
    curve: list[CurvePoint] = []

    def report(points: Sequence[CurvePoint], done: int) -> None:
        curve.extend(points)
        walk.listener.curve(name, task.name, points, done)
        check_bounds(name, curve, steps)

    # With other learning rates it is another optimisation of the same group.
    kept = f"{name} {task!r}"

    def keep(partial: Partial) -> None:
        if walk.finished is not None:
            walk.finished.keep_partial(kept, replace(partial, curve=tuple(curve)))

    if walk.trainer.cuda_graphs and not cache.at_hand:
        raise ConfigError(
            f"trainer.cuda_graphs: what {name} learns from has spilled from the GPU; "
            "raise cache.budget_mb or set trainer.cuda_graphs=false"
        )
    partial = ranks.agreed(None if walk.finished is None else walk.finished.recall_partial(kept))
    with learning(units, task.scales):
        module = GroupReconstruction(
            units,
            task=task,
            cache=cache,
            steps=steps,
            batch=min(walk.trainer.batch_size, images),
            log_every=walk.trainer.log_every,
            precision=walk.precision,
            graphs=walk.trainer.cuda_graphs,
            seed=zlib.crc32(f"{walk.seed}/{task.name}/{name}".encode()),
            report=report,
            images=images,
            tail=walk.network.full[members.stop :] if task.prediction else (),
            shard=walk.shard if ranks.world > 1 else None,
        )
        fits = partial is not None and 0 < partial.steps < steps
        begin = 0
        if partial is not None and fits and load_learned(module.configure_optimizers(), partial.state):
            begin = partial.steps
            report(partial.curve, begin)
        every = 0 if walk.finished is None else walk.finished.every_steps
        module.keeper = Keeper(keep, every=every, left=partial if begin else None)
        fit_in_chunks(module, range(begin, steps), walk.trainer.chunk, cache.quantized.device, ranks=ranks)
        module.harden()
    agree(units, ranks)
    return curve


def check_bounds(name: str, curve: Sequence[CurvePoint], steps: int) -> None:
    """See whether a loss has diverged.

    Args:
        name: The group.
        curve: The points logged up to now.
        steps: Optimisation steps in all.

    Raises:
        DivergenceError: The last point is not finite, or many times the first one.
    """
    losses = [point.reconstruction for point in curve]
    if not losses or (math.isfinite(curve[-1].total) and losses[-1] <= EXPLODED * max(losses[0], TINY)):
        return
    last = ", ".join(f"{loss:.4g}" for loss in losses[-4:])
    how = "has exploded" if math.isfinite(curve[-1].total) else "is not finite"
    raise DivergenceError(
        f"{name}: the loss {how} at step {curve[-1].step} of {steps} (logged last: {last}); lower "
        "trainer.lr_factor or the method's learning rates, or set on_divergence=retry. What was finished "
        "before is kept"
    )
