"""Quantization drop: masks that keep the quantization of a random part of the elements.

Source: Wei et al., QDrop, arXiv 2203.05740.
"""

import torch
from torch import Tensor


class Drop:
    """Random masks for quantization drop, from one generator.

    Args:
        keep: Probability that an element is quantized, in 1/256.
        generator: Source of the random bits, on the device of the activations.
    """

    def __init__(self, keep: float, generator: torch.Generator) -> None:
        self.threshold = round(keep * 256)
        self.generator = generator

    def mix(self, kept: Tensor, dropped: Tensor) -> Tensor:
        """Take each element from the first tensor with probability ``keep``, else from the second.

        Args:
            kept: Any shape.
            dropped: Same shape and memory layout.

        Returns:
            The mixture.
        """
        if self.threshold <= 0 or self.threshold >= 256:
            return kept if self.threshold >= 256 else dropped
        return torch.lerp(dropped, kept, self._mask(kept))

    def _mask(self, like: Tensor) -> Tensor:
        """Draw 1 with the probability ``keep``, else 0, in the tensor's type and memory order."""
        # One 64-bit draw decides eight elements. Floating-point arithmetic is vectorised, comparisons are
        # not: clamp(threshold - byte, 0, 1) is 1 exactly where byte < threshold.
        words = torch.empty((like.numel() + 7) // 8, dtype=torch.int64, device=like.device)
        bits = words.random_(-(2**63), None, generator=self.generator).view(torch.uint8)[: like.numel()]
        flat = bits.to(like.dtype).neg_().add_(self.threshold).clamp_(0, 1)
        if like.dim() == 4 and not like.is_contiguous():
            n, c, h, w = like.shape
            return flat.view(n, h, w, c).permute(0, 3, 1, 2)
        return flat.view(like.shape)
