"""One group's optimisation against BRECQ and QDrop written again in plain torch, float64."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.cache import Store
from mrecg.config.methods import BrecqJoint, LearnedRounding, QDrop
from mrecg.quant.drop import Draw
from mrecg.quant.modules import QuantizedLayer, activations_of, layers_of
from mrecg.quant.network import QuantizedNetwork
from mrecg.reconstruct.cache import GroupCache
from mrecg.reconstruct.fit import fit_in_chunks
from mrecg.reconstruct.loss import reconstruction_loss
from mrecg.reconstruct.methods import Pass, passes_of
from mrecg.reconstruct.records import CurvePoint
from mrecg.reconstruct.unit_module import GroupReconstruction

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
            task=task,
            cache=cache,
            steps=STEPS,
            batch=BATCH,
            log_every=log_every,
            precision=32,
            graphs=False,
            seed=SEED,
            report=report,
        ),
        points,
        chunks,
    )


# The reference: nothing below uses mrecg but to read the initial grids.


class Masks:
    """Bernoulli masks, one for every place in the order of the forward passes."""

    def __init__(self, keep: float) -> None:
        self.keep, self.places = keep, dict[int, int]()

    def draw(self, place: int, like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(99 + place)
        return (torch.rand(like.shape, generator=generator, dtype=F64) < self.keep).to(like.dtype)

    def of(self, draw: Draw, like: Tensor) -> Tensor:
        """The mask of a draw; the backward pass asks for it again."""
        return self.draw(self.places.setdefault(draw.key, len(self.places)), like)

    def __call__(self, like: Tensor) -> Tensor:
        self.places[len(self.places)] = 0
        return self.draw(len(self.places) - 1, like)


def order(step: int) -> Tensor:
    """The images of a step: one step of SplitMix64, as published, seeds the shuffle."""
    bits = 2**64 - 1
    z = (SEED + (step + 1) * 0x9E3779B97F4A7C15) & bits
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & bits
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & bits
    return torch.randperm(IMAGES, generator=torch.Generator().manual_seed(z ^ (z >> 31)))[:BATCH]


class Round(torch.autograd.Function):
    """Round with the gradient of the identity; x + (round(x) - x).detach() can miss the whole number."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


def quantized(x: Tensor, scale: Tensor, zero: float, top: int) -> Tensor:
    factor = 1 / math.sqrt(x.numel() * top)
    scale = scale * factor + (scale - scale * factor).detach()
    level = Round.apply(x / scale) + zero
    # Not torch.clamp: at the ends of the range its gradient is 1 or 0, by the version of torch.
    level = torch.where(level > top, float(top), torch.where(level < 0, 0.0, level))
    return (level - zero) * scale


class Reference:
    """Joint learning of rounding and steps for conv - relu - conv - add - relu."""

    def __init__(self, low: nn.Module, task: Pass, masks: Masks) -> None:
        assert task.rounding is not None and task.scales is not None
        self.task, self.masks = task, masks
        self.layers = layers_of(low)
        self.zeros = [float(q.zero_point) for q in activations_of(low)]
        self.tops = [q.top for q in activations_of(low)]
        self.scales = [q.scale.detach().clone().requires_grad_() for q in activations_of(low)]
        self.alphas = []
        for layer in self.layers:
            ratio = layer.reference / layer.scale
            p = (ratio - ratio.floor() + 0.1) / 1.2
            self.alphas.append(torch.log(p / (1 - p)).detach().requires_grad_())
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.alphas, "lr": task.rounding.lr},
                {"params": self.scales, "lr": task.scales.lr},
            ]
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, [lambda t: 1.0, lambda t: (1 + math.cos(math.pi * t / STEPS)) / 2]
        )

    def h(self, alpha: Tensor) -> Tensor:
        return torch.clamp(torch.sigmoid(alpha) * 1.2 - 0.1, 0, 1)

    def weight(self, layer: QuantizedLayer, alpha: Tensor) -> Tensor:
        s, z = layer.scale, layer.zero_point
        return s * (torch.clamp(torch.floor(layer.reference / s) + self.h(alpha) + z, 0, layer.top) - z)

    def activation(self, x: Tensor, i: int) -> Tensor:
        low = quantized(x, self.scales[i], self.zeros[i], self.tops[i])
        return low if self.task.keep == 1 else torch.where(self.masks(x).bool(), low, x)

    def block(self, x: Tensor) -> Tensor:
        one, two = (self.weight(*pair) for pair in zip(self.layers, self.alphas, strict=True))
        biases = [layer.layer.bias for layer in self.layers]
        y = self.activation(F.relu(F.conv2d(x, one, biases[0], padding=1)), 0)  # type: ignore[arg-type]
        y = F.conv2d(y, two, biases[1], padding=1)  # type: ignore[arg-type]
        return self.activation(F.relu(y + x), 1)

    def step(self, t: int, cache: GroupCache) -> tuple[float, float | None, float]:
        plan = self.task.rounding
        assert plan is not None
        index = order(t)
        x = cache.quantized.take(index)
        if self.task.keep < 1:
            x = torch.where(self.masks(x).bool(), x, cache.full.take(index))
        loss = ((self.block(x) - cache.target.take(index)) ** 2).sum(dim=1).mean()
        penalty = None
        if t >= 0.2 * STEPS:
            beta = 2 + 18 * (1 - (t - 0.2 * STEPS) / (0.8 * STEPS))
            terms = [(1 - (2 * self.h(alpha) - 1).abs() ** beta).sum() for alpha in self.alphas]
            penalty = plan.regulariser * sum(terms)
        total = loss if penalty is None else loss + penalty
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return loss.item(), None if penalty is None else penalty.item(), total.item()


