"""Cost of giving freed memory back: ``python -m benchmarks.allocator``.

One FP step (forward and backward) of an inverted residual with large activations, with the C library's own
behaviour and with `mrecg.system.allocator.recycling`, taking turns in one process.
"""

import statistics
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from mrecg.system.allocator import recycling

ROUNDS, STEPS = 3, 4


def main(pixels: int = 112, images: int = 32) -> dict[str, float]:
    """Measure and print.

    Args:
        pixels: Side of the input.
        images: Batch.

    Returns:
        Milliseconds a step, medians: ``given back`` and ``kept``.
    """
    last = torch.channels_last
    x = torch.randn(images, 16, pixels, pixels).to(memory_format=last)
    shapes = [(96, 16, 1, 1), (96, 1, 3, 3), (24, 96, 1, 1)]
    weights = [torch.randn(shape).to(memory_format=last).requires_grad_() for shape in shapes]

    def step() -> float:
        begin = time.perf_counter()
        y = F.relu6(F.conv2d(x, weights[0]))
        y = F.relu6(F.conv2d(y, weights[1], stride=2, padding=1, groups=96))
        F.conv2d(y, weights[2]).square().mean().backward()  # type: ignore[no-untyped-call]
        return 1e3 * (time.perf_counter() - begin)

    times: dict[str, list[float]] = {"given back": [], "kept": []}
    for _ in range(ROUNDS):
        for name, way in (("given back", nullcontext()), ("kept", recycling())):
            with way:
                step()
                times[name] += [step() for _ in range(STEPS)]
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:>10}: {median:7.1f} ms a step")  # noqa: T201
    return medians


if __name__ == "__main__":
    main()
