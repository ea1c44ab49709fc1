"""How far the outputs of a file are from those of the network, over all images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mrecg.errors import ExportError

Outputs = Sequence[Sequence[Tensor]]
"""By pass, all tensors that were given for its images."""


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Differences of all outputs, image by image.

    Attributes:
        worst: Largest difference of an image, as a fraction of the largest value of the output that it is in,
            shape (N,).
        mean: Mean difference, likewise.
        flips: Whether an image's largest value is in another place of some output, or a class index differs,
            shape (N,).
        labels: Images whose label counts: none where the network has something else than class scores.
        correct: Of these, how many the network and the file decide right.
    """

    worst: Tensor
    mean: float
    flips: Tensor
    labels: int
    correct: tuple[int, int]


def differences(what: str, expected: Outputs, found: Outputs, labels: Tensor) -> Differences:
    """Compare outputs.

    Args:
        what: What ran the file, for messages.
        expected: What the network has given.
        found: What the file has given.
        labels: Of the images, shape (N,); -1 where there is none.

    Raises:
        ExportError: The file gives other shapes, or values that are not finite.
    """
    pairs = []
    if len(expected[0]) != len(found[0]):
        raise ExportError(f"{what}: gives {len(found[0])} outputs, the network {len(expected[0])}")
    for place in range(len(expected[0])):
        wanted, given = ([outputs[place] for outputs in side] for side in (expected, found))
        pair = [torch.cat(side) if side[0].dim() else torch.stack(side) for side in (wanted, given)]
        if pair[0].shape != pair[1].shape or not bool(pair[1].isfinite().all()):
            raise ExportError(
                f"{what}: gives {tuple(pair[1].shape)}, the network {tuple(pair[0].shape)}; "
                "or values that are not finite"
            )
        if len(pair[0]) == len(labels):  # otherwise a constant of the network's own
            pairs.append((pair[0].reshape(len(labels), -1), pair[1].reshape(len(labels), -1)))
    distances, flips = [torch.zeros(len(labels), 0)], torch.zeros(len(labels), dtype=torch.bool)
    for wanted_rows, rows in pairs:
        if wanted_rows.is_floating_point():
            tiny = torch.finfo(wanted_rows.dtype).tiny
            distances.append((rows - wanted_rows).abs() / wanted_rows.abs().max().clamp_min(tiny))
            flips |= rows.argmax(1) != wanted_rows.argmax(1)
        else:
            flips |= (rows != wanted_rows).any(1)
    distance = torch.cat(distances, 1)
    known = labels >= 0 if len(pairs) == 1 and expected[0][0].dim() == 2 else torch.zeros_like(flips)
    right = [int((side.argmax(1) == labels)[known].sum()) if bool(known.any()) else 0 for side in pairs[0]]
    return Differences(
        worst=distance.amax(1),
        mean=float(distance.mean()),
        flips=flips,
        labels=int(known.sum()),
        correct=(right[0], right[1]),
    )
