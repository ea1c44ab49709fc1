"""The choice of each layer's width under ``bits.budget``, before anything else is done to the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mrecg.config.bit_keys import bytes_of
from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError
from mrecg.planner.widths import choose_widths
from mrecg.quant.bit_widths import policy
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.quant.size import quantized_bytes
from mrecg.reconstruct.held_out import divided
from mrecg.reconstruct.sensitivity import weight_costs
from mrecg.track.terminal import Display, Quiet

HELD_OUT, IMAGES = 0.25, 128
"""Fraction of the calibration images that layers are quantized alone on, and how many at most."""
FEW = 32
"""As many are enough to choose widths, whose harms differ by factors. On the embedded network what 32 images
choose harms 1 to 3 % more than what 128 do; one width for all layers harms at least four times as much."""
MOST_BITS = 8


@dataclass(frozen=True)
class _Sizes:
    """What widths cost.

    Attributes:
        by_layer: Bits or bytes of each layer whose width is chosen, by width.
        limit: What they may take together.
        rest: Bytes of all else; 0 where bits are counted.
    """

    by_layer: Mapping[str, Mapping[int, int]]
    limit: float
    rest: int = 0


def held_out(images: Tensor, seed: int, most: int = IMAGES) -> tuple[Tensor, Tensor]:
    """Divide calibration images into those for ranges and those for measuring; a single one is both.

    Args:
        images: Shape (N, C, H, W).
        most: Images of the second part, at most.

    Returns:
        Both parts.
    """
    if len(images) == 1:
        return images, images
    learned, held = divided(len(images), HELD_OUT, seed)
    if len(held) > most:  # from all over the images, which may be sorted by class
        held = held[torch.arange(most) * len(held) // most]
    return images[learned.to(images.device)], images[held.to(images.device)]


def with_widths(
    network: QuantizedNetwork,
    images: Tensor,
    config: RunConfig,
    build: Callable[..., QuantizedNetwork],
    *,
    display: Display | None = None,
) -> tuple[QuantizedNetwork, RunConfig]:
    """Replace a budget by the bits of each layer.

    Args:
        network: The network, not calibrated; of no use afterwards where there is a budget.
        images: Calibration images on its device.
        config: The configuration.
        build: Builds the network for the ``config`` that it is given.
        display: Shows progress, and in a line what was chosen.

    Returns:
        The network and the configuration with bits for each layer, and their average, rounded, in
        ``bits.weight``; both as they are where there is no budget.

    Raises:
        ConfigError: No widths keep the budget, or there is no layer to choose for.
    """
    if config.bits.budget is None:
        return network, config
    graph = network.traced.graph
    usual = [policy(graph, replace(config.bits, budget=None, weight=bits)).layers for bits in (2, 3)]
    names = [name for name, bits in usual[0].items() if usual[1][name] != bits]
    if not names:
        raise ConfigError(
            "bits.budget: there is no layer whose width can be chosen; patterns and bits.boundary name all"
        )
    widths = range(config.bits.weight, MOST_BITS + 1)
    sizes = _sizes(network, names, config)
    least = sum(own[widths[0]] for own in sizes.by_layer.values())
    if least > sizes.limit:
        raise ConfigError(
            f"bits.budget: {config.bits.budget} is less than the {(least + sizes.rest) / 1000:.1f} kB that "
            f"the network has with {widths[0]} bits in each layer that can be chosen; give more, or lower "
            "bits.weight or bits.boundary"
        )
    _, held = held_out(images, config.seed, FEW)
    with (display or Quiet()).stage("bits of each layer", len(network.units)) as advance:
        costs = weight_costs(
            network,
            held,
            dict.fromkeys(names, widths),
            config.calibration,
            batch=config.data.batch_size,
            progress=advance,
        )
    chosen = choose_widths(
        [{bits: costs[name][bits].kl for bits in widths} for name in names],
        [{bits: sizes.by_layer[name][bits] for bits in widths} for name in names],
        sizes.limit,
    )
    layers = {**config.bits.layers, **dict(zip(names, chosen, strict=True))}
    made = replace(config, bits=replace(config.bits, budget=None, layers=layers))
    average = average_bits(network, config, made)
    assert average is not None
    if display is not None:
        used = ", ".join(f"{chosen.count(bits)} of {bits}" for bits in widths if bits in chosen)
        display.note(f"bits.budget={config.bits.budget}: {used} bits, {average:.2f} on average")
    made = replace(made, bits=replace(made.bits, weight=round(average)))
    return build(config=made).to(images.device), made


def average_bits(network: QuantizedNetwork, asked: RunConfig, config: RunConfig) -> float | None:
    """Count the average bits of the weights whose widths were chosen.

    Args:
        network: The network with these widths.
        asked: The configuration as it was given to `with_widths`.
        config: What that gave.

    Returns:
        The average; None where there was no budget.
    """
    if asked.bits.budget is None:
        return None
    chosen = {name: bits for name, bits in config.bits.layers.items() if name not in asked.bits.layers}
    counts = {name: _layer(network, name).reference.numel() for name in chosen}
    return sum(counts[name] * bits for name, bits in chosen.items()) / sum(counts.values())


def _layer(network: QuantizedNetwork, name: str) -> QuantizedLayer:
    layer = network.model.get_submodule(name)
    assert isinstance(layer, QuantizedLayer)
    return layer


def _sizes(network: QuantizedNetwork, names: list[str], config: RunConfig) -> _Sizes:
    widths = range(config.bits.weight, MOST_BITS + 1)
    budget = config.bits.budget
    if isinstance(budget, str):
        by_layer = {name: {bits: _bytes(_layer(network, name), bits) for bits in widths} for name in names}
        rest = quantized_bytes(network)["quantized"] - sum(
            _bytes(_layer(network, name), network.policy.layers[name]) for name in names
        )
        return _Sizes(by_layer, bytes_of(budget) - rest, rest)
    counts = {name: _layer(network, name).reference.numel() for name in names}
    by_layer = {name: {bits: count * bits for bits in widths} for name, count in counts.items()}
    return _Sizes(by_layer, float(budget or 0) * sum(counts.values()))


def _bytes(layer: QuantizedLayer, bits: int) -> int:
    """As `mrecg.quant.size.quantized_bytes` counts integers and zero points."""
    return sum((tensor.numel() * bits + 7) // 8 for tensor in (layer.integers, layer.zero_point))
