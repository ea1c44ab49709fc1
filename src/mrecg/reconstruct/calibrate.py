"""The range search of a whole network, unit by unit."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from mrecg.config.schema import CacheConfig, CalibrationConfig
from mrecg.data.sampling import evenly
from mrecg.quant.modules import activations_of, layers_of, quantization
from mrecg.quant.observer import Observer
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import activation_search, output_ranges
from mrecg.reconstruct.activation_cache import Cache, Store


@torch.no_grad()
def calibrate(
    network: QuantizedNetwork,
    images: Tensor,
    config: CalibrationConfig,
    *,
    batch: int,
    cache: CacheConfig | None = None,
) -> Iterator[str]:
    """Find every range: of weights, and of activations from full-precision activations.

    Args:
        network: The network, changed in place.
        images: Shape (N, C, H, W), on the network's device.
        config: How ranges are found.
        batch: Images a forward pass.
        cache: Where activations are kept, exactly whatever its type; None: by the schema's defaults.

    Yields:
        The name of each unit when it is done.
    """
    with Cache(replace(cache or CacheConfig(), dtype="float32"), images.device) as kept:
        yield from _calibrate(network, Store.of(images), config, batch, kept)


def _calibrate(
    network: QuantizedNetwork, values: Store, config: CalibrationConfig, batch: int, kept: Cache
) -> Iterator[str]:
    following = [after for _, after in pairwise([*network.full, nn.Identity()])]
    for unit, low, after in zip(network.units, network.low, following, strict=True):
        if config.weight_range == "output":
            some = torch.split(evenly(values.images, output_ranges.IMAGES), batch)
            output_ranges.find_ranges(low, map(values.take, some))
        else:
            for layer in layers_of(low):
                layer.calibrate(kind=config.weight_range, norm=config.norm, candidates=config.candidates)
        quantizers = activations_of(low)
        for quantizer in quantizers:
            quantizer.observer = Observer(config.bins)
        with quantization(low, weights=False, activations="observe"):
            out = kept.write((low(x) for x in values.batches(batch)), values.images)
            if config.activation_range != "minmax" and quantizers:
                for quantizer in quantizers:
                    assert quantizer.observer is not None
                    quantizer.observer.second_pass = True
                for x in values.batches(batch):
                    low(x)
        kind: Literal["lp", "minmax"] = "minmax" if config.activation_range == "minmax" else "lp"
        for quantizer in quantizers:
            quantizer.calibrate(kind=kind, norm=config.norm, candidates=config.candidates)
        if config.activation_range == "output":
            some = torch.split(evenly(values.images, activation_search.IMAGES), batch)
            activation_search.refine(low, after, [values.take(index) for index in some])
        values.free()
        values = out
        yield unit.name
