"""Labelled images in batches, and the record of which they were."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from mrecg.data.sampling import Draw, digest_of
from mrecg.data.source import Labels, Part
from mrecg.errors import DataError


@dataclass(frozen=True)
class Chosen(Dataset[Any]):
    """Some of a part's images, each checked as it is read.

    Attributes:
        source: For messages, for example ``data=imagenet``.
        part: Where they are from.
        indices: Which they are.
        shape: Channels, height and width that the model takes, pixels.
    """

    source: str
    part: Part
    indices: tuple[int, ...]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def names(self) -> tuple[str, ...]:
        """One an image."""
        return tuple(self.part.names[index] for index in self.indices)

    @property
    def labels(self) -> Labels | None:
        """Those of the chosen images; None where only reading shows them."""
        known = self.part.labels
        return known and replace(known, values=[known.values[index] for index in self.indices])

    def read(self, position: int) -> tuple[Tensor, int | None]:
        """Read one image.

        Args:
            position: 0 to ``len(self) - 1``.

        Returns:
            The image of shape (C, H, W), and its label if it has one.

        Raises:
            DataError: It cannot be read, or has another shape.
        """
        image, label = self.part.read(self.indices[position])
        if tuple(image.shape) != tuple(self.shape):
            name = self.part.names[self.indices[position]]
            raise DataError(
                f"{self.source} has images of shape {tuple(image.shape)}, the model takes "
                f"{tuple(self.shape)}; see model.input_shape (image {name})"
            )
        return image, label

    def __getitem__(self, position: int) -> "tuple[Tensor, int | None] | DataError":
        """Read for a `DataLoader`: what another process raises arrives as a page, so errors are returned."""
        try:
            image, label = self.read(position)
        except DataError as error:
            return error
        if bool(image.isfinite().all()):
            return image, label
        name = self.part.names[self.indices[position]]
        return DataError(f"{self.source}: evaluation image {name} holds NaN or infinite values; leave it out")


@dataclass(frozen=True)
class Evaluation:
    """Labelled images, and how they were drawn.

    Attributes:
        dataset: Pairs of an image of shape (C, H, W) and its label.
        available: How many they were drawn from.
        seed: Seed of the draw; None: all of them.
        names: One an image; empty where they have none.
        batch_size: Images a batch.
        workers: Processes that read; 0: this one.
        labels: What is known of their labels before they are read.
    """

    dataset: Dataset[Any]
    available: int
    seed: int | None
    names: tuple[str, ...]
    batch_size: int
    workers: int
    labels: Labels | None = None
    _labels: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def check_labels(self, outputs: int) -> tuple[str, ...]:
        """Compare the labels, as far as they are known without reading images, with a model's outputs.

        Args:
            outputs: How many outputs the model has.

        Returns:
            What a user should know about how they are numbered.

        Raises:
            DataError: A label is no index of the outputs.
        """
        known = self.labels
        if known is None or not known.values:
            return ()
        refuse_labels(known.values, outputs, known.source)
        notes = list(known.notes)
        if known.classes is not None and known.classes < outputs:
            notes.append(
                f"{known.source}: {known.classes:,} {known.counted}, {outputs:,} outputs: numbered 0 to "
                f"{known.classes - 1:,}; name the classes by data.classes_path"
            )
        return tuple(notes)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the images in order.

        Yields:
            Images of shape (B, C, H, W) and labels of shape (B,).

        Raises:
            DataError: An image cannot be read.
        """
        labels: list[int] = []
        loader = DataLoader(
            self.dataset,
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=_together,
            generator=torch.Generator(),  # the loader's own seeds; the global one is left alone
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            images, numbers = batch
            images = as_float(images, "an evaluation image")
            labels += numbers.tolist()
            yield images, numbers
        self._labels[:] = labels

    def draw(self) -> Draw:
        """Record which images these are; labels that no pass has seen yet are read now."""
        if not self._labels:
            for _ in self.batches():
                pass
        return Draw(
            images=len(self),
            available=self.available,
            seed=self.seed,
            sha256=digest_of(self.names, torch.tensor(self._labels, dtype=torch.int64)),
            names=self.names,
        )


def as_float(images: Any, what: str) -> Tensor:
    """Bring preprocessed images to float32.

    Args:
        images: What should be a tensor of a floating-point type.
        what: What they are, for the message.

    Returns:
        The images.

    Raises:
        DataError: They are pixels, or no tensor.
    """
    if isinstance(images, Tensor) and images.is_floating_point():
        return images.to(torch.float32)
    kind = str(images.dtype).removeprefix("torch.") if isinstance(images, Tensor) else type(images).__name__
    raise DataError(
        f"{what} is of type {kind}, not floating point; scale and normalise it as the model expects "
        "(for example images.float() / 255, then mean and standard deviation)"
    )


def refuse_not_finite(images: Tensor, source: str, names: Sequence[str] = (), *, first: int = 0) -> None:
    """Refuse images that hold NaN or infinity: one of them makes every scale, and so every answer, NaN.

    Args:
        images: Of shape (N, C, H, W).
        source: Where they are from, for the message.
        names: One an image; empty where they have none.
        first: Number of the first one.

    Raises:
        DataError: There is such an image.
    """
    wrong = [i for i, image in enumerate(images) if not bool(image.isfinite().all())]
    if wrong:
        name = f" ({names[wrong[0]]})" if names else ""
        seen = f"{len(images)} images" if not first else f"the images {first} to {first + len(images) - 1}"
        raise DataError(
            f"{source}: {len(wrong)} of {seen} hold NaN or infinite values, the first is image "
            f"{first + wrong[0]}{name}; leave them out, or prepare them again"
        )


def refuse_labels(labels: Sequence[int], outputs: int, source: str) -> None:
    """Refuse labels that are no index of a model's outputs.

    Args:
        outputs: How many outputs the model has.
        source: Where they are from, for the message.

    Raises:
        DataError: One of them is negative or too large.
    """
    if not len(labels):
        return
    for label in (min(labels), max(labels)):
        if not 0 <= label < outputs:
            raise DataError(
                f"{source}: an image has label {label}, the model {outputs} outputs; see data.classes_path"
            )


def _together(items: list[Any]) -> Any:
    """Stack the items of a batch, or give the first error among them."""
    return next((item for item in items if isinstance(item, DataError)), None) or default_collate(items)
