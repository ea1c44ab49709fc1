"""What quantizing one unit alone does to the network's predictions, with one backward pass a unit."""

import zlib
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrecg.errors import ConfigError
from mrecg.planner.pack import Alone
from mrecg.quant.modules import quantization
from mrecg.quant.quantized_network import QuantizedNetwork

IMAGES = 256
"""Images that it is measured on, at most: each unit takes a pass through all that is after it."""


def quantized_alone(
    network: QuantizedNetwork,
    images: Tensor,
    *,
    seed: int,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> list[Alone]:
    """Measure each unit.

    Args:
        network: The calibrated network.
        images: Calibration images of shape (N, C, H, W), on its device; up to `IMAGES` of them are drawn.
        seed: Of the draw.
        batch: Images a forward pass.
        progress: Called with the number of images that are done.

    Returns:
        One record a unit, in order.

    Raises:
        ConfigError: The network's output is no logits.

    Source:
        Pack-PTQ, arXiv 2505.00259, as its published code has it; the gradient is that of each image's own
        divergence, so it does not depend on the batch.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/alone".encode()))
    drawn = torch.randperm(len(images), generator=generator)[:IMAGES].sort().values.to(images.device)
    sums = torch.zeros(len(network.units), 4, dtype=torch.float64)
    for index in torch.split(drawn, batch):
        sums += _of_batch(network, images[index])
        if progress is not None:
            progress(len(index))
    return [
        Alone(prediction=p / len(drawn), slope=slope / elements, squared_error=error / elements)
        for p, slope, error, elements in sums.tolist()
    ]


@torch.enable_grad()
def _of_batch(network: QuantizedNetwork, images: Tensor) -> Tensor:
    """Sum up divergence, slope, squared error and elements of each unit, shape (units, 4)."""
    points = _full_precision(network.full, images)
    logits = points[-1]
    if logits.dim() != 2:
        raise ConfigError(
            "planner=pack compares class probabilities; for one image the network's output has shape "
            f"{(1, *logits.shape[1:])}"
        )
    entering, logs = images, logits.double().log_softmax(1)
    found = []
    for i, (low, point) in enumerate(zip(network.low, points, strict=True)):
        with torch.no_grad(), quantization(low):
            out = low(entering)
            quantized = nn.Sequential(*network.full[i + 1 :])(out).double().softmax(1)
        difference = F.kl_div(logs, quantized, reduction="sum")
        (slope,) = torch.autograd.grad(difference, point, retain_graph=True)
        error = (point.detach() - out).double()
        found.append(
            (
                float(difference.detach()),
                float((slope.double() * error).sum()),
                float(error.square().sum()),
                error.numel(),
            )
        )
        entering = point.detach()
    return torch.tensor(found, dtype=torch.float64)


def _full_precision(units: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """The output of each unit, in one graph for gradients."""
    points: list[Tensor] = []
    for unit in units:
        x = unit(x)
        if not points:
            x = x.detach().requires_grad_()
        points.append(x)
    return points
