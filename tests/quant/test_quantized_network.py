from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from mrecg.config.schema import BitsConfig, CacheConfig, CalibrationConfig
from mrecg.errors import CheckpointError
from mrecg.graph.partition import partition
from mrecg.graph.trace import trace
from mrecg.quant.modules import activations_of, layers_of, quantization
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Cache
from mrecg.reconstruct.calibrate import calibrate

Build = Callable[[str], nn.Module]
Trace = Callable[[str], fx.GraphModule]
QUICK = CalibrationConfig(bins=128, candidates=8)


def network(traced: fx.GraphModule, bits: int = 4) -> QuantizedNetwork:
    return QuantizedNetwork(traced, partition(traced), BitsConfig(weight=bits, activation=bits))


def chain(modules: list[fx.GraphModule], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


@pytest.mark.parametrize("name", ["embedded", "mobilenet_v2", "resnet18", "resnet50"])
@torch.no_grad()
def test_units_in_sequence_are_the_model(name: str, model_of: Build, traced_of: Trace) -> None:
    x = torch.randn(2, 3, 32 if name == "embedded" else 64, 32 if name == "embedded" else 64)
    net = network(traced_of(name))
    expected = model_of(name)(x)
    scale = expected.abs().max()
    with quantization(net.model, weights=False, activations="off"):
        for out in (chain(net.full, x), chain(net.low, x), net.model(x)):
            assert (out - expected).abs().max() <= 1e-5 * scale


@pytest.fixture(scope="module")
def calibrated(traced_of: Trace) -> QuantizedNetwork:
    torch.manual_seed(1)
    net = network(traced_of("embedded"))
    found = list(calibrate(net, torch.randn(6, 3, 32, 32), QUICK, batch=4))
    assert found == [unit.name for unit in net.units]
    return net


@torch.no_grad()
def test_model_is_the_chain_of_quantized_units(calibrated: QuantizedNetwork) -> None:
    x = torch.randn(2, 3, 32, 32)
    low = calibrated.model(x)
    assert torch.equal(low, chain(calibrated.low, x))
    assert not torch.allclose(low, chain(calibrated.full, x), rtol=0.01)
    with quantization(calibrated.model, weights=False, activations="off"):
        torch.testing.assert_close(chain(calibrated.low, x), chain(calibrated.full, x))


@torch.no_grad()
def test_every_grid_is_calibrated(calibrated: QuantizedNetwork) -> None:
    layers, activations = layers_of(calibrated.model), activations_of(calibrated.model)
    names = [
        name for name, part in calibrated.model.named_modules() if any(part is layer for layer in layers)
    ]
    assert names == list(calibrated.policy.layers) and len(names) == 53  # in network order
    assert [q.bits for q in activations] == list(calibrated.policy.activations.values())
    for layer in layers:
        ends = (layer.zero_point * layer.scale).abs() + layer.scale * layer.top
        assert ((layer.hard - layer.reference).abs() <= ends).all() and layer.integers.max() <= layer.top
    assert all(q.scale.item() not in (0.0, 1.0) and q.mode == "on" for q in activations)
    assert all(layer.quantized for layer in layers)


@torch.no_grad()
def test_a_unit_ends_with_the_quantizer_of_its_output(calibrated: QuantizedNetwork) -> None:
    x = torch.randn(1, 3, 32, 32)
    for unit, low in zip(calibrated.units[:-1], calibrated.low[:-1], strict=True):
        x = low(x)
        assert len(x.unique()) <= 2 ** calibrated.policy.activations[unit.output]


def test_calibration_is_deterministic_and_does_not_depend_on_the_batch(traced_of: Trace) -> None:
    images, states = torch.randn(5, 3, 32, 32), []
    for batch in (5, 5, 2):
        net = network(traced_of("embedded"))
        list(calibrate(net, images, QUICK, batch=batch))
        states.append(net.state())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    for key, value in states[0].items():
        torch.testing.assert_close(states[2][key], value, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_state_round_trip(calibrated: QuantizedNetwork, model_of: Build) -> None:
    state = calibrated.state()
    assert not any(key.endswith(".layer.weight") or key.endswith(".hard") for key in state)
    assert state["features.0.0.integers"].dtype == torch.uint8 and "features.0.0.bias" in state
    fresh = network(trace(model_of("embedded")).graph)
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(fresh.model(x), calibrated.model(x))
    fresh.load_state({key: value.clone() for key, value in state.items()})
    assert torch.equal(fresh.model(x), calibrated.model(x))
    assert torch.equal(chain(fresh.low, x), calibrated.model(x))


@torch.no_grad()
def test_a_loaded_state_decides_alone_which_biases_are_shared(
    calibrated: QuantizedNetwork,
) -> None:
    # Whatever was learned before: processes that loaded one state have the same tensors to agree on.
    begun = {key: value.clone() for key, value in calibrated.state().items()}
    layers, x = layers_of(calibrated.model), torch.randn(2, 3, 32, 32)
    full, before = chain(calibrated.full, x), calibrated.model(x)
    for layer in layers:
        bias = layer.own_bias()
        assert bias is not None
        bias.add_(1)
    learned = {key: value.clone() for key, value in calibrated.state().items()}
    calibrated.load_state(begun)
    assert not any(layer.owns_bias for layer in layers) and torch.equal(calibrated.model(x), before)
    calibrated.load_state(learned)
    assert all(layer.owns_bias for layer in layers) and not torch.equal(calibrated.model(x), before)
    assert torch.equal(chain(calibrated.full, x), full)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_state_that_does_not_fit_is_one_clear_line(calibrated: QuantizedNetwork, change: str) -> None:
    state = dict(calibrated.state())
    key = "features.1.conv.0.0.scale"
    value = state.pop(key)
    if change != "missing":
        state[key if change == "shape" else "features.1.nothing"] = value[:1]
    with pytest.raises(CheckpointError, match=r"features\.1\.") as error:
        calibrated.load_state(state)
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_full_precision_is_shared_and_not_touched(model_of: Build) -> None:
    model = model_of("embedded")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    net = network(trace(model).graph, bits=2)
    list(calibrate(net, torch.randn(2, 3, 32, 32), QUICK, batch=2))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Mixed(nn.Module):
    """What else a model may hold: 1, 2 and 3 dimensions, a buffer, a parameter of its own, a shared input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv3d(1, 2, 2), nn.Conv2d(2, 3, 2), nn.ConvTranspose1d(3, 2, 2)
        self.gain = nn.Parameter(torch.full((1,), 1.5))
        self.register_buffer("shift", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x)) * self.gain
        x = torch.relu(self.b(x.mean(2))) + self.shift  # after a ReLU: else it would be part of the bias
        out: Tensor = self.c(x.mean(3))
        return out


@torch.no_grad()
def test_other_dimensions_parameters_and_buffers() -> None:
    model = Mixed()
    x = torch.randn(3, 1, 4, 5, 5)
    net = network(trace(model).graph, bits=8).to(torch.device("cpu"))
    torch.testing.assert_close(chain(net.full, x), model(x))
    list(calibrate(net, x, QUICK, batch=2))
    assert torch.equal(chain(net.low, x), net.model(x))
    torch.testing.assert_close(net.model(x), model(x), rtol=0.1, atol=0.1)
    assert {"gain", "shift"} <= set(net.state())


@torch.no_grad()
def test_to_lays_weights_out_channels_last(model_of: Build) -> None:
    net = network(trace(model_of("embedded")).graph)
    x = torch.randn(2, 3, 32, 32)
    before = net.model(x)
    net.to(torch.device("cpu"))
    stem = layers_of(net.model)[0]
    assert stem.hard.is_contiguous(memory_format=torch.channels_last)
    assert stem.reference.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net.model(x), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", [4, 32])
@torch.no_grad()
def test_the_input_is_quantized_in_the_first_unit_and_in_the_model(
    model_of: Build, traced_of: Trace, activation: int
) -> None:
    traced, x = traced_of("embedded"), torch.randn(6, 3, 32, 32)
    units = partition(traced)

    def make(image: int) -> QuantizedNetwork:
        return QuantizedNetwork(traced, units, BitsConfig(weight=4, activation=activation, input=image))

    plain, net = make(32), make(3)
    for each in (plain, net):
        list(calibrate(each, x, CalibrationConfig(activation_range="minmax"), batch=4))
    first = activations_of(net.low[0])[0]
    assert first.bits == 3 and first.signed and first is activations_of(net.model)[0]
    assert [len(activations_of(low)) for low in net.low] == [
        len(activations_of(low)) + (i == 0) for i, low in enumerate(plain.low)
    ]
    assert not any(activations_of(full) for full in net.full)
    # The range is that of the images, and the rest of the network was calibrated without that.
    scale = (x.max() - x.min()) / 7
    zero = torch.round(-x.min() / scale)
    torch.testing.assert_close(first.scale.detach(), scale.reshape(1))
    assert first.zero_point.item() == zero.item() > 0
    state = net.state()
    assert all(torch.equal(value, state[key]) for key, value in plain.state().items())
    assert set(state) - set(plain.state()) == {
        f"activation_quantizers.x.{k}" for k in ("scale", "zero_point")
    }
    coarse = (torch.round(x / first.scale) + zero).clamp(0, 7).sub(zero) * first.scale
    coarse = coarse.to(memory_format=torch.channels_last)  # as kernels give it; sums depend on it
    assert torch.equal(net.model(x), plain.model(coarse)) and torch.equal(net.low[0](x), plain.low[0](coarse))
    assert torch.equal(chain(net.low, x), net.model(x))
    with quantization(net.model, weights=False, activations="off"):
        torch.testing.assert_close(net.model(x), model_of("embedded")(x), rtol=1e-4, atol=1e-4)
    fresh = make(3)
    fresh.load_state(state)
    assert torch.equal(fresh.model(x), net.model(x))


@pytest.mark.parametrize("activation", [3, 32])
@torch.no_grad()
def test_the_cache_holds_a_first_unit_with_quantized_input_exactly(traced_of: Trace, activation: int) -> None:
    traced, x = traced_of("embedded"), torch.randn(6, 3, 32, 32)
    net = QuantizedNetwork(traced, partition(traced), BitsConfig(weight=4, activation=activation, input=8))
    list(calibrate(net, x, QUICK, batch=4))
    last = activations_of(net.low[0])[-1]  # the unit's output, or its input where only that is quantized
    with Cache(CacheConfig(dtype="uint8-exact"), x.device) as cache:
        parts = (net.low[0](part) for part in torch.split(x, 4))
        kept = cache.write(parts, 6, grid=(last.scale, last.zero_point, last.top))
        assert torch.equal(next(kept.batches(6)), net.low[0](x))
        assert cache.use.dtype == ("uint8-exact" if activation == 3 else "float32")


@torch.no_grad()
def test_weights_only_has_no_activation_quantizer(traced_of: Trace) -> None:
    traced, x = traced_of("embedded"), torch.randn(2, 3, 32, 32)
    net = QuantizedNetwork(traced, partition(traced), BitsConfig(weight=2, activation=32))
    list(calibrate(net, x, QUICK, batch=2))
    assert not any(activations_of(module) for module in (net.model, *net.low))
    assert not any("activation_quantizers" in key for key in net.state())
    assert torch.equal(net.model(x), chain(net.low, x)) and not torch.equal(net.model(x), chain(net.full, x))
