"""What a group in the middle of its steps consists of: what is learned, and Adam's state. Draws have none."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mrecg.reconstruct.group_state import Partial


class Keeper:
    """Keeps what a group learns from time to time, and takes up what was kept.

    Args:
        keep: Called with it, after a chunk of steps.
        every: Steps between two times, at least; 0: never.
        left: What an interrupted run has left; it has been loaded but for the optimiser's state.
    """

    def __init__(self, keep: Callable[[Partial], None], *, every: int, left: Partial | None) -> None:
        self._keep, self._every, self._left = keep, every, left

    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """A chunk of steps begins; before the first one the optimiser has no state yet."""
        if self._left is not None:
            load_optimizer(optimizer, self._left.state)
            self._left = None

    def after(self, optimizer: torch.optim.Optimizer, begin: int, end: int, steps: int) -> None:
        """A chunk of steps has ended, at ``end`` of ``steps``."""
        if self._every and begin // self._every < end // self._every and end < steps:
            self._keep(Partial(steps=end, state=learned_of(optimizer) | optimizer_state(optimizer)))


def learned_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy what an optimiser learns.

    Returns:
        By the parameter's place.
    """
    return {f"learned.{place}": parameter.detach().clone() for place, parameter in _parameters(optimizer)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy an optimiser's state.

    Returns:
        By the parameter's place and the name.
    """
    return {
        f"optimizer.{place}.{name}": value.detach().clone()
        for place, parameter in _parameters(optimizer)
        for name, value in optimizer.state[parameter].items()
    }


@torch.no_grad()
def load_learned(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> bool:
    """Put what is learned into a state.

    Args:
        state: What `learned_of` and `optimizer_state` gave.

    Returns:
        False where it is the state of something else; then nothing is changed.
    """
    found = dict(_parameters(optimizer))
    wanted = {f"learned.{place}": parameter for place, parameter in found.items()}
    own = {name: value for name, value in state.items() if name.startswith("learned.")}
    if own.keys() != wanted.keys() or any(own[name].shape != wanted[name].shape for name in own):
        return False
    for name, parameter in wanted.items():
        parameter.copy_(own[name])
    return True


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
    """Put an optimiser into a state.

    Args:
        optimizer: The optimiser, before its first step.
        state: What `optimizer_state` gave.
    """
    loaded: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            place, _, leaf = rest.partition(".")
            loaded.setdefault(int(place), {})[leaf] = value
    # It copies: the tensors may be read-only, or on another device.
    optimizer.load_state_dict({"state": loaded, "param_groups": optimizer.state_dict()["param_groups"]})


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[tuple[int, Tensor]]:
    yield from enumerate(p for group in optimizer.param_groups for p in group["params"])
