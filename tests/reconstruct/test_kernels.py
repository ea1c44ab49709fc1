"""The fused path against plain torch operations, and both against repetition."""

from collections.abc import Callable

import pytest
import torch
from tiers import first_fast
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mrecg.config.schema import Precision
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import passes_of
from mrecg.quant.kernels import jit
from mrecg.quant.kernels.switch import fused
from mrecg.quant.modules import QuantizedLayer, activations_of, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import loss as losses
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.group_task import GroupTask
from mrecg.reconstruct.lightning_fit import fit_in_chunks
from mrecg.reconstruct.rolling_cache import GroupCache, deviation

CPU = torch.device("cpu")
Network = Callable[..., QuantizedNetwork]
METHODS = [BrecqJoint(), QDrop()]


def fit(
    network: QuantizedNetwork,
    images: Tensor,
    method: LearnedRounding,
    steps: int,
    precision: Precision = 32,
) -> tuple[list[CurvePoint], Tensor, list[float]]:
    """Fit first and second block jointly."""
    (task,) = passes_of(method, depthwise=False)
    with torch.no_grad():
        full, quantized = network.full[0](images), network.low[0](images)
        target = network.full[2](network.full[1](full))
    points: list[CurvePoint] = []
    low = network.low[1:3]
    for unit in low:
        for quantizer in activations_of(unit):
            quantizer.scale.requires_grad_()
    module = GroupReconstruction(
        low,
        GroupTask(
            pass_=task,
            cache=GroupCache(Store.of(quantized), Store.of(full), Store.of(target)),
            steps=steps,
            batch=8,
            log_every=1,
            precision=precision,
            graphs=False,
            seed=5,
        ),
        lambda logged, done: points.extend(logged),
    )
    fit_in_chunks(module, range(steps), 50, CPU)
    assert module.rounding is not None
    alpha = module.rounding.alpha.detach().clone()
    module.harden()
    return points, alpha, [float(q.scale.detach()) for unit in low for q in activations_of(unit)]


@pytest.mark.parametrize("method", first_fast(METHODS), ids=lambda method: method.name)
def test_two_hundred_steps_of_the_fused_path_are_those_of_plain_torch(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    results = []
    for on in (True, False):
        with fused(on):
            results.append(fit(tiny_network(), tiny_images, method, 200))
    (ours, alpha, scales), (plain, plain_alpha, plain_scales) = results
    assert len(ours) == len(plain) == 200
    for one, other in zip(ours, plain, strict=True):
        assert one.reconstruction == pytest.approx(other.reconstruction, rel=1e-4)
        assert one.total == pytest.approx(other.total, rel=1e-4)
    assert ours[-1].rounding is not None and max(alpha.abs()) > 1  # it went somewhere
    assert scales == pytest.approx(plain_scales, rel=1e-4)
    torch.testing.assert_close(alpha, plain_alpha, rtol=1e-3, atol=1e-3)


def test_the_number_of_threads_does_not_show(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fit(tiny_network(), tiny_images, METHODS[1], 20)
    # Of the kernels: torch's own convolutions may add in another order.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(jit.divide, "__kwdefaults__", {"grain": 1})
    three = fit(tiny_network(), tiny_images, METHODS[1], 20)
    assert one[0] == three[0] and torch.equal(one[1], three[1]) and one[2] == three[2]


def test_a_step_runs_the_kernels_once_each(
    tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrecg.quant.kernels import activation, rounding
    from mrecg.quant.kernels import loss as loss_kernel

    calls: dict[str, int] = {}
    for place, name in [
        (activation, "quantize"),
        (activation, "gradients"),
        (activation, "mix"),
        (rounding, "soften"),
        (rounding, "gradient"),
        (loss_kernel, "squared"),
    ]:
        original = getattr(place, name)

        def counted(
            *args: object, _name: str = name, _original: Callable[..., object] = original, **kw: object
        ):  # type: ignore[no-untyped-def]
            calls[_name] = calls.get(_name, 0) + 1
            return _original(*args, **kw)

        monkeypatch.setattr(place, name, counted)
    network = tiny_network()
    quantizers = sum(len(activations_of(unit)) for unit in network.low[1:3])
    layers = sum(len(layers_of(unit)) for unit in network.low[1:3])
    steps = 4
    with torch.no_grad():
        network.low[0](tiny_images)
    before = calls.pop("quantize")
    fit(network, tiny_images, METHODS[1], steps)
    # Once a quantizer and step, and once in the prefix; once a step for all layers together.
    assert calls == {
        "quantize": before + steps * quantizers,
        "gradients": steps * quantizers,
        "mix": steps,
        "soften": steps,
        "gradient": steps,
        "squared": steps,
    }
    assert quantizers > 1 and layers > 1


def test_the_fused_loss_is_the_loss() -> None:
    for shape in [(3, 5, 7, 9), (4, 6), (2, 3, 40, 41)]:
        results = []
        out, target = torch.randn(shape), torch.randn(shape)
        for on in (True, False):
            leaf = out.clone().requires_grad_()
            with fused(on):
                value = losses.reconstruction_loss(leaf, target)
            torch.autograd.backward(3 * value)
            results.append((value.detach(), leaf.grad))
        for ours, plain in zip(*results, strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-8)


class Reads(TorchDispatchMode):
    """Counts what a GPU would have to be waited for."""

    WAITS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.overloadpacket.__name__
        if name in self.WAITS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_step_of_plain_operations_waits_for_no_value(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[list[str]] = []
    original = GroupReconstruction.step

    def watched(self: GroupReconstruction, step: int, optimizer: torch.optim.Optimizer) -> object:
        with Reads() as found:
            out = original(self, step, optimizer)
        reads.append(found.seen)
        return out

    monkeypatch.setattr(GroupReconstruction, "step", watched)
    with Reads() as found:
        torch.ones(1).item()
    assert found.seen  # it would see one
    with fused(False):
        points, _, _ = fit(tiny_network(), tiny_images, method, 12)
    # Each quantizer's zero point is read once, in the first step.
    assert len(points) == len(reads) == 12 and len(reads[0]) <= 4 and not any(reads[1:])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_bfloat16_is_close_and_leaves_float32_behind(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    exact, alpha, scales = fit(tiny_network(), tiny_images, method, 20)
    points, low_alpha, low_scales = fit(tiny_network(), tiny_images, method, 20, precision="bf16")
    assert [p.reconstruction for p in points] != [p.reconstruction for p in exact]
    for low, full in zip(points, exact, strict=True):
        assert low.reconstruction == pytest.approx(full.reconstruction, rel=0.2)
    assert low_alpha.dtype == alpha.dtype == torch.float32
    assert low_scales == pytest.approx(scales, rel=0.05)


def test_grouped_convolutions_stay_in_float32() -> None:
    seen = {}
    for groups in (1, 4):
        layer = QuantizedLayer(nn.Conv2d(4, 4, 3, groups=groups), bits=4)
        with torch.autocast("cpu", torch.bfloat16):
            seen[groups] = layer(torch.randn(1, 4, 5, 5)).dtype
    assert seen == {1: torch.bfloat16, 4: torch.float32}


@pytest.mark.parametrize("shape", [(11, 5, 7, 9), (11, 6), (11, 3, 40, 41)])
def test_the_fused_deviation_is_the_deviation(shape: tuple[int, ...]) -> None:
    quantized, full = Store.of(torch.randn(shape)), Store.of(torch.randn(shape))
    ours = deviation(quantized, full, batch=4)
    with fused(False):
        assert ours == pytest.approx(deviation(quantized, full, batch=4), rel=1e-9)
