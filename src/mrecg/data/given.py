"""Images that user programs hand over: tensors, arrays, data sets, loaders, iterables and functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mrecg.data.batches import Keys
from mrecg.data.evaluation import refuse_not_finite
from mrecg.data.loaders import guarded, indices_of, item, reading, seeded
from mrecg.data.sampling import Draw, digest_of, draw
from mrecg.errors import DataError, short

USUAL = 512
"""Images that are drawn where no number is given, at most."""
_KEY = "data.calibration_images"
_KINDS = (
    "give a tensor or array of shape (N, C, H, W), a Dataset, a DataLoader, an iterable of batches, or a "
    "function that returns one of these"
)
Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How many images are drawn.

    Attributes:
        count: A number, or all; None: all of a tensor, at most `USUAL` of anything else.
        seed: Of the draw, and of what a data set draws itself.
        keys: Where images are in an item or batch.
    """

    count: int | Literal["all"] | None
    seed: int
    keys: Keys

    def of(self, available: int) -> tuple[list[int], int | None]:
        """Draw indices.

        Args:
            available: How many images there are.

        Returns:
            Ascending indices, and the seed that decided; None: all were taken.
        """
        count = min(available, USUAL) if self.count is None else self.count
        if count in ("all", available):
            return list(range(available)), None
        return draw(available, int(count), seed=self.seed, what=_KEY), self.seed


def calibration_of(given: Any, wanted: Wanted) -> tuple[Tensor, Draw]:
    """Draw the calibration images.

    Args:
        given: Whatever a user has images in; labels are not looked at.
        wanted: How many.

    Returns:
        Images of shape (N, C, H, W), float32, and the record of which they are.

    Raises:
        DataError: They are of another kind, too few, not finite, or of several shapes.
    """
    refuse_kind(given, "calibration", _KINDS)
    with seeded(wanted.seed), torch.inference_mode(mode=False), torch.no_grad():
        if callable(given) and not isinstance(given, Dataset | DataLoader | Iterable):
            given = _called(given)
        images, found = _drawn(given, wanted)
    refuse_not_finite(images, "calibration_images", found.names)
    return images, found


def refuse_kind(given: Any, name: str, kinds: str) -> None:
    """Refuse what holds no images, by what it is.

    Args:
        name: The argument.
        kinds: What is taken.

    Raises:
        DataError: It is a path, a class or a model.
    """
    if isinstance(given, str | bytes | Path):
        raise DataError(
            f"{name}: {short(given)!r} is a path; open it, for example with "
            "torchvision.datasets.ImageFolder(path, transform)"
        )
    if isinstance(given, type):
        raise DataError(f"{name}: {given.__name__} is a class; pass an object of it")
    if isinstance(given, nn.Module):
        raise DataError(f"{name}: {type(given).__name__} is a module, and holds no images; {kinds}")
    indexed = hasattr(given, "__getitem__") or isinstance(given, Iterable)
    if given is None or not (indexed or callable(given)):
        raise DataError(f"{name}: {type(given).__name__} holds no images; {kinds}")


def is_items(given: Any) -> bool:
    """Whether something has a length and gives single items by index, as data sets do."""
    if isinstance(given, Mapping | tuple | IterableDataset | DataLoader | Tensor | np.ndarray):
        return False
    return hasattr(given, "__getitem__") and hasattr(given, "__len__")


def _called(function: Callable[..., Any]) -> Any:
    try:
        given = function()
    except TypeError as error:
        raise DataError(f"calibration: the function cannot be called without arguments ({error})") from error
    refuse_kind(given, "calibration (what the function returned)", _KINDS)
    if callable(given) and not isinstance(given, Dataset | DataLoader | Iterable):
        raise DataError(f"calibration: the function returned a function; {_KINDS}")
    return given


def _drawn(given: Any, wanted: Wanted) -> tuple[Tensor, Draw]:
    if isinstance(given, tuple) and _are_batches(given):
        return _of_list(given, wanted)
    if isinstance(given, Tensor | np.ndarray | Mapping | tuple):
        return _of_tensor(given, wanted)
    batches = indices_of(given, wanted.seed) if isinstance(given, DataLoader) else None
    if batches is not None:
        return _of_loader(given, sorted({index for batch in batches for index in batch}), wanted)
    if not is_items(given):
        return _of_stream(given, wanted)
    if not len(given):
        raise DataError("calibration: there are no images; give at least one")
    first = wanted.keys.images(item(given, 0, "calibration item 0"), "calibration item 0")
    if first.dim() == 4 and not isinstance(given, Sequence):
        return _of_stream((given[index] for index in range(len(given))), wanted)
    return (_of_items if first.dim() == 3 else _of_list)(given, wanted)


