"""Which images a step sees."""

import torch
from torch import Tensor

from mrecg.quant.drop import scramble

_BLOCK = 64
"""Steps whose images are drawn, and sent to the device, together."""


class Order:
    """Draws the images of every step; a step's draw depends on the seed and the step's number alone.

    Args:
        batch: How many a step sees; no image twice.
        device: Where the indices are needed.
        chosen: Numbers of the images to draw from, on the CPU; None: all.
    """

    def __init__(
        self, images: int, batch: int, *, seed: int, device: torch.device, chosen: Tensor | None = None
    ) -> None:
        self.images, self.batch, self.seed, self.device = images, batch, seed, device
        self._chosen = chosen
        self._generator = torch.Generator()
        self._begin, self._rows = 0, torch.empty(0, batch, dtype=torch.int64)

    def at(self, step: int) -> Tensor:
        """The images of a step.

        Returns:
            Indices of shape (batch,).
        """
        if not self._begin <= step < self._begin + len(self._rows):
            self._begin = step - step % _BLOCK
            rows = [self._draw(self._begin + i) for i in range(_BLOCK)]
            self._rows = torch.stack(rows).to(self.device)
        return self._rows[step - self._begin]

    def _draw(self, step: int) -> Tensor:
        self._generator.manual_seed(scramble(self.seed, step))
        if self._chosen is None:
            return torch.randperm(self.images, generator=self._generator)[: self.batch]
        return self._chosen[torch.randperm(len(self._chosen), generator=self._generator)[: self.batch]]
