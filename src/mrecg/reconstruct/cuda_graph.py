"""Replay an optimisation step as a CUDA graph: one launch instead of a hundred, and no waiting for the GPU.

A graph repeats the same operations on the same memory. So all that differs between steps lies in tensors
that are set before each replay: the images' indices, the keys of the random draws, beta and the learning
rates. They are computed for a block of steps at a time and sent to the device together.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mrecg.errors import ConfigError
from mrecg.quant.drop import Drop
from mrecg.reconstruct.batch_order import Order
from mrecg.reconstruct.group_task import GroupTask
from mrecg.reconstruct.step_losses import Losses, Outputs

log = logging.getLogger(__name__)

_BLOCK = 64
"""Steps whose numbers are sent to the device together."""
_WARM_UP = 3
"""Runs before a graph is recorded, in which libraries choose their algorithms."""


class NotRecordedError(Exception):
    """A step cannot be recorded: it waits for the GPU, say, or there is no memory for it."""


class _Recorded(NamedTuple):
    replay: Callable[[], object]
    outputs: Outputs


class Steps(Protocol):
    """What has steps that can be recorded; see `mrecg.reconstruct.group_module.GroupReconstruction`."""

    order: Order
    drop: Drop
    places: int

    def beta(self, step: int) -> float | None:
        """Exponent of the regulariser in a step; None where there is none."""

    def rates(self, step: int) -> list[float]:
        """Learning rate of each of the optimiser's groups in a step."""

    def compute(
        self, index: Tensor, beta: float | Tensor | None, optimizer: torch.optim.Optimizer
    ) -> Outputs:
        """Forward, backward, and a step of the optimiser."""

    def losses(self, step: int, outputs: Outputs) -> Losses:
        """Put a step's losses together."""


def serves(task: GroupTask, device: torch.device) -> bool:
    """Tell whether the steps of a group are to be recorded.

    Args:
        task: Says what was asked for, and where lies what the group learns from.
        device: Where it is optimised.
    """
    if task.graphs == "auto":
        return device.type == "cuda" and task.shard is None and task.cache.at_hand
    return task.graphs


def not_recorded(task: GroupTask, error: NotRecordedError) -> None:
    """Say that the steps of a group are computed one by one, where that is for us to choose.

    Raises:
        ConfigError: Recorded steps were asked for.
    """
    if task.graphs != "auto":
        raise ConfigError(
            f"trainer.cuda_graphs: a step cannot be recorded ({error}); set it to auto or false"
        ) from error
    log.warning("a step cannot be recorded as a CUDA graph (%s); it is computed as usual, slower", error)


def record(run: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
    """Record a function as a CUDA graph.

    Args:
        run: Launches the same operations on the same memory whenever it is called; its state may change.

    Returns:
        What replays it, and the tensors that hold its outputs after each replay.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return graph.replay, outputs


class Replay:
    """The steps of one group.

    Args:
        module: The group.
        optimizer: Its optimiser; the learning rates must be tensors.
    """

    def __init__(self, module: Steps, optimizer: torch.optim.Optimizer) -> None:
        self._module, self._optimizer = module, optimizer
        device = module.order.device
        groups = len(optimizer.param_groups)
        self._index = torch.zeros(module.order.batch, dtype=torch.int64, device=device)
        self._keys = torch.zeros(module.places, dtype=torch.int64, device=device)
        self._numbers = torch.ones(1 + groups, device=device)  # beta, then the learning rates
        for group, rate in zip(optimizer.param_groups, self._numbers[1:], strict=True):
            group["lr"] = rate
        self._begin, self._rows = 0, (self._keys[None][:0], self._numbers[None][:0])
        self._recorded: dict[bool, _Recorded] = {}

    def step(self, step: int) -> Losses:
        """Run one optimisation step.

        Returns:
            Its losses, on the device.

        Raises:
            NotRecordedError: It cannot be recorded; what is learned is as it was before.
        """
        beta = self._module.beta(step)
        self._set(step)
        regularised = beta is not None
        if regularised not in self._recorded:
            self._recorded[regularised] = self._record(regularised)
        recorded = self._recorded[regularised]
        recorded.replay()
        loss, prediction, penalty = (None if out is None else out.clone() for out in recorded.outputs)
        assert loss is not None
        return self._module.losses(step, (loss, prediction, penalty))

    def _record(self, regularised: bool) -> _Recorded:
        before = [(tensor, tensor.clone()) for tensor in self._state()]
        try:
            return _Recorded(*record(lambda: self._run(regularised)))
        except RuntimeError as error:
            raise NotRecordedError(next(iter(str(error).splitlines()), type(error).__name__)) from error
        finally:
            with torch.no_grad():  # recording ran a few steps, which do not count
                for tensor in self._state():
                    tensor.zero_()  # what the optimiser made in its first step began at 0
                for tensor, saved in before:
                    tensor.copy_(saved)

    def _run(self, regularised: bool) -> Outputs:
        self._module.drop.follow(self._keys)
        beta = self._numbers[0] if regularised else None
        return self._module.compute(self._index, beta, self._optimizer)

    def _state(self) -> list[Tensor]:
        """All that a step changes for the next one."""
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        return [
            *(p.detach() for p in parameters),
            *(value for p in parameters for value in self._optimizer.state[p].values()),
        ]

    def _set(self, step: int) -> None:
        """Set what differs between steps."""
        if not self._begin <= step < self._begin + len(self._rows[0]):
            self._begin = step - step % _BLOCK
            steps = range(self._begin, self._begin + _BLOCK)
            keys = torch.tensor(
                [self._module.drop.keys(at, len(self._keys)) for at in steps], dtype=torch.int64
            )
            numbers = [[self._module.beta(at) or 1.0, *self._module.rates(at)] for at in steps]
            self._rows = keys.to(self._keys.device), torch.tensor(numbers).to(self._keys.device)
        keys, numbers_now = (row[step - self._begin] for row in self._rows)
        self._keys.copy_(keys)
        self._numbers.copy_(numbers_now)
        self._index.copy_(self._module.order.at(step))
