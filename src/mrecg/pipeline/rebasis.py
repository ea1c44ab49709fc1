"""The stage before the quantizers: activations get the bases that are best to quantize."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mrecg.config.schema import FLOAT_BITS, RunConfig
from mrecg.data.sampling import evenly
from mrecg.graph.basis import Rebasis, rebase
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.quant.rebasis import Choice, choose
from mrecg.track.terminal import Display


def rebased(
    network: QuantizedNetwork, calibration: Tensor, config: RunConfig, *, display: Display | None
) -> tuple[QuantizedNetwork, Rebasis | None, Mapping[str, Any] | None]:
    """Give the activations of a network other bases, where the configuration says so.

    Args:
        network: The network, not yet calibrated; it is of no use afterwards.
        calibration: Calibration images on its device.
        display: Shows in a line what was changed.

    Returns:
        The network, the re-basis, and what summary.json says of it; None where there is none.
    """
    if config.rebasis.name == "none":
        return network, None, None
    traced = network.traced.to(calibration.device)  # its constants, which the network has copies of
    some = evenly(len(calibration), config.rebasis.images)
    choice = choose(
        traced,
        calibration[torch.cat([some[::2], some[1::2]])],  # one half is held out from the other
        network.policy.activations,
        config.rebasis,
        calibration=config.calibration,
        batch=config.data.batch_size,
    )
    rebase(traced, choice.rebasis)
    again = QuantizedNetwork(
        traced, network.units, network.bits, notes=network.notes, unquantized=network.unquantized
    )
    if display is not None:
        display.note(line(choice, config))
    values = ([list(layers) for layers in choice.shifted], list(choice.scaled), choice.images)
    return again.to(calibration.device), choice.rebasis, dict(zip(RECORD, values, strict=True))


RECORD = {
    "shifted": "For each chain of linear bottlenecks that was shifted, the layers whose outputs it sums up.",
    "scaled": "The depthwise convolutions whose input was scaled by channel.",
    "images": "The number of calibration images that decided.",
}
"""The keys of a re-basis in summary.json."""


def line(choice: Choice, config: RunConfig) -> str:
    """Say in one line what was changed."""
    shift, scale = config.rebasis.parts()
    said = []
    if choice.shifted:
        count = len(choice.shifted)
        said.append(f"{count} chain{'s' * (count > 1)} of linear bottlenecks shifted")
    if choice.scaled:
        count = len(choice.scaled)
        said.append(f"the input of {count} depthwise convolution{'s' * (count > 1)} scaled by channel")
    if said:
        return f"rebasis: {', '.join(said)}"
    if config.bits.activation == FLOAT_BITS:
        return "rebasis: no activation of this network is quantized, so nothing was changed"
    none = [
        "no sum of convolutions without an activation function that only 1x1 or unpadded ones read"
    ] * shift
    none += ["no depthwise convolution that alone reads a convolution with a ReLU or nothing"] * scale
    return f"rebasis: nothing in this network can be changed: it has {' and '.join(none)}"
