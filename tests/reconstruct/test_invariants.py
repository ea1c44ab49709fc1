"""What holds for every method, whatever the numbers: the start, the grid, the drop, the scale of lambda."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mrecg.config.schema import CacheConfig, TrainerConfig
from mrecg.methods.genie_m import GenieM
from mrecg.methods.qdrop import QDrop
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer, activations_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.loss import reconstruction_loss
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.soft_rounding import SoftRounding
from tests.assets.plans import plan_of

Network = Callable[..., QuantizedNetwork]


def layer_of(weight: Tensor, bits: int, *, symmetric: bool, per_tensor: bool) -> QuantizedLayer:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    layer = QuantizedLayer(linear, bits=bits, symmetric=symmetric, per_tensor=per_tensor)
    layer.calibrate(kind="lp", norm=2.4, candidates=20)
    return layer


def reachable(layer: QuantizedLayer) -> tuple[Tensor, Tensor]:
    """The ends of a layer's grid as weights."""
    return -layer.zero_point * layer.scale, (layer.top - layer.zero_point) * layer.scale


LAYERS = {
    "seed": st.integers(0, 2**31),
    "bits": st.integers(2, 8),
    "symmetric": st.booleans(),
    "per_tensor": st.booleans(),
    "learn_scales": st.booleans(),
}


@given(**LAYERS)
def test_soft_weights_start_at_the_full_precision_weights(
    seed: int, bits: int, symmetric: bool, per_tensor: bool, learn_scales: bool
) -> None:
    weight = torch.randn(3, 17, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    layer = layer_of(weight, bits, symmetric=symmetric, per_tensor=per_tensor)
    SoftRounding([layer], learn_scales=learn_scales).lend()
    assert layer.soft is not None
    clipped = weight.clamp(*reachable(layer))  # beyond the ends of the grid there is no start at the weight
    torch.testing.assert_close(layer.soft.detach(), clipped, rtol=1e-9, atol=1e-9)


@given(**LAYERS)
def test_hardened_weights_lie_on_the_grid_beside_the_full_precision_weights(
    seed: int, bits: int, symmetric: bool, per_tensor: bool, learn_scales: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 17, generator=generator, dtype=torch.float64)
    layer = layer_of(weight, bits, symmetric=symmetric, per_tensor=per_tensor)
    first = layer.scale.clone()
    rounding = SoftRounding([layer], learn_scales=learn_scales)
    with torch.no_grad():
        rounding.alpha.normal_(generator=generator)
        if rounding.scale is not None:
            rounding.scale.mul_(1.25)
    rounding.lend()
    rounding.harden()
    levels = layer.hard / layer.scale + layer.zero_point
    torch.testing.assert_close(levels, layer.integers.double(), rtol=0.0, atol=1e-6)
    assert int(layer.integers.max()) <= layer.top
    torch.testing.assert_close(layer.scale, first * 1.25 if learn_scales else first)
    away = (layer.integers.double() - layer.zero_point - weight / first).abs()
    inside = (layer.integers > 0) & (layer.integers < layer.top)
    assert not inside.any() or float(away[inside].max()) < 1 + 1e-9


@pytest.mark.parametrize("method", [QDrop(), GenieM(learn_zero_points=True, lr_zero_point=0.5)])
def test_nothing_is_dropped_outside_of_the_reconstruction(
    method: QDrop, tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    reconstruct(
        network,
        tiny_images,
        plan_of(network),
        Settings(
            method=method,
            trainer=TrainerConfig(steps=3, batch_size=4),
            cache=CacheConfig(),
            precision=32,
            seed=0,
            eval_batch=8,
        ),
    )
    seen: list[tuple[ActivationQuantizer, Tensor]] = []

    def remember(quantizer: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(quantizer, ActivationQuantizer)
        seen.append((quantizer, out))

    for quantizer in activations_of(network.model):
        assert quantizer.mode == "on" and not quantizer.zero_point.requires_grad
        assert quantizer.zero_point == quantizer.zero_point.round().clamp(0, quantizer.top)
        quantizer.register_forward_hook(remember)
    once, again = network.model(tiny_images), network.model(tiny_images)
    assert torch.equal(once, again) and len(seen) == 2 * len(activations_of(network.model))
    for quantizer, out in seen:  # every element stands on the grid: none was let through
        levels = out / quantizer.scale + quantizer.zero_point
        torch.testing.assert_close(levels, levels.round().clamp(0, quantizer.top), rtol=0.0, atol=1e-4)


@given(seed=st.integers(0, 2**31), repeat=st.integers(2, 4), weight=st.floats(1e-3, 1.0))
def test_lambda_counts_against_a_loss_that_knows_no_size_of_batch_or_image(
    seed: int, repeat: int, weight: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    out, target = torch.randn(2, 3, 5, 4, 4, generator=generator, dtype=torch.float64)
    loss = reconstruction_loss(out, target)
    torch.testing.assert_close(loss, (out - target).square().sum() / (3 * 4 * 4))
    # More images or a larger image of the same leave the loss as it is; more channels add up.
    for dim, factor in ((0, 1), (2, 1), (3, 1), (1, repeat)):
        more = [torch.cat([part] * repeat, dim) for part in (out, target)]
        torch.testing.assert_close(reconstruction_loss(*more), factor * loss)
    # The regulariser adds up over the weights of all layers, times lambda, whatever the loss is.
    layers = [
        layer_of(
            torch.randn(2, 9, generator=generator, dtype=torch.float64), 3, symmetric=False, per_tensor=False
        )
        for _ in range(repeat)
    ]
    alone = []
    for part in ([layer] for layer in layers):
        rounding = SoftRounding(part)
        rounding.lend()
        alone.append(rounding.collect(weight=1.0, beta=4.0))
    together = SoftRounding(layers)
    together.lend()
    penalty = together.collect(weight=weight, beta=4.0)
    assert penalty is not None and all(part is not None for part in alone)
    torch.testing.assert_close(penalty, weight * torch.stack([p for p in alone if p is not None]).sum())
