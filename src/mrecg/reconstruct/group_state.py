"""State of finished groups, for resume and reuse.

A group's outcome follows from the network, the images, the settings and all groups before it. So its record
is found by a chain of these: two runs share the records of their common beginning, and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mrecg.config.finishing import FinishConfig
from mrecg.methods.passes import Pass
from mrecg.quant.modules import activations_of, layers_of
from mrecg.reconstruct.events import CurvePoint, GroupResult
from mrecg.reconstruct.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class GroupRecord:
    """A group after a pass.

    Attributes:
        state: That of the group's quantizers, see `state_of`.
        measured: Error and loss after each of its units, as in `mrecg.reconstruct.events.UnitResult`.
        seconds: What it took.
        curve: The logged points.
        floor: Of its loss; None where nothing was optimised.
        retries: How often it began again, see `GroupResult`.
        noted: What the trials on the way noted, as plain values.
        reused: Whether it comes from another run.
    """

    state: dict[str, Tensor]
    measured: tuple[tuple[float, float], ...]
    seconds: float
    curve: tuple[CurvePoint, ...] = ()
    floor: float | None = None
    retries: int = 0
    noted: dict[str, Any] = field(default_factory=dict)
    reused: bool = False

    def result(self, name: str, task: str, steps: int) -> GroupResult:
        """Say how the group went.

        Args:
            task: The pass's name.
            steps: Optimisation steps.
        """
        return GroupResult(
            name=name,
            task=task,
            steps=steps,
            seconds=self.seconds,
            curve=self.curve,
            floor=self.floor,
            reused=self.reused,
            retries=self.retries,
        )


@dataclass(frozen=True, kw_only=True)
class Partial:
    """A group in the middle of its steps.

    Attributes:
        steps: How many were taken.
        state: What they have learned, and the optimiser's state, by name.
        curve: The points logged up to now.
    """

    steps: int
    state: dict[str, Tensor]
    curve: tuple[CurvePoint, ...] = ()


class Finished(Protocol):
    """Where records of groups are kept. Groups are announced in the order of the walk.

    Attributes:
        every_steps: Steps between two records of a group in the middle of its steps; 0: none.
        place: Where the walk is: what was announced up to now. It is put back to try something else there.
    """

    every_steps: int
    place: str

    def announce(self, task: Pass | FinishConfig, members: Sequence[str], steps: int) -> None:
        """Say which group is next.

        Args:
            task: What it learns, or how the whole network is finished.
            members: Names of the group's units.
            steps: Optimisation steps; 0 where there is nothing to learn.
        """

    def recall(self) -> GroupRecord | None:
        """Find the record of the group that was announced; None where there is none."""

    def keep(self, record: GroupRecord) -> None:
        """Keep the record of the group that was announced."""

    def recall_partial(self, name: str) -> Partial | None:
        """Find what an interrupted run has left of a group that it was optimising.

        Args:
            name: The group that is optimised: the one that was announced, or one that is tried before it.
        """

    def keep_partial(self, name: str, partial: Partial) -> None:
        """Keep a group in the middle of its steps.

        Args:
            name: The group.
            partial: What is kept.
        """


def state_of(units: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Collect what an optimisation can change in quantized units.

    Args:
        units: The units in order.

    Returns:
        Integers, scales and zero points, and biases that are learned, by the unit's place, the quantizer's
        place in it and the name.
    """
    return {name: value.detach() for name, value in _parts(units)}


def remembered(units: Sequence[nn.Module], task: Pass) -> dict[str, Tensor]:
    """Copy what a pass will change, so that `restore` can put it back.

    Args:
        units: The units in order; they get biases of their own where the pass changes them.
        task: The pass.

    Returns:
        As `state_of`.
    """
    if task.solve is not None or (task.rounding is not None and task.rounding.bias_lr is not None):
        for unit in units:
            for layer in layers_of(unit):
                layer.own_bias()
    return {name: value.clone() for name, value in state_of(units).items()}


@torch.no_grad()
def restore(units: Sequence[nn.Module], state: dict[str, Tensor]) -> None:
    """Put quantized units into a state.

    Args:
        units: The units in order.
        state: What `state_of` gave for the same units.

    Raises:
        ValueError: It is the state of others.
    """
    for place, unit in enumerate(units):
        for number, layer in enumerate(layers_of(unit)):
            if _bias(place, number) in state:
                layer.own_bias()
    own = dict(_parts(units))
    if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
        raise ValueError("the state belongs to other units")
    for name, value in own.items():
        value.copy_(state[name])
    for unit in units:
        for layer in layers_of(unit):
            layer.refresh()


def agree(units: Sequence[nn.Module], ranks: Ranks) -> None:
    """Put quantized units into the state that they have on rank 0: sums may round differently elsewhere.

    Args:
        units: The units in order.
        ranks: The processes.
    """
    if ranks.world > 1:
        ranks.agree(list(state_of(units).values()))
        for unit in units:
            for layer in layers_of(unit):
                layer.refresh()


def _bias(place: int, number: int) -> str:
    return f"{place}.layer{number}.bias"


def _parts(units: Sequence[nn.Module]) -> list[tuple[str, Tensor]]:
    biases = [
        (_bias(place, number), bias)
        for place, unit in enumerate(units)
        for number, layer in enumerate(layers_of(unit))
        if layer.owns_bias and (bias := layer.own_bias()) is not None
    ]
    return biases + [
        (f"{place}.{kind}{number}.{name}", value)
        for place, unit in enumerate(units)
        for kind, found, names in (
            ("layer", layers_of(unit), ("integers", "scale", "zero_point")),
            ("activation", activations_of(unit), ("scale", "zero_point")),
        )
        for number, quantizer in enumerate(found)
        for name in names
        for value in (getattr(quantizer, name),)
    ]
