"""Random crops and flips of images: a step's draw depends on the seed and the step's number alone."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mrecg.config.finishing import Augment
from mrecg.quant.drop import scramble

ASPECT = 4 / 3
"""A crop's width and height differ by this factor at most, measured in those of the image."""


class Augmentation:
    """Crops images at random, resizes the crops to the size that the images had, and may mirror them.

    The area of a crop is uniform, and so are the logarithm of its aspect, as far as the image has room for
    it, and its place: the usual training on ImageNet (Szegedy et al., arXiv 1409.4842).

    Args:
        kind: What is done.
        least: Smallest part of the area that a crop keeps, above 0 and at most 1.
        batch: Images of a step.
    """

    def __init__(self, kind: Augment, *, least: float, batch: int, seed: int) -> None:
        self.kind, self.least, self.batch, self.seed = kind, least, batch, seed
        self._generator = torch.Generator()

    def __bool__(self) -> bool:
        return self.kind != "none"

    def maps(self, step: int) -> Tensor:
        """Draw where each image of a step is looked at.

        Returns:
            Affine maps of coordinates from -1 to 1, of the result to the image, shape (batch, 2, 3).
        """
        self._generator.manual_seed(scramble(self.seed, step))
        area, aspect, x, y, flip = torch.rand(5, self.batch, generator=self._generator)
        area = self.least + (1 - self.least) * area
        aspect = ((2 * aspect - 1) * math.log(ASPECT)).exp().clamp(area, 1 / area)
        width, height = (area * aspect).sqrt().clamp_max(1), (area / aspect).sqrt().clamp_max(1)
        side = torch.where((flip < 0.5) & (self.kind == "crops_and_flips"), -width, width)
        zero = torch.zeros_like(width)
        rows = [side, zero, (1 - width) * (2 * x - 1), zero, height, (1 - height) * (2 * y - 1)]
        return torch.stack(rows, 1).view(self.batch, 2, 3)

    def apply(self, images: Tensor, step: int, rows: Tensor) -> Tensor:
        """Augment images of a step, on their device.

        Args:
            images: Shape (B, C, H, W).
            rows: Their places in the step's batch, shape (B,), on the CPU.

        Returns:
            The same shape, interpolated between pixels of the same image alone.
        """
        if not self:
            return images
        maps = self.maps(step)[rows].to(images)
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        found = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return found.contiguous(memory_format=torch.channels_last)
