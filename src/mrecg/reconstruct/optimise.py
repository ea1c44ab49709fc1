"""Optimise one group: prepare what it learns from, take its steps, harden it."""

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from mrecg.errors import ConfigError, DivergenceError
from mrecg.methods.passes import Pass
from mrecg.quant.modules import activations_of, layers_of, quantization, zero_points_of
from mrecg.reconstruct import correction
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.closed_form import Solver
from mrecg.reconstruct.context import Context
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.fisher import fisher_weights
from mrecg.reconstruct.group_state import Partial, agree, remembered, restore
from mrecg.reconstruct.group_task import GroupTask
from mrecg.reconstruct.loss_floor import loss_floor
from mrecg.reconstruct.optimiser_state import Keeper, load_learned
from mrecg.reconstruct.rolling_cache import GroupCache

EXPLODED = 1e4
"""A loss of so many times the first one will not come back."""
TINY = 1e-6
"""A first loss below this is rounding: weights alone, or nothing to quantize in front."""


class Learned(NamedTuple):
    """How the optimisation of a group went.

    Attributes:
        curve: The logged points.
        floor: Of their loss.
        retries: How often it began again with half the learning rates.
    """

    curve: Sequence[CurvePoint] = ()
    floor: float | None = None
    retries: int = 0


_NOTHING = Learned()


def learn(
    context: Context,
    members: range,
    pass_: Pass,
    cache: GroupCache,
    *,
    targets: Sequence[Store],
    solver: Solver | None,
) -> Learned:
    """Learn all that a pass learns of a group: first with its rounding, then with that fixed.

    Args:
        cache: Inputs and targets as they are.
        targets: Full-precision output of each unit.
        solver: Solves the units before anything is learned; None: they stay as they are.

    Returns:
        As `optimise`, which says what it raises; no points and no floor where there is nothing to learn.
    """
    settling = context.counted.settling(pass_, members)
    steps = context.counted.optimisation(pass_, members) - settling
    found = _NOTHING

    def rounded() -> None:
        nonlocal found
        found = optimise(context, members, pass_, cache, steps)

    def settled() -> None:
        nonlocal found
        found = optimise(context, members, pass_.settling(), cache, settling, begun=steps, behind=found)

    stages = [rounded] * (steps > 0) + [settled] * (settling > 0)
    if solver is not None:
        solver.improve(members, cache, targets, stages)
    else:
        for stage in stages:
            stage()
    return found


def optimise(
    context: Context,
    members: range,
    pass_: Pass,
    learned: GroupCache,
    steps: int,
    *,
    begun: int = 0,
    behind: Learned = _NOTHING,
) -> Learned:
    """Prepare what a group learns from, as the pass wants it, and fit and harden the group.

    Args:
        context: What the reconstruction works with.
        members: Its units.
        learned: Inputs and targets as they are.
        steps: Optimisation steps.
        begun: Steps that the group has behind it.
        behind: What was found in them.

    Returns:
        The logged points, the floor of their loss, and how often it began again; with what is behind.

    Raises:
        DivergenceError: The loss is not finite, or exploded, after as many tries as the settings allow.
    """
    made: list[Store] = []
    uncorrected, network = learned.target, context.network
    if pass_.correction is not None and context.counted.corrections(pass_, members):
        corrected = correction.correct(
            [network.unfolded(i) for i in members],
            learned.full,
            pass_.correction,
            steps=context.counted.correction(pass_),
            cache=context.cache,
            report=lambda done: context.listener.curve(context.name(members), pass_.name, (), done),
        )
        made.append(corrected)
        for i in members:
            made.append(context.advance(network.full[i], made[-1]))
        learned = replace(learned, full=corrected, target=made[-1])
    if pass_.loss == "fisher_diag":
        units = context.quantized(members)
        with quantization(nn.Sequential(*units), activations=pass_.activations):
            weight = fisher_weights(
                units,
                network.full[members.stop :],
                entering=learned.quantized,
                target=uncorrected,
                cache=context.cache,
            )
        made.append(weight)
        learned = replace(learned, weight=weight)
    floor = behind.floor
    if floor is None:
        floor = loss_floor(
            network.full[members.start : members.stop],
            learned,
            batch=context.settings.eval_batch,
            seen=steps * context.settings.trainer.batch_size,
            shard=context.shard,
        )
    name, units = context.name(members), context.quantized(members)
    begin = remembered(units, pass_)
    retries = 0
    while True:
        if retries or not begun:
            total = begun + steps + context.counted.settling(pass_, members)
            context.listener.group(name, context.names(members), total, floor)
            if begun:  # listeners forget the curve of a group that begins again
                context.listener.curve(name, pass_.name, behind.curve, 0)
        try:
            curve = fit(context, members, pass_.faster(0.5**retries), learned, steps, begun=begun)
            break
        except DivergenceError:
            if retries == context.settings.retries:
                raise
            retries += 1
            restore(units, begin)
    for store in made:
        store.free()
    return Learned([*behind.curve, *curve], floor, behind.retries + retries)