def _are_batches(given: tuple[Any, ...]) -> bool:
    """Whether a tuple is batches, as ``images.split(32)`` gives them, or images with what belongs to them."""
    several = len(given) > 1 and all(
        isinstance(part, Tensor | np.ndarray) and part.ndim == 4 for part in given
    )
    if not several or len({tuple(part.shape[1:]) for part in given}) > 1:
        return False
    if len(given) == 2 and len(given[0]) == len(given[1]):
        raise DataError(
            "calibration: a pair of equal tensors may be two batches, or images and their targets; give a "
            "list of batches, or the images alone"
        )
    return True


def _of_tensor(given: Any, wanted: Wanted) -> tuple[Tensor, Draw]:
    images = wanted.keys.images(given, "calibration_images")
    if images.dim() != 4 or len(images) == 0:
        raise DataError(
            f"calibration_images: wants a tensor of shape (N, C, H, W) with N >= 1, got {tuple(images.shape)}"
        )
    if wanted.count in (None, "all", len(images)):
        return _record(images, len(images), None)
    indices, seed = wanted.of(len(images))
    return _record(images[indices], len(images), seed, indices)


def _of_items(given: Any, wanted: Wanted) -> tuple[Tensor, Draw]:
    indices, seed = wanted.of(len(given))
    parts: list[Tensor] = []
    for index in indices:
        name = f"calibration item {index}"
        parts.append(_fitting(wanted.keys.images(item(given, index, name), name), parts, name))
    return _record(torch.stack(parts), len(given), seed, indices)


def _of_list(batches: Sequence[Any], wanted: Wanted) -> tuple[Tensor, Draw]:
    parts: list[Tensor] = []
    for number, batch in enumerate(batches):
        parts += _images(batch, parts, wanted.keys, f"calibration batch {number}")
    indices, seed = wanted.of(len(parts))
    return _record(torch.stack([parts[index] for index in indices]), len(parts), seed, indices)


def _of_loader(loader: DataLoader[Any], known: list[int], wanted: Wanted) -> tuple[Tensor, Draw]:
    if not known:
        raise DataError("calibration: the DataLoader gives no batch; see its batch_size and drop_last")
    places, seed = wanted.of(len(known))
    indices = [known[place] for place in places]
    size = loader.batch_size or 32
    batches = [indices[start : start + size] for start in range(0, len(indices), size)]
    parts: list[Tensor] = []
    for number, batch in enumerate(guarded(reading(loader, batches, wanted.seed), "calibration")):
        parts += _images(batch, parts, wanted.keys, f"calibration batch {number}")
    if not parts:
        raise DataError("calibration: the DataLoader gives no images")
    named = indices if len(parts) == len(indices) else ()  # a collate function may leave some out
    return _record(torch.stack(parts), len(known), seed, named)


def _of_stream(batches: Iterable[Any], wanted: Wanted) -> tuple[Tensor, Draw]:
    most = USUAL if wanted.count is None else wanted.count
    parts: list[Tensor] = []
    for number, batch in enumerate(guarded(batches, "calibration")):
        parts += _images(batch, parts, wanted.keys, f"calibration batch {number}")
        if most != "all" and len(parts) >= most:
            del parts[most:]
            break
    if not parts:
        raise DataError("calibration: there are no images; was the iterator used before?")
    if isinstance(wanted.count, int) and len(parts) < wanted.count:
        raise DataError(f"{_KEY}: {wanted.count} images are asked for, and there are {len(parts)}")
    return _record(torch.stack(parts), len(parts), None)


def _images(batch: Any, before: list[Tensor], keys: Keys, what: str) -> list[Tensor]:
    images = keys.images(batch, what)
    if not images.numel():
        return []
    several = images if images.dim() == 4 else images.unsqueeze(0)
    _fitting(several[0], before, what)
    return list(several)


def _fitting(image: Tensor, before: list[Tensor], what: str) -> Tensor:
    if image.dim() != 3:
        raise DataError(f"{what} has shape {tuple(image.shape)}; give images of shape (C, H, W)")
    if before and image.shape != before[0].shape:
        raise DataError(
            f"{what} has images of shape {tuple(image.shape)}, those before it of "
            f"{tuple(before[0].shape)}; resize or crop them to one"
        )
    return image


def _record(
    images: Tensor, available: int, seed: int | None, indices: Sequence[int] = ()
) -> tuple[Tensor, Draw]:
    images, names = images.cpu(), tuple(map(str, indices))
    sha256 = digest_of(names, images)
    return images, Draw(images=len(images), available=available, seed=seed, sha256=sha256, names=names)
