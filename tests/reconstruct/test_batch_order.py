"""Which images a step sees: by the published SplitMix64, whatever was drawn before."""

import pytest
import torch
from torch import Tensor

from mrecg.reconstruct.batch_order import Order

IMAGES, BATCH = 10, 4


def drawn(seed: int, step: int) -> Tensor:
    """One step of SplitMix64, written again from its publication, seeds the shuffle."""
    bits = 2**64 - 1
    z = (seed + (step + 1) * 0x9E3779B97F4A7C15) & bits
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & bits
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & bits
    return torch.randperm(IMAGES, generator=torch.Generator().manual_seed(z ^ (z >> 31)))[:BATCH]


@pytest.mark.parametrize("seed", [0, 11, 2**64 - 1])
def test_a_step_has_the_same_images_in_whatever_order_steps_come(seed: int) -> None:
    order = Order(IMAGES, BATCH, seed=seed, device=torch.device("cpu"))
    for step in (0, 1, 63, 64, 200, 3, 0):
        assert torch.equal(order.at(step), drawn(seed, step))
        assert len(set(order.at(step).tolist())) == BATCH