def fit(
    context: Context, members: range, pass_: Pass, cache: GroupCache, steps: int, *, begun: int = 0
) -> list[CurvePoint]:
    """Take the steps of a group, from where an interrupted run has left it, and harden it.

    Args:
        context: What the reconstruction works with.
        members: Its units.
        cache: What it learns from.
        steps: Optimisation steps.
        begun: What is added to their numbers in the logged points.

    Returns:
        The logged points.

    Raises:
        ConfigError: CUDA graphs are asked for and cannot be.
        DivergenceError: The loss is not finite, or exploded.
    """
    name, units = context.name(members), context.quantized(members)
    trainer = context.settings.trainer
    ranks, learned_from = context.shard.ranks, context.learned_from
    images = context.shard.images if learned_from is None else len(learned_from)
    curve: list[CurvePoint] = []

    def report(points: Sequence[CurvePoint], done: int) -> None:
        points = [replace(point, step=begun + point.step) for point in points]
        curve.extend(points)
        context.listener.curve(name, pass_.name, points, done)
        check_bounds(name, curve, begun + steps)

    # With other learning rates it is another optimisation of the same group.
    kept = f"{name} {pass_!r}"

    def keep(partial: Partial) -> None:
        if context.finished is not None:
            context.finished.keep_partial(kept, replace(partial, curve=tuple(curve)))

    if trainer.cuda_graphs is True and not cache.at_hand:
        raise ConfigError(
            f"trainer.cuda_graphs: what {name} learns from has spilled from the GPU; "
            "raise cache.budget_mb or set trainer.cuda_graphs=false"
        )
    partial = ranks.agreed(None if context.finished is None else context.finished.recall_partial(kept))
    from mrecg.reconstruct.group_module import GroupReconstruction  # not before: Lightning is large
    from mrecg.reconstruct.lightning_fit import fit_in_chunks

    with _learning(units, pass_):
        task = GroupTask(
            pass_=pass_,
            cache=cache,
            steps=steps,
            batch=min(trainer.batch_size, images),
            seed=zlib.crc32(f"{context.settings.seed}/{pass_.name}/{name}".encode()),
            log_every=trainer.log_every,
            precision=context.settings.precision,
            graphs=trainer.cuda_graphs,
            tail=context.network.full[members.stop :] if pass_.prediction else (),
            learned_from=learned_from,
            shard=context.shard if ranks.world > 1 else None,
        )
        module = GroupReconstruction(units, task, report)
        fits = partial is not None and 0 < partial.steps < steps
        begin = 0
        if partial is not None and fits and load_learned(module.configure_optimizers(), partial.state):
            begin = partial.steps
            report([replace(point, step=point.step - begun) for point in partial.curve], begin)
        every = 0 if context.finished is None else context.finished.every_steps
        module.keeper = Keeper(keep, every=every, left=partial if begin else None)
        fit_in_chunks(module, range(begin, steps), trainer.chunk, cache.quantized.device, ranks=ranks)
        module.harden()
    agree(units, ranks)
    return curve


@contextmanager
def _learning(units: Sequence[nn.Module], pass_: Pass) -> Iterator[None]:
    """Let gradients reach the activations' grids and the biases that are learned, and fix these at the end.

    Args:
        units: Quantized units.
        pass_: Says what is learned.
    """
    scales = pass_.scales
    biases: list[nn.Parameter] = []
    if pass_.rounding is not None and pass_.rounding.bias_lr is not None:
        owned = [layer.own_bias() for unit in units for layer in layers_of(unit)]
        biases = [bias for bias in owned if bias is not None]
    quantizers = [q for unit in units for q in activations_of(unit)] if scales else []
    shifts = scales is not None and scales.zero_point_lr is not None
    signed = [q for unit in units for q in zero_points_of(unit)] if shifts else []
    learned = [*biases, *(quantizer.scale for quantizer in quantizers)]
    for parameter in learned:
        parameter.requires_grad_(True)
    for quantizer in signed:
        quantizer.zero_point.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(False)
            parameter.grad = None
        for quantizer in signed:
            quantizer.settle_zero_point()


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
