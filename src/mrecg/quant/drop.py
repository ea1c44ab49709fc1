"""Quantization drop: masks that keep the quantization of a random part of the elements.

Every random byte follows from a key and the element's place in memory order (channels last for images), by
SplitMix64. There is no state: the same draws come out on any device, in any order, and in the backward pass
again.

Source: Wei et al., QDrop, arXiv 2203.05740; Steele, Lea and Flood, Fast Splittable Pseudorandom Number
Generators, 2014.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mrecg.kernels import activation
from mrecg.kernels.activation import ALL, FIRST, GOLDEN, SECOND
from mrecg.kernels.switch import serving, triton_kernels
from mrecg.quant.affine import as_number, from_memory_order, in_memory_order

_WORD = 1 << 64


class Draw(NamedTuple):
    """One set of random bytes, and which of them quantize.

    Attributes:
        key: 0 to 2^64 - 1; or its bits as int64, one element on the device of what is drawn for.
        threshold: Bytes below it do; 0 to 256, 256 for all.
    """

    key: int | Tensor
    threshold: int

    def mask(self, like: Tensor) -> Tensor:
        """Draw 1 where an element is quantized, else 0.

        Args:
            like: Any shape and floating type.

        Returns:
            The mask in that shape and type.
        """
        count = in_memory_order(like).numel()
        below = _bytes(self.key, count, like.device).short() < self.threshold
        return from_memory_order(below.to(like.dtype), like)


class Drop:
    """The draws of a group: one for every place where an element can be dropped, in every step.

    Args:
        keep: Probability that an element is quantized, in 1/256.
        seed: Of the group.
    """

    def __init__(self, keep: float, seed: int) -> None:
        self.threshold = round(keep * ALL)
        self.seed = seed
        self._keys: Tensor | None = None
        self.begin(0)

    def begin(self, step: int) -> None:
        """Start the draws of an optimisation step.

        Args:
            step: Its number.
        """
        self._step_key, self._place, self._keys = scramble(self.seed, step), 0, None

    def keys(self, step: int, places: int) -> list[int]:
        """The keys of a step's draws, as the signed integers that a tensor holds.

        Args:
            step: Its number.
            places: How many.

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
            return Draw(self._keys[self._place - 1], self.threshold)
        return Draw(scramble(self._step_key, self._place), self.threshold)

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
        if kept.requires_grad or dropped.requires_grad or (fused := serving(kept, dropped)) is None:
            return torch.lerp(dropped, kept, draw.mask(kept))
        one, other = in_memory_order(kept), in_memory_order(dropped)
        out = torch.empty_like(one)
        if fused == "numba":
            arrays = one.numpy(), other.numpy(), out.numpy()
            activation.mix(*arrays, key=as_number(draw.key), threshold=draw.threshold)
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
    z = torch.arange(1, (count + 7) // 8 + 1, dtype=torch.int64, device=device) * _signed(GOLDEN)
    z += key if isinstance(key, Tensor) else _signed(key)
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z = (z ^ _shifted(z, shift)) * _signed(factor)
    return (z ^ _shifted(z, 31)).view(torch.uint8)[:count]


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word


def _shifted(z: Tensor, by: int) -> Tensor:
    """Shift right with zeros coming in; torch's own shift copies the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
