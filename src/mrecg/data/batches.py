"""Images and labels in what user programs hand over: tensors, tuples, dicts, and lists of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mrecg.data.evaluation import as_float
from mrecg.errors import DataError, few, short

Key = str | int | None
_LABELS = ("label", "labels", "target", "targets", "y", "class", "classes", "fine_label")


@dataclass(frozen=True)
class Keys:
    """Where images and labels are in an item or a batch.

    Attributes:
        image: Key or position; None: the first of a tuple, the only image of a dict.
        label: Key or position; None: the second of a tuple, in a dict by its usual names.
    """

    image: Key = None
    label: Key = None

    def images(self, given: Any, what: str) -> Tensor:
        """Take the images of an item or a batch.

        Args:
            given: An image or a batch of images; or a tuple, list or dict that has it.
            what: What it is, for messages.

        Returns:
            Shape (C, H, W) or (B, C, H, W), float32.

        Raises:
            DataError: There is none, or several that could be meant.
        """
        found = self._image(given, what)
        if isinstance(found, Image.Image):
            raise DataError(
                f"{what} is a PIL image; give its data set a transform that makes the tensor which the model "
                "expects (ToTensor, then Normalize)"
            )
        if isinstance(found, np.ndarray):
            try:
                found = torch.from_numpy(np.ascontiguousarray(found))
            except (TypeError, ValueError) as error:  # objects, or bytes in another order
                raise DataError(
                    f"{what} is an array that torch does not take: {short(error, 200)}"
                ) from error
        if isinstance(found, Sequence) and found and all(_is_image(image, 3) for image in found):
            found = _stacked([as_float(torch.as_tensor(image), what) for image in found], what)
        images = as_float(found, what).detach()
        if images.dim() not in (3, 4):
            raise DataError(
                f"{what} has shape {tuple(images.shape)}; give images of shape (C, H, W) or batches of shape "
                "(N, C, H, W)"
            )
        return images.clone() if images.is_inference() else images

    def labels(self, given: Any, what: str) -> Any:
        """Take the labels of an item or a batch, as they are.

        Raises:
            DataError: There are none.
        """
        if isinstance(given, Mapping):
            key = self.label
            if key is None:
                key = next((name for name in _LABELS if name in given), None)
            if key is None or key not in given:
                raise DataError(
                    f"{what} has the keys {few(given)}, none of which is known for labels; give label_key=..."
                )
            return given[key]
        place = 1 if self.label is None else self.label
        if not isinstance(given, tuple | list) or not isinstance(place, int) or not 0 <= place < len(given):
            raise DataError(
                f"{what} is {_kind(given)} without labels; give pairs of images and labels, or a function of "
                "your own as evaluation"
            )
        return given[place]

    def _image(self, given: Any, what: str) -> Any:
        if isinstance(given, Mapping):
            return given[self._key(given, what)]
        if not isinstance(given, tuple | list):
            return given
        if isinstance(self.image, int):
            if not 0 <= self.image < len(given):
                raise DataError(f"{what} has {len(given)} parts; image_key={self.image} is none of them")
            return given[self.image]
        if not given:
            raise DataError(f"{what} is empty; give an image, or a tuple of image, label, ...")
        if isinstance(given, list) and all(_is_image(part, 3) for part in given):
            return given  # a batch that was not stacked
        return self._image(given[0], what) if isinstance(given[0], Mapping) else given[0]

    def _key(self, given: Mapping[Any, Any], what: str) -> Any:
        if self.image is not None:
            if self.image not in given:
                raise DataError(f"{what} has no key {self.image!r}; image_key is one of {few(given)}")
            return self.image
        found = [
            key for key, value in given.items() if _is_image(value, 3, 4) or isinstance(value, Image.Image)
        ]
        if len(found) != 1:
            which = f"{len(found)} of them could be images" if found else "none of them holds an image"
            raise DataError(f"{what} has the keys {few(given)}, and {which}; give image_key=...")
        return found[0]


def label_numbers(labels: Any, count: int, what: str) -> Tensor:
    """Take the labels of a batch.

    Args:
        labels: Whole numbers, one an image.
        count: How many images there are.
        what: What it is, for messages.

    Returns:
        Shape (count,), int64.

    Raises:
        DataError: They are something else: one-hot or soft labels, masks, or too few.
    """
    try:
        numbers = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if isinstance(numbers, Tensor) and numbers.dim() == 2 and numbers.shape == (count, 1):
        numbers = numbers.flatten()
    if (
        numbers is None
        or numbers.shape != (count,)
        or numbers.is_floating_point()
        or numbers.dtype is torch.bool
    ):
        found = _kind(labels) if numbers is None else f"of shape {tuple(numbers.shape)}, {numbers.dtype}"
        raise DataError(
            f"{what} has labels {found}; accuracy takes one whole number an image. For anything else give a "
            "function of your own as evaluation"
        )
    return numbers.detach().cpu().long()


def _is_image(value: Any, *dims: int) -> bool:
    return isinstance(value, Tensor | np.ndarray) and value.ndim in dims


def _stacked(images: Sequence[Tensor], what: str) -> Tensor:
    shapes = dict.fromkeys(tuple(image.shape) for image in images)
    if len(shapes) > 1:
        raise DataError(f"{what} has images of the shapes {few(shapes)}; resize or crop them to one")
    return torch.stack(list(images))


def _kind(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor | np.ndarray) else ""
    return f"{type(value).__name__}{shape}"