@contextmanager
def injected(masks: Masks) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(Draw, "mask", lambda draw, like: masks.of(draw, like))  # noqa: PLW0108  a method of Draw
    try:
        yield
    finally:
        patch.undo()


@pytest.mark.parametrize("task", [BRECQ, QDROP, replace(QDROP, keep=0.25)], ids=["brecq", "qdrop", "quarter"])
def test_losses_and_parameters_are_those_of_the_reference(
    task: Pass, unit: tuple[nn.Module, nn.Module], cache: GroupCache
) -> None:
    _, low = unit
    reference = Reference(low, task, Masks(task.keep))
    expected = [reference.step(t, cache) for t in range(STEPS)]

    module, points, _ = module_of([low], task, cache)
    masks = Masks(task.keep)
    with injected(masks):
        fit_in_chunks(module, STEPS, 3, CPU)

    assert len(masks.places) == len(reference.masks.places) == (0 if task.keep == 1 else 3 * STEPS)
    assert [point.step for point in points] == list(range(STEPS))
    for point, (loss, penalty, total) in zip(points, expected, strict=True):
        assert point.reconstruction == pytest.approx(loss, rel=1e-6)
        assert point.rounding == (None if penalty is None else pytest.approx(penalty, rel=1e-6))
        assert point.total == pytest.approx(total, rel=1e-6)
        assert (point.beta is None) == (penalty is None)
    assert points[-1].total < 0.9 * points[2].total  # it learns
    for quantizer, scale in zip(activations_of(low), reference.scales, strict=True):
        torch.testing.assert_close(quantizer.scale, scale, rtol=1e-6, atol=0.0)
    assert module.rounding is not None
    module.rounding.lend()
    before = [layer.hard.clone() for layer in layers_of(low)]
    for layer, alpha in zip(layers_of(low), reference.alphas, strict=True):
        torch.testing.assert_close(layer.soft, reference.weight(layer, alpha), rtol=1e-6, atol=1e-9)
    module.harden()
    for layer, alpha, old in zip(layers_of(low), reference.alphas, before, strict=True):
        up = torch.floor(layer.reference / layer.scale) + layer.zero_point + (alpha >= 0)
        assert torch.equal(layer.integers.to(F64), up.clamp(0, layer.top))
        assert layer.soft is None and not torch.equal(layer.hard, old)


@pytest.mark.parametrize("task", [BRECQ, QDROP], ids=["brecq", "qdrop"])
def test_chunks_do_not_matter(task: Pass, tiny_network: Network, cache: GroupCache) -> None:
    outcomes = []
    for chunk in (1, 7, 3):
        low = tiny_network(dtype=F64).low[1]
        module, points, chunks = module_of([low], task, cache)
        fit_in_chunks(module, STEPS, chunk, CPU)
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
    fit_in_chunks(module, STEPS, STEPS, CPU)
    assert all(float(q.scale.detach()) > 0 for q in activations_of(low))


def test_only_every_so_many_points_are_logged_and_the_last(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache
) -> None:
    module, points, _ = module_of([unit[1]], BRECQ, cache, log_every=4)
    fit_in_chunks(module, STEPS, 5, CPU)
    assert [point.step for point in points] == [0, 4, 6]


def test_full_precision_parameters_are_not_touched(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache
) -> None:
    full, low = unit
    before = {name: value.clone() for name, value in full.state_dict().items()}
    module, _, _ = module_of([low], QDROP, cache)
    fit_in_chunks(module, STEPS, 3, CPU)
    module.harden()
    assert all(torch.equal(value, before[name]) for name, value in full.state_dict().items())
    assert not any(p.requires_grad for p in full.parameters())


def test_the_end_of_a_fit_moves_nothing(
    unit: tuple[nn.Module, nn.Module], cache: GroupCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lightning's teardown calls cpu(), which on a GPU would take the units away from the network.
    monkeypatch.setattr(nn.Module, "cpu", lambda self: pytest.fail("the module was moved"))
    module, _, _ = module_of([unit[1]], QDROP, cache)
    fit_in_chunks(module, STEPS, 3, CPU)
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
        fit_in_chunks(module, STEPS, 3, CPU)
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
