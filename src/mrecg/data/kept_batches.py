"""Evaluation images for two passes, decoded once where they fit in memory."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mrecg.system.memory import available_memory

Batch = tuple[Tensor, Tensor]
"""Images of shape (B, C, H, W), float32, and labels of shape (B,)."""
SHARE = 0.25
"""Of the memory that is available when the first pass begins, at most this part is taken."""
LEVELS = 256


class KeptBatches:
    """Iterates over the same batches twice, and decodes them once where they fit.

    The first pass keeps what it has decoded: float32 as it is if all of it fits, else pixels of 8 bits with
    the table that gives their float32 values, to the last bit. What fits in neither way is decoded again. The
    second pass lets go of each batch as it gives it.

    Args:
        decode: Begins a pass over the images.
        count: How many images there are.
        budget: Bytes to keep, at most; None: `SHARE` of what is available now.
    """

    def __init__(self, decode: Callable[[], Iterator[Batch]], count: int, budget: int | None = None) -> None:
        self._decode, self._count = decode, count
        self._budget = int(SHARE * available_memory(torch.device("cpu"))) if budget is None else budget
        self._kept: list[tuple[Tensor | _Pixels, Tensor]] = []
        self._whole = False

    def first(self) -> Iterator[Batch]:
        """Decode and keep.

        Yields:
            Each batch.
        """
        keep, pack, used = True, False, 0
        for images, labels in self._decode():
            if keep and not used:
                pack = self._count * _bytes(images) > self._budget * len(images)
            if keep:
                held = _Pixels.of(images) if pack else images.clone()  # a network may write into its input
                size = self._budget + 1 if held is None else _bytes(held)
                used += size
                keep = used <= self._budget and self._count * size <= self._budget * len(images)
                if keep and held is not None:
                    self._kept.append((held, labels))
                else:
                    self._kept.clear()
            yield images, labels
        self._whole = keep

    def second(self) -> Iterator[Batch]:
        """Give the batches again, from memory or by decoding.

        Yields:
            Each batch.
        """
        if not self._whole:
            yield from self._decode()
            return
        self._whole = False
        self._kept.reverse()
        while self._kept:
            held, labels = self._kept.pop()
            yield held.images() if isinstance(held, _Pixels) else held, labels


class _Pixels:
    """Images of 8 bits a channel behind float32 values."""

    def __init__(self, codes: Tensor, table: Tensor) -> None:
        self.codes, self.table = codes, table

    @classmethod
    def of(cls, images: Tensor) -> "_Pixels | None":
        """Find the levels of each channel; None where there are others than 256 at equal distances."""
        if images.dim() != 4:
            return None
        codes = torch.empty_like(images, dtype=torch.uint8)
        table = torch.zeros(images.shape[1], LEVELS)
        for channel in range(images.shape[1]):
            values = images[:, channel]
            low, high = (float(value) for value in values.aminmax())
            levels = torch.unique(values.flatten()[: 1 << 16])
            step = float(levels.diff().min()) if len(levels) > 1 else 1.0
            if not high - low < step * (LEVELS - 0.5):  # NaN is neither
                return None
            codes[:, channel] = ((values - low) / step).round_()
            places = codes[:, channel].flatten().int()
            table[channel].index_copy_(0, places.long(), values.flatten())
            read = table[channel].index_select(0, places).view_as(values)
            if not torch.equal(read.view(torch.int32), values.contiguous().view(torch.int32)):
                return None
        return cls(codes, table)

    def images(self) -> Tensor:
        """The values, to the last bit."""
        parts = [
            table.index_select(0, self.codes[:, channel].flatten().int())
            for channel, table in enumerate(self.table)
        ]
        count, _, *plane = self.codes.shape
        return torch.stack([part.view(count, *plane) for part in parts], 1)


def _bytes(values: "Tensor | _Pixels") -> int:
    if isinstance(values, _Pixels):
        return _bytes(values.codes) + _bytes(values.table)
    return values.numel() * values.element_size()
