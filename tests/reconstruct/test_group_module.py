"""One group's optimisation under Lightning; tests/parity compares its numbers with references."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.passes import Pass
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import passes_of
from mrecg.quant.modules import activations_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.group_task import GroupTask
from mrecg.reconstruct.lightning_fit import fit_in_chunks
from mrecg.reconstruct.loss import reconstruction_loss
from mrecg.reconstruct.rolling_cache import GroupCache

F64 = torch.float64
STEPS, BATCH, IMAGES, SEED = 7, 4, 10, 11
CPU = torch.device("cpu")
Network = Callable[..., QuantizedNetwork]


def task_of(method: LearnedRounding) -> Pass:
    (task,) = passes_of(method, depthwise=False)
    return task


BRECQ = task_of(BrecqJoint(lr_rounding=0.03, lr_scale=0.02, regulariser=0.05))
QDROP = task_of(QDrop(lr_rounding=0.03, lr_scale=0.02, regulariser=0.05))


@pytest.fixture
def unit(tiny_network: Network) -> tuple[nn.Module, nn.Module]:
    """The first residual block, in full precision and quantized."""
    network = tiny_network(dtype=F64)
    return network.full[1], network.low[1]


@pytest.fixture
def cache(unit: tuple[nn.Module, nn.Module]) -> GroupCache:
    full = torch.randn(IMAGES, 4, 8, 8, dtype=F64).relu()
    quantized = (full + 0.1 * torch.randn_like(full)).contiguous(memory_format=torch.channels_last)
    full = full.contiguous(memory_format=torch.channels_last)
    return GroupCache(Store.of(quantized), Store.of(full), Store.of(unit[0](full)))


class Counted(GroupReconstruction):
    """Counts what Lightning calls."""

    calls = 0

    def training_step(self, chunk: Tensor) -> None:
        self.calls += 1
        super().training_step(chunk)


def module_of(
    units: Sequence[nn.Module], task: Pass, cache: GroupCache, *, log_every: int = 1
) -> tuple[Counted, list[CurvePoint], list[int]]:
    points: list[CurvePoint] = []
    chunks: list[int] = []

    def report(logged: Sequence[CurvePoint], steps: int) -> None:
        points.extend(logged)
        chunks.append(steps)

    for part in units:
        for quantizer in activations_of(part):
            quantizer.scale.requires_grad_(task.scales is not None)
    return (
        Counted(
            units,
            GroupTask(pass_=task, cache=cache, steps=STEPS, batch=BATCH, seed=SEED, log_every=log_every),
            report,
        ),
        points,
        chunks,
    )


@pytest.mark.parametrize("task", [BRECQ, QDROP], ids=["brecq", "qdrop"])
def test_chunks_do_not_matter(task: Pass, tiny_network: Network, cache: GroupCache) -> None:
    outcomes = []
    for chunk in (1, 7, 3):
        low = tiny_network(dtype=F64).low[1]
        module, points, chunks = module_of([low], task, cache)
        fit_in_chunks(module, range(STEPS), chunk, CPU)
        assert module.calls == math.ceil(STEPS / chunk) == len(chunks)
        assert sum(chunks) == STEPS and max(chunks) == chunk
        assert module.rounding is not None
        outcomes.append(
            (points, module.rounding.alpha.detach(), [q.scale.detach() for q in activations_of(low)])
        )
    points, alpha, scales = outcomes[0]
    for other_points, other_alpha, other_scales in outcomes[1:]:
        assert other_points == points
        assert torch.equal(other_alpha, alpha)
        assert all(torch.equal(a, b) for a, b in zip(other_scales, scales, strict=True))


def test_scales_stay_positive(unit: tuple[nn.Module, nn.Module], cache: GroupCache) -> None:
    _, low = unit
    module, _, _ = module_of([low], task_of(QDrop(lr_scale=1.0)), cache)
    fit_in_chunks(module, range(STEPS), STEPS, CPU)
    assert all(float(q.scale.detach()) > 0 for q in activations_of(low))


def test_only_every_so_many_points_are_logged_and_the_last(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache
) -> None:
    module, points, _ = module_of([unit[1]], BRECQ, cache, log_every=4)
    fit_in_chunks(module, range(STEPS), 5, CPU)
    assert [point.step for point in points] == [0, 4, 6]


def test_full_precision_parameters_are_not_touched(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache
) -> None:
    full, low = unit
    before = {name: value.clone() for name, value in full.state_dict().items()}
    module, _, _ = module_of([low], QDROP, cache)
    fit_in_chunks(module, range(STEPS), 3, CPU)
    module.harden()
    assert all(torch.equal(value, before[name]) for name, value in full.state_dict().items())
    assert not any(p.requires_grad for p in full.parameters())


def test_the_end_of_a_fit_moves_nothing(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lightning's teardown calls cpu(), which on a GPU would take the units away from the network.
    monkeypatch.setattr(nn.Module, "cpu", lambda self: pytest.fail("the module was moved"))
    module, _, _ = module_of([unit[1]], QDROP, cache)
    fit_in_chunks(module, range(STEPS), 3, CPU)
    assert module.cpu() is module


def test_an_interrupt_is_an_interrupt(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    def interrupted(self: GroupReconstruction, chunk: Tensor) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(GroupReconstruction, "training_step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    module, _, _ = module_of([unit[1]], QDROP, cache)
    with pytest.raises(KeyboardInterrupt):
        fit_in_chunks(module, range(STEPS), 3, CPU)
    assert signal.getsignal(signal.SIGINT) == before


def test_the_loss_is_summed_over_channels_and_meant_over_images_and_space() -> None:
    out, target = torch.rand(2, 3, 4, 5, dtype=F64), torch.rand(2, 3, 4, 5, dtype=F64)
    total = sum(
        float((out[n, c, i, j] - target[n, c, i, j]) ** 2)
        for n in range(2)
        for c in range(3)
        for i in range(4)
        for j in range(5)
    )
    assert float(reconstruction_loss(out, target)) == pytest.approx(total / (2 * 4 * 5))
    flat, other = torch.rand(3, 7), torch.rand(3, 7)
    expected = float(((flat - other) ** 2).sum() / 3)
    assert float(reconstruction_loss(flat, other)) == pytest.approx(expected, rel=1e-5)
