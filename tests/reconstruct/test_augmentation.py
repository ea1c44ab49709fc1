"""Crops and flips: what is seen lies in the image, and follows from seed and step."""

import pytest
import torch
from torch import Tensor

from mrecg.config.finishing import Augment
from mrecg.reconstruct.augmentation import ASPECT, Augmentation

MANY = 512


def drawn(kind: Augment = "crops_and_flips", *, least: float = 0.4, seed: int = 3) -> Augmentation:
    return Augmentation(kind, least=least, batch=MANY, seed=seed)


@pytest.mark.parametrize("least", [0.05, 0.4, 0.9, 1.0])
def test_crops_lie_in_the_image_and_are_as_large_as_is_said(least: float) -> None:
    maps = drawn(least=least).maps(7)
    width, height = maps[:, 0, 0].abs(), maps[:, 1, 1]
    assert bool((maps[:, 0, 1] == 0).all()) and bool((maps[:, 1, 0] == 0).all())
    for side, centre in ((width, maps[:, 0, 2]), (height, maps[:, 1, 2])):
        assert float((side + centre.abs()).max()) <= 1 + 1e-6
    area, aspect = width * height, width / height
    assert float(area.min()) >= least - 1e-5 and float(area.max()) <= 1 + 1e-5
    assert float(area.mean()) == pytest.approx((least + 1) / 2, abs=0.03)
    assert float(aspect.max()) <= ASPECT + 1e-5 and float(aspect.min()) >= 1 / ASPECT - 1e-5
    if least < 0.9:
        assert float(aspect.max()) > 1.2 and float(aspect.min()) < 0.8
        assert float(maps[:, :, 2].abs().max()) > 0.05 and abs(float(maps[:, :, 2].mean())) < 0.05


def test_a_half_is_mirrored_if_asked_for() -> None:
    assert float((drawn().maps(0)[:, 0, 0] < 0).float().mean()) == pytest.approx(0.5, abs=0.07)
    assert bool((drawn("crops").maps(0)[:, 0, 0] > 0).all())


def test_a_draw_follows_from_seed_and_step() -> None:
    one, other = drawn(), drawn()
    late = one.maps(9)
    for step in range(9):
        assert not torch.equal(other.maps(step), late)
    assert torch.equal(other.maps(9), late)
    assert not torch.equal(drawn(seed=4).maps(9), late)


def places(height: int, width: int) -> Tensor:
    """Images whose two channels say where a pixel's centre is, from -1 to 1."""
    y = (2 * torch.arange(height) + 1) / height - 1
    x = (2 * torch.arange(width) + 1) / width - 1
    one = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    return one.expand(MANY, -1, -1, -1).contiguous()


@pytest.mark.parametrize("size", [(16, 16), (12, 20), (1, 5)])
def test_pixels_come_from_where_the_map_says(size: tuple[int, int]) -> None:
    augmentation, x = drawn(), places(*size)
    seen, maps = augmentation.apply(x, 2, torch.arange(MANY)), augmentation.maps(2)
    expected = torch.einsum("nij,njhw->nihw", maps[:, :, :2], x) + maps[:, :, 2, None, None]
    for channel, count in enumerate(
        reversed(size)
    ):  # between the outermost centres and the edge: their value
        edge = 1 - 1 / count
        torch.testing.assert_close(
            seen[:, channel], expected[:, channel].clamp(-edge, edge), rtol=0, atol=1e-5
        )
    assert seen.is_contiguous(memory_format=torch.channels_last) and seen.shape == x.shape


def test_whole_images_are_only_mirrored() -> None:
    x = torch.randn(MANY, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    augmentation = drawn(least=1.0)
    mirrored = augmentation.maps(4)[:, 0, 0] < 0
    expected = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    torch.testing.assert_close(augmentation.apply(x, 4, torch.arange(MANY)), expected, rtol=0, atol=1e-5)


def test_none_changes_nothing() -> None:
    x = torch.randn(MANY, 3, 4, 4)
    assert drawn("none").apply(x, 1, torch.arange(MANY)) is x


def test_a_part_of_a_batch_gets_what_it_gets_in_the_batch() -> None:
    x, rows, augmentation = places(6, 6), torch.tensor([3, 9, 100]), drawn()
    whole = augmentation.apply(x, 3, torch.arange(MANY))
    assert torch.equal(augmentation.apply(x[rows], 3, rows), whole[rows])
