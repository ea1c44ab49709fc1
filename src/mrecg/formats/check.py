"""Whether an exported file does what the network does, image by image.

Both compute in float32, in another order of sums, so their values differ in the last digits. Where a value
lies on the edge between two integers of a grid, the two may round it differently, and what follows differs
visibly: a step of a 4-bit grid is a fifteenth of its range. Such a tie is no fault of a file. It is told
from one by looking at the first grid where the two differ: every value that differs there must lie at an
edge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mrecg.errors import ExportError
from mrecg.formats.differences import Differences, differences
from mrecg.graph.structure import tensors_of
from mrecg.quant.modules import ActivationQuantizer, activations_of

AT_ONCE = 8
"""Images a pass: those that are looked into are run again in the same company, on which sums may depend."""
TRACED = 64
"""Images that are looked into, at most: those with another decision first, then those that differ most."""


_REPORT = "the file does not do what the network does, and is not written; please report it with the model"


@dataclass(frozen=True)
class Bounds:
    """What counts as the same.

    Attributes:
        same: Difference of two logits that counts as none, as a fraction of the largest logit of all images.
        edge: How far from an edge a value that ties may lie, in steps of its grid.
    """

    same: float
    edge: float


EXACT = Bounds(1e-4, 1e-3)
"""Of sums in float32: they leave a ten-thousandth of a step for values at the end of an 8-bit grid."""
ROUNDED = Bounds(1e-2, 0.1)
"""Of integer kernels: a bias is rounded to the grid of input times weight."""


class Subject(Protocol):
    """What runs an exported file."""

    what: str
    bounds: Bounds

    def logits(self, images: Tensor) -> Any:
        """Give the logits of a batch; several outputs in the order that the network has them in."""

    def grids(self, images: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Give what every grid gives for a batch."""


@dataclass(frozen=True)
class Tie:
    """An image for which the file and the network differ, because a value lies between two integers.

    Attributes:
        image: Its place among the images.
        grid: The first grid that differs.
        values: How many of its values differ.
        distance: How far the farthest of them lies from an edge, steps.
        flips: Whether the decision is another one.
    """

    image: int
    grid: str
    values: int
    distance: float
    flips: bool


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well a file and the network agree.

    Attributes:
        what: The name of what ran the file.
        images: The number of images that both saw.
        same: The number of images whose outputs agree but for rounding.
        flips: The number of images with another decision, by a tie or between two logits that are equal but
            for rounding.
        largest: The largest difference of two logits, as a fraction of the largest logit (of each output).
        mean: The mean difference, as a fraction of the largest logit.
        ties: The images that were looked into.
        correct: How many of the images with a label the network and the file decide right.
        labels: The number of images with a label.
    """

    what: str
    images: int
    same: int
    flips: int
    largest: float
    mean: float
    ties: tuple[Tie, ...] = field(repr=False)
    correct: tuple[int, int] = (0, 0)
    labels: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@torch.no_grad()
def compare(
    network: nn.Module,
    subjects: Sequence[Subject],
    batches: Iterable[tuple[Tensor, Tensor | None]],
) -> list[Agreement]:
    """Compare files with the network that they were made of.

    Args:
        network: The hardened network, on the CPU.
        subjects: What runs the files.
        batches: Images of shape (B, C, H, W), with labels of shape (B,) where there are some.

    Raises:
        ExportError: A file differs from the network where nothing lies on an edge.
    """
    images, labels = [], []
    expected: list[list[Tensor]] = []
    found: list[list[list[Tensor]]] = [[] for _ in subjects]
    for batch, label in batches:
        labels.append(torch.full((len(batch),), -1) if label is None else label)
        for x in torch.split(batch, AT_ONCE):
            images.append(x)
            expected.append(tensors_of(network(x.contiguous(memory_format=torch.channels_last))))
            for subject, outputs in zip(subjects, found, strict=True):
                outputs.append(tensors_of(subject.logits(x)))
    right = torch.cat(labels)
    return [
        _agreement(network, subject, images, found=differences(subject.what, expected, outputs, right))
        for subject, outputs in zip(subjects, found, strict=True)
    ]


def _agreement(
    network: nn.Module,
    subject: Subject,
    images: Sequence[Tensor],
    *,
    found: Differences,
) -> Agreement:
    worst, flips = found.worst, found.flips
    differ = worst > subject.bounds.same
    # A decision between logits that are equal but for the last digit needs no grid to be a tie.
    order = sorted(differ.nonzero().flatten().tolist(), key=lambda i: (not flips[i], -float(worst[i])))
    rank = {image: place for place, image in enumerate(order)}
    # A grid after a mean can round a fault away from the logits of all images: the first ones are always
    # looked into.
    chosen, ties, first = {*order[:TRACED], *range(len(images[0]))}, [], 0
    for x in images:
        here = [i for i in range(first, first + len(x)) if i in chosen]
        if here:
            ties += _ties(network, subject, x, {i - first: (i, bool(flips[i])) for i in here})
        first += len(x)
    tied = {tie.image for tie in ties}
    unexplained = [i for i in order[:TRACED] if i not in tied]
    if unexplained:
        raise ExportError(
            f"{subject.what}: image {min(unexplained)} has other logits though every grid gives the same; "
            f"{_REPORT}"
        )
    return Agreement(
        what=subject.what,
        images=len(worst),
        same=len(worst) - len(tied.union(order)),
        flips=int(flips.sum()),
        largest=float(worst.max()),
        mean=found.mean,
        ties=tuple(sorted(ties, key=lambda tie: rank.get(tie.image, len(rank)))),
        correct=found.correct,
        labels=found.labels,
    )


def _ties(
    network: nn.Module, subject: Subject, images: Tensor, places: Mapping[int, tuple[int, bool]]
) -> list[Tie]:
    """Run the images again, as before, and find for some of them the first grid where the two differ."""
    seen: list[tuple[str, ActivationQuantizer, Tensor, Tensor]] = []
    paths = {id(part): path for path, part in network.named_modules()}
    hooks = [
        part.register_forward_hook(
            lambda part, inputs, output: seen.append((paths[id(part)], part, inputs[0], output))
        )
        for part in activations_of(network)
    ]
    try:
        network(images.contiguous(memory_format=torch.channels_last))
    finally:
        for hook in hooks:
            hook.remove()
    others = subject.grids(images, [name for name, *_ in seen]) if seen else []
    grids = [(*mine, theirs) for mine, theirs in zip(seen, others, strict=True)]
    found = (_tie(subject, grids, at, index, flips) for at, (index, flips) in places.items())
    return [tie for tie in found if tie is not None]


def _tie(
    subject: Subject,
    grids: Sequence[tuple[str, ActivationQuantizer, Tensor, Tensor, Tensor]],
    at: int,
    index: int,
    flips: bool,
) -> Tie | None:
    """Find the first grid where an image differs, and see to it that only values on an edge do."""
    for name, part, x, mine, theirs in grids:
        differs = (mine[at] - theirs[at]).abs() > part.scale.detach() / 2
        if not bool(differs.any()):
            continue
        position = (x[at].clamp(*part.bounds) / part.scale.detach())[differs]
        distance = float((position - position.floor() - 0.5).abs().max())
        if distance > subject.bounds.edge:
            raise ExportError(
                f"{subject.what}: image {index} differs at {name}, {distance:.2g} steps from an edge; "
                f"{_REPORT}"
            )
        return Tie(index, name, int(differs.sum()), distance, flips)
    return None
