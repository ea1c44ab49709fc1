"""Optimise one group: prepare what it learns from, take its steps, harden it."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from mrecg.cache import Store
from mrecg.errors import ConfigError
from mrecg.quant.modules import quantization
from mrecg.reconstruct import correction
from mrecg.reconstruct.cache import GroupCache
from mrecg.reconstruct.finished import Partial, agree
from mrecg.reconstruct.fisher import fisher_weights
from mrecg.reconstruct.fit import fit_in_chunks, learning
from mrecg.reconstruct.floor import loss_floor
from mrecg.reconstruct.methods import Pass
from mrecg.reconstruct.partial_state import Keeper, load_learned
from mrecg.reconstruct.records import CurvePoint
from mrecg.reconstruct.unit_module import GroupReconstruction

if TYPE_CHECKING:
    from mrecg.reconstruct.walk import Walk


def optimise(
    walk: "Walk", members: range, task: Pass, learned: GroupCache, steps: int
) -> tuple[list[CurvePoint], float]:
    """Prepare what a group learns from, as the pass wants it, and fit and harden the group.

    Args:
        walk: The walk.
        members: Its units.
        task: The pass.
        learned: Inputs and targets as they are.
        steps: Optimisation steps.

    Returns:
        The logged points, and the floor of their loss.
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
    walk.listener.group(walk.name(members), names, steps, floor)
    curve = fit(walk, members, task, learned, steps)
    for store in made:
        store.free()
    return curve, floor


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
    """
    name, units = walk.name(members), walk.network.low[members.start : members.stop]
    images, ranks = walk.shard.images - walk.held_out, walk.shard.ranks
    curve: list[CurvePoint] = []

    def report(points: Sequence[CurvePoint], done: int) -> None:
        curve.extend(points)
        walk.listener.curve(name, task.name, points, done)

    def keep(partial: Partial) -> None:
        if walk.finished is not None:
            walk.finished.keep_partial(name, replace(partial, curve=tuple(curve)))

    if walk.trainer.cuda_graphs and not cache.at_hand:
        raise ConfigError(
            f"trainer.cuda_graphs: what {name} learns from has spilled from the GPU; "
            "raise cache.budget_mb or set trainer.cuda_graphs=false"
        )
    partial = ranks.agreed(None if walk.finished is None else walk.finished.recall_partial(name))
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
