"""Quantization drop: masks that keep the quantization of a random part of the elements.

Every random byte follows from a key and the element's place in memory order (channels last for images), by
SplitMix64. There is no state: the same draws come out on any device, in any order, and in the backward pass
again.

Source: Wei et al., QDrop, arXiv 2203.05740; Steele, Lea and Flood, Fast Splittable Pseudorandom Number
Generators, 2014.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mrecg.quant import kernels
from mrecg.quant.affine import as_number, from_memory_order, in_memory_order
from mrecg.quant.kernels.splitmix import ALL, FIRST, GOLDEN, SECOND
from mrecg.quant.kernels.switch import serving, triton_kernels

_WORD = 1 << 64


class Draw(NamedTuple):
    """One set of random bytes, and which of them quantize.

    Attributes:
        key: 0 to 2^64 - 1; or its bits as int64, one element on the device of what is drawn for.
        threshold: Bytes below it do; 0 to 256, 256 for all.
        rows: Places in a batch of the images that the draw is for, on the CPU: these get what they would get
            in the batch. None: it is the batch.
    """

    key: int | Tensor
    threshold: int
    rows: Tensor | None = None

    def mask(self, like: Tensor) -> Tensor:
        """Draw 1 where an element is quantized, else 0.

        Args:
            like: Any shape and floating type.

        Returns:
            The mask in that shape and type.
        """
        count = like.numel()
        if self.rows is None:
            drawn = _bytes(self.key, count, like.device)
        else:
            drawn = _bytes_of_rows(self.key, self.rows.to(like.device), count // max(len(self.rows), 1))
        below = drawn.short() < self.threshold
        return from_memory_order(below.to(like.dtype), like)

    def serving(self, *tensors: Tensor) -> Literal["numba", "triton"] | None:
        """Tell which kernels take these tensors with this draw, as `mrecg.quant.kernels.switch.serving`.

        Args:
            tensors: At least one; the first one is what is drawn for.

        Returns:
            None also where rows of a batch are drawn for on a GPU, or with a size not a multiple of 8.
        """
        kind = serving(*tensors)
        if self.rows is None:
            return kind
        whole = tensors[0].numel() % (8 * len(self.rows)) == 0
        return "numba" if kind == "numba" and whole else None

    def pieces(self, count: int) -> list[tuple[slice, int]]:
        """Divide a tensor so that each piece has a key of its own from its beginning on.

        Args:
            count: Its elements; a multiple of 8 times the number of rows where there are rows.

        Returns:
            Where each piece is in memory order, and its key.
        """
        key = as_number(self.key)
        if self.rows is None:
            return [(slice(None), key)]
        size = count // len(self.rows)
        # A word follows from the key and GOLDEN times its number, so beginning later is another key.
        return [
            (slice(i * size, (i + 1) * size), (key + row * (size // 8) * GOLDEN) % _WORD)
            for i, row in enumerate(self.rows.tolist())
        ]


class Drop:
    """The draws of a group: one for every place where an element can be dropped, in every step.

    Args:
        keep: Probability that an element is quantized, in 1/256.

    Attributes:
        rows: Places in the batch of the images that come, as in `Draw`; None: the batch comes.
    """

    def __init__(self, keep: float, seed: int) -> None:
        self.threshold = round(keep * ALL)
        self.seed = seed
        self.rows: Tensor | None = None
        self._keys: Tensor | None = None
        self.begin(0)

    def begin(self, step: int) -> None:
        """Start the draws of an optimisation step."""
        self._step_key, self._place, self._keys = scramble(self.seed, step), 0, None

    def keys(self, step: int, places: int) -> list[int]:
        """The keys of a step's draws, as the signed integers that a tensor holds.

        Returns:
            -2^63 to 2^63 - 1, in the order of the places.
        """
        step_key = scramble(self.seed, step)
        return [_signed(scramble(step_key, place)) for place in range(1, places + 1)]

    def follow(self, keys: Tensor) -> None:
        """Start a step whose keys lie in a tensor, which may change between the runs of a recorded graph.

        Args:
            keys: Those of `keys`, int64, shape (places,).
        """
        self._place, self._keys = 0, keys

    def draw(self) -> Draw:
        """Give the next place its draw."""
        self._place += 1
        if self._keys is not None:
            return Draw(self._keys[self._place - 1], self.threshold, self.rows)
        return Draw(scramble(self._step_key, self._place), self.threshold, self.rows)

    def mix(self, kept: Tensor, dropped: Tensor) -> Tensor:
        """Take each element from the first tensor with probability ``keep``, else from the second.

        Args:
            kept: Any shape.
            dropped: Same shape.

        Returns:
            The mixture; images are channels-last.
        """
        draw = self.draw()
        if draw.threshold <= 0 or draw.threshold >= ALL:
            return kept if draw.threshold >= ALL else dropped
        if kept.requires_grad or dropped.requires_grad or (fused := draw.serving(kept, dropped)) is None:
            return torch.lerp(dropped, kept, draw.mask(kept))
        one, other = in_memory_order(kept), in_memory_order(dropped)
        out = torch.empty_like(one)
        if fused == "numba":
            arrays = one.numpy(), other.numpy(), out.numpy()
            for piece, key in draw.pieces(out.numel()):
                kernels.activation.mix(*(array[piece] for array in arrays), key=key, threshold=draw.threshold)
        else:
            triton_kernels().mix(one, other, out, key=draw.key, threshold=draw.threshold)
        return from_memory_order(out, kept)


def scramble(key: int, number: int) -> int:
    """Derive a key from a key and a number: one step of SplitMix64.

    Args:
        key: 0 to 2^64 - 1.
        number: Not negative.

    Returns:
        0 to 2^64 - 1.
    """
    z = (key + (number + 1) * GOLDEN) % _WORD
    z = ((z ^ (z >> 30)) * FIRST) % _WORD
    z = ((z ^ (z >> 27)) * SECOND) % _WORD
    return z ^ (z >> 31)


def _bytes(key: int | Tensor, count: int, device: torch.device) -> Tensor:
    """The random bytes of a key, shape (count,): what the kernels draw, in torch's signed integers."""
    words = torch.arange(1, (count + 7) // 8 + 1, dtype=torch.int64, device=device)
    return _drawn(key, words)[:count]


def _bytes_of_rows(key: int | Tensor, rows: Tensor, size: int) -> Tensor:
    """The random bytes of some rows of a batch, ``size`` bytes each, shape (rows * size,)."""
    begin = (rows * size)[:, None]
    words = begin // 8 + torch.arange(1, size // 8 + 3, dtype=torch.int64, device=rows.device)
    drawn = _drawn(key, words).view(len(rows), -1)
    return drawn.gather(1, begin % 8 + torch.arange(size, device=rows.device)).flatten()


def _drawn(key: int | Tensor, words: Tensor) -> Tensor:
    """The bytes of the words with these numbers, which count from 1; shape (8 * words,)."""
    z = words * _signed(GOLDEN)
    z += key if isinstance(key, Tensor) else _signed(key)
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z = (z ^ _shifted(z, shift)) * _signed(factor)
    return (z ^ _shifted(z, 31)).flatten().view(torch.uint8)


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word


def _shifted(z: Tensor, by: int) -> Tensor:
    """Shift right with zeros coming in; torch's own shift copies the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
