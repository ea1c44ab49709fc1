"""Evaluation images are decoded once for two passes where they fit; the passes are bit-identical."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mrecg.data.kept_batches import Batch, KeptBatches

MEAN, STD = (
    torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1),
    torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
)


class Source:
    """Ten images in batches of four; counts the passes."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.passes = images, 0

    def __call__(self) -> Iterator[Batch]:
        self.passes += 1
        for part in torch.arange(len(self.images)).split(4) if len(self.images) else ():
            yield self.images[part].clone(), part


def pixels(count: int = 10) -> Tensor:
    drawn = torch.randint(0, 256, (count, 3, 9, 7), generator=torch.Generator().manual_seed(0))
    return (drawn.float() / 255 - MEAN) / STD


def noise() -> Tensor:
    return torch.randn(10, 3, 9, 7, generator=torch.Generator().manual_seed(0))


FLOATS = 10 * 3 * 9 * 7 * 4
TABLES = 3 * 3 * 256 * 4


@pytest.mark.parametrize(
    ("images", "budget", "passes"),
    [
        (pixels(), FLOATS, 1),
        (noise(), FLOATS, 1),
        (noise(), FLOATS - 1, 2),
        (pixels(), 0, 2),
        (pixels(10).repeat(1, 1, 8, 8), 64 * FLOATS // 4 + 2 * TABLES, 1),  # as 8 bits
        (noise().repeat(1, 1, 8, 8), 64 * FLOATS // 4 + 2 * TABLES, 2),
        (pixels(0), 0, 1),
    ],
)
def test_images_are_decoded_once_where_they_fit(images: Tensor, budget: int, passes: int) -> None:
    source = Source(images)
    kept = KeptBatches(source, len(images), budget)
    first = [(x.clone(), labels) for x, labels in kept.first()]
    second = list(kept.second())
    assert source.passes == passes
    assert len(first) == len(second) == -(-len(images) // 4)
    for (x, labels), (again, same) in zip(first, second, strict=True):
        assert torch.equal(x.view(torch.int32), again.contiguous().view(torch.int32))
        assert torch.equal(labels, same)


def test_a_network_that_writes_into_its_input_changes_nothing() -> None:
    source = Source(pixels())
    kept = KeptBatches(source, 10, FLOATS)
    for x, _ in kept.first():
        x.zero_()
    assert torch.equal(torch.cat([x for x, _ in kept.second()]), source.images)


def test_what_is_no_longer_of_8_bits_is_decoded_again() -> None:
    images = pixels().repeat(1, 1, 8, 8)
    images[9, 2, 3, 3] += 1e-3
    source = Source(images)
    kept = KeptBatches(source, 10, 64 * FLOATS // 4 + 2 * TABLES)
    assert len(list(kept.first())) == len(list(kept.second())) == 3
    assert source.passes == 2


def test_a_pass_that_was_broken_off_is_not_given_for_a_whole_one() -> None:
    source = Source(pixels())
    kept = KeptBatches(source, 10, FLOATS)
    next(kept.first())
    assert len(list(kept.second())) == 3
    assert source.passes == 2


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_signs_of_zero_are_kept(value: float) -> None:
    images = torch.zeros(8, 1, 40, 40)
    images[5, 0, 0, 0] = value
    source = Source(images)
    kept = KeptBatches(source, 8, images.numel() * 4 - 1)
    list(kept.first())
    again = torch.cat([x for x, _ in kept.second()])
    assert torch.equal(again.view(torch.int32), images.view(torch.int32))
