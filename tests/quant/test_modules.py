from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.quant import ranges
from mrecg.quant.drop import Draw, Drop, scramble
from mrecg.quant.kernels import activation, jit
from mrecg.quant.kernels.switch import fused
from mrecg.quant.modules import (
    ActivationQuantizer,
    QuantizedLayer,
    activations_of,
    layers_of,
    quantization,
)
from mrecg.quant.observer import Observer

F64 = torch.float64
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9)),
    "conv2d_grouped": (lambda: nn.Conv2d(4, 8, 3, groups=2, padding=2, dilation=2, bias=False), (2, 4, 7, 7)),
    "conv2d_depthwise_reflect": (
        lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
        (2, 4, 7, 7),
    ),
    "conv2d_same": (lambda: nn.Conv2d(3, 5, (3, 1), padding="same"), (2, 3, 6, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    "transpose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), (2, 4, 5)),
    "transpose2d": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (2, 4, 5, 5),
    ),
    "transpose2d_dilated": (lambda: nn.ConvTranspose2d(3, 4, 3, dilation=2, bias=False), (2, 3, 5, 5)),
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
}


def by_the_layer_itself(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    out: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
    return out


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_quantized_layer_is_the_layer_with_the_dequantized_weight(name: str, symmetric: bool) -> None:
    make, shape = LAYERS[name]
    layer = make().to(F64)
    wrapped = QuantizedLayer(layer, bits=3, symmetric=symmetric)
    wrapped.calibrate(kind="lp", norm=2.4, candidates=20)
    x = torch.randn(shape, dtype=F64)
    scale, zero_point = wrapped.grid
    weight = (wrapped.integers.to(F64) - zero_point) * scale
    assert not torch.allclose(weight, wrapped.reference) and wrapped.integers.max() <= 7
    torch.testing.assert_close(wrapped(x), by_the_layer_itself(layer, x, weight))
    wrapped.soft = weight + 0.1
    torch.testing.assert_close(wrapped(x), by_the_layer_itself(layer, x, weight + 0.1))
    wrapped.quantized = False
    torch.testing.assert_close(wrapped(x), layer(x))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("stride", [2, (1, 2), (3, 1)])
def test_a_strided_pointwise_convolution_learns(channels: int, stride: int | tuple[int, int]) -> None:
    """In channels_last, as in a run; on some processors oneDNN writes its gradient out of bounds."""
    layer = nn.Conv2d(channels, 6, 1, stride)
    x, upstream = torch.randn(4, channels, 9, 8), torch.randn_like(layer(torch.zeros(4, channels, 9, 8)))
    wrapped = QuantizedLayer(layer, bits=3)
    grads = []
    for _ in range(20):  # what is overwritten shows when it is freed
        wrapped.soft = layer.weight.detach().to(memory_format=torch.channels_last).requires_grad_()
        out = wrapped(x.to(memory_format=torch.channels_last))
        torch.autograd.backward(out, upstream.to(memory_format=torch.channels_last))
        grads.append(wrapped.soft.grad)
    assert all(torch.equal(grads[0], grad) for grad in grads)
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    expected = torch.einsum("nohw,nihw->oi", upstream, x[..., ::rows, ::columns])
    torch.testing.assert_close(grads[0].flatten(1), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out, layer(x))


@pytest.mark.parametrize("kind", ["lp", "minmax"])
@pytest.mark.parametrize("name", ["conv2d_grouped", "transpose2d_dilated", "linear"])
def test_every_output_channel_has_its_own_grid(name: str, kind: Literal["lp", "minmax"]) -> None:
    make, shape = LAYERS[name]
    layer = make().to(F64)
    axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    wrapped = QuantizedLayer(layer, bits=8)
    reference = wrapped.reference.data.transpose(0, axis)
    reference *= torch.logspace(-3, 3, len(reference), dtype=F64).view(-1, *(1 for _ in reference.shape[1:]))
    wrapped.calibrate(kind=kind, norm=2.4, candidates=20)
    x = torch.randn(shape, dtype=F64)
    low, full = wrapped(x), layer(x)
    channel = -1 if isinstance(layer, nn.Linear) else 1
    error = (low - full).abs().transpose(0, channel).flatten(1).amax(1)
    size = full.abs().transpose(0, channel).flatten(1).amax(1)
    assert (error < 0.02 * size).all()


def test_hardening_changes_the_weight_and_keeps_full_precision() -> None:
    wrapped = QuantizedLayer(nn.Linear(4, 3), bits=2)
    wrapped.calibrate(kind="minmax", norm=2.4, candidates=2)
    before = wrapped.reference.detach().clone()
    wrapped.harden(torch.full((3, 4), 2.0))
    assert torch.equal(wrapped.hard, ((2 - wrapped.zero_point) * wrapped.scale).expand(3, 4))
    assert torch.equal(wrapped.reference, before)


def drop(keep: float, seed: int = 0) -> Drop:
    return Drop(keep, seed)


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("channels_last", [False, True])
def test_drop_keeps_the_asked_fraction(keep: float, channels_last: bool) -> None:
    x = torch.randn(8, 16, 16, 16)
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    mixed = drop(keep).mix(x, x + 1)
    from_kept, from_dropped = mixed == x, mixed == x + 1
    assert (from_kept | from_dropped).all()  # every element is exactly one of both
    assert from_kept.float().mean().item() == pytest.approx(keep, abs=4 * (0.25 / x.numel()) ** 0.5 + 1 / 512)
    # A channel or an image is not preferred.
    assert from_kept.float().mean((0, 2, 3)).sub(keep).abs().max() < 0.06
    assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_drop_at_the_ends_takes_one_side() -> None:
    x, y = torch.randn(5), torch.randn(5)
    assert torch.equal(drop(1.0).mix(x, y), x) and torch.equal(drop(0.0).mix(x, y), y)


def test_drop_follows_its_seed_and_the_memory_order() -> None:
    x, y = torch.zeros(2, 5, 3, 3), torch.ones(2, 5, 3, 3)
    first, again, other = (drop(0.5, seed).mix(x, y) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    last = torch.channels_last
    packed = drop(0.5).mix(x.to(memory_format=last), y.to(memory_format=last))
    assert torch.equal(packed, first)  # images are counted channels-last, however they lie
    source = drop(0.5)
    one, two = source.mix(x, y), source.mix(x, y)
    assert not torch.equal(one, two)  # another place
    source.begin(1)
    assert not torch.equal(source.mix(x, y), one)  # another step
    source.begin(0)
    assert torch.equal(source.mix(x, y), drop_at(0).mix(x, y))


def drop_at(step: int) -> Drop:
    source = drop(0.5)
    source.begin(step)
    return source


def splitmix(state: int) -> Iterator[int]:
    """SplitMix64 as published."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        yield z ^ (z >> 31)


@pytest.mark.parametrize("key", [0, 1234567, 2**64 - 1])
def test_the_bytes_are_those_of_splitmix(key: int) -> None:
    source = splitmix(key)
    expected = b"".join(next(source).to_bytes(8, "little") for _ in range(4))
    for dtype in (F64, torch.float32):
        mask = Draw(key, 100).mask(torch.empty(30, dtype=dtype))
        assert mask.tolist() == [float(byte < 100) for byte in expected[:30]] and mask.dtype == dtype
    assert scramble(key, 2) == list(islice(splitmix(key), 3))[2]
    kept, dropped = torch.ones(30), torch.zeros(30)
    out = torch.empty(30)
    activation.mix(kept.numpy(), dropped.numpy(), out.numpy(), key=key, threshold=100)
    assert out.tolist() == [float(byte < 100) for byte in expected[:30]]


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 70_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_fused_and_plain_drop_are_equal(size: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(jit.divide, "__kwdefaults__", {"grain": 1})
    x, y = torch.randn(size), torch.randn(size)
    with fused(False):
        expected = drop_at(3).mix(x, y)
    assert torch.equal(drop_at(3).mix(x, y), expected)


def test_drop_passes_each_gradient_to_its_source() -> None:
    x, y = (torch.randn(64, requires_grad=True) for _ in range(2))
    mixed = drop(0.5).mix(x, y)
    torch.autograd.backward(mixed, torch.ones(64))
    assert x.grad is not None and y.grad is not None
    assert torch.equal(x.grad, (mixed == x).float()) and torch.equal(x.grad + y.grad, torch.ones(64))


def small() -> nn.Sequential:
    return nn.Sequential(
        QuantizedLayer(nn.Linear(4, 4), bits=2), ActivationQuantizer(2), nn.ReLU(), ActivationQuantizer(2)
    )


def test_quantization_restores_the_state_also_after_an_error() -> None:
    net, source = small(), drop(0.5)
    activations_of(net)[0].mode = "off"
    layers_of(net)[0].quantized = False

    def state() -> list[object]:
        return [*((q.mode, q.drop) for q in activations_of(net)), *(q.quantized for q in layers_of(net))]

    before = state()
    with quantization(net, weights=True, activations="drop", drop=source):
        assert state() == [("drop", source), ("drop", source), True]
        with quantization(net, weights=False, activations="on"):
            assert state() == [("on", None), ("on", None), False]
        assert state() == [("drop", source), ("drop", source), True]
    assert state() == before
    with pytest.raises(ZeroDivisionError), quantization(net, activations="on"):
        raise ZeroDivisionError
    assert state() == before


@pytest.mark.parametrize("kind", ["lp", "minmax"])
def test_observer_over_batches_equals_one_over_all(kind: Literal["lp", "minmax"]) -> None:
    x = torch.randn(30, 8, 4, 4).pow(3)
    quantizers = []
    for batch in (30, 7):
        quantizer = ActivationQuantizer(4)
        quantizer.mode, quantizer.observer = "observe", Observer(256)
        for second in (False, True):
            quantizer.observer.second_pass = second
            for part in torch.split(x, batch):
                assert quantizer(part) is part
        summary = quantizer.observer.summary()
        assert summary.counts.sum().item() == x.numel()
        assert summary.low.item() == x.min().item() and summary.high.item() == x.max().item()
        quantizer.calibrate(kind=kind, norm=2.4, candidates=20)
        quantizers.append(quantizer)
    whole, parts = quantizers
    assert whole.scale.item() == parts.scale.item() and whole.zero_point.item() == parts.zero_point.item()
    assert whole.observer is None
    if kind == "minmax":
        expected, _ = ranges.grid(x.min().reshape(1), x.max().reshape(1), 15)
        assert whole.scale.item() == expected.item()


def test_a_relu_output_gets_zero_point_0() -> None:
    quantizer = ActivationQuantizer(4)
    quantizer.mode, quantizer.observer = "observe", Observer(128)
    x = torch.randn(2000).relu()
    quantizer(x)
    quantizer.observer.second_pass = True
    quantizer(x)
    quantizer.calibrate(kind="lp", norm=2.4, candidates=40)
    assert quantizer.zero_point.item() == 0 and quantizer.scale.item() < x.max().item() / 15 + 1e-6


def test_activation_modes() -> None:
    quantizer, x = ActivationQuantizer(2), torch.randn(4096)
    quantizer.scale.data.fill_(0.5)
    quantizer.zero_point.fill_(1.0)
    expected = (torch.round(x / 0.5) + 1).clamp(0, 3).sub(1) * 0.5
    assert torch.equal(quantizer(x), expected)
    quantizer.mode = "off"
    assert quantizer(x) is x
    quantizer.mode, quantizer.drop = "drop", drop(0.5)
    mixed = quantizer(x)
    assert ((mixed == x) | (mixed == expected)).all()
    assert (mixed == expected).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_new_zero_point_is_used_however_it_came() -> None:
    quantizer, x = ActivationQuantizer(4), torch.tensor([-2.0])

    def set_to(value: float) -> float:
        quantizer.zero_point.fill_(value)
        return float(quantizer(x))

    assert set_to(0.0) == 0 and set_to(1.0) == -1 and set_to(2.0) == -2
    quantizer.load_state_dict({"scale": torch.ones(1), "zero_point": torch.tensor([1.0])})
    assert quantizer(x).item() == -1
    quantizer.zero_point = torch.tensor([0.0])  # as moving to another device does: a new tensor, counted anew
    assert quantizer(x).item() == 0
    version = quantizer.zero_point._version
    quantizer.zero_point = torch.tensor([2.0])
    assert quantizer.zero_point._version == version and quantizer(x).item() == -2


def test_the_learned_scale_gets_the_lsq_factor() -> None:
    quantizer, x = ActivationQuantizer(4), torch.randn(3, 50)
    quantizer.scale.data.fill_(0.1)
    quantizer.zero_point.fill_(7.0)
    quantizer.scale.requires_grad_()
    upstream = torch.randn(3, 50)
    torch.autograd.backward(quantizer(x), upstream)
    level = torch.round(x / 0.1).clamp(-7, 8)
    inside = torch.round(x / 0.1) == level
    expected = (upstream * (level - inside * x / 0.1)).sum() / (x.numel() * 15) ** 0.5
    assert quantizer.scale.grad is not None
    torch.testing.assert_close(quantizer.scale.grad.squeeze(), expected, rtol=1e-4, atol=1e-5)


def test_apply_weight_keeps_the_bias() -> None:
    layer = nn.Linear(3, 2)
    wrapped = QuantizedLayer(layer, bits=8)
    wrapped.soft = torch.zeros(2, 3)
    assert torch.equal(wrapped(torch.randn(4, 3)), F.linear(torch.zeros(4, 3), torch.zeros(2, 3), layer.bias))
