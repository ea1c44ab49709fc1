"""Labelled images that user programs hand over, and all images of their runs."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mrecg.config.inputs import DataConfig
from mrecg.data.batches import Keys, label_numbers
from mrecg.data.evaluation import Evaluation
from mrecg.data.given import Wanted, calibration_of, is_items, refuse_kind
from mrecg.data.images import Images
from mrecg.data.loaders import guarded, indices_of, item, reading
from mrecg.data.sampling import draw
from mrecg.errors import DataError

_KINDS = "give a Dataset or DataLoader of images with labels, or a function that measures a network"
_KEY = "data.evaluation_images"
_NONE = TensorDataset(torch.empty(0))


@dataclass(frozen=True)
class _Items(Dataset[Any]):
    """Items of a data set, as pairs of an image and a label; what is wrong with one is given back."""

    given: Any
    indices: tuple[int, ...]
    keys: Keys

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> "tuple[Tensor, int] | DataError":
        name = f"evaluation item {self.indices[position]}"
        try:
            return _pair(item(self.given, self.indices[position], name), self.keys, name)
        except DataError as error:
            return error


@dataclass(frozen=True)
class _Batches(Evaluation):
    """Batches that a loader or an iterable of the user gives, each pass anew."""

    source: Callable[[], Iterable[Any]] = tuple
    keys: Keys = field(default_factory=Keys)
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the batches in the user's order.

        Raises:
            DataError: One is not images with labels, or this pass has other labels than the one before.
        """
        labels: list[int] = []
        for images, numbers in _pairs(self.source(), self.keys):
            labels += numbers.tolist()
            yield images, numbers
        if self._labels and self._labels != labels:
            raise DataError(
                "evaluation: each pass gives its images in another order; turn off shuffling, or give a list"
            )
        self._labels[:] = labels


def from_python(
    config: DataConfig, calibration: Any, evaluation: Any, *, keys: Keys | None = None, drawn: bool = False
) -> Images:
    """Take images that are at hand.

    Args:
        config: The data group: name, batch size, workers, numbers of images and their seed.
        calibration: See `mrecg.data.given.calibration_of`.
        evaluation: See `evaluation_of`.
        keys: Where images and labels are in an item or batch; None: in the usual places.
        drawn: Whether so many are drawn as the configuration says; else as many as are usual.

    Raises:
        DataError: They cannot be used.
    """
    keys = keys or Keys()
    labelled, metric = evaluation_of(evaluation, config, keys)  # first: its mistakes show at once
    wanted = Wanted(count=config.calibration_images if drawn else None, seed=config.seed, keys=keys)
    return Images(config.name, *calibration_of(calibration, wanted), labelled, metric)


def evaluation_of(
    given: Any, config: DataConfig, keys: Keys
) -> tuple[Evaluation | None, Callable[[nn.Module], Any] | None]:
    """Take what a network is measured by, and look at the first image.

    Args:
        given: Images with labels, or a function of a network; None: nothing.
        config: Batch size, workers and number of images.
        keys: Where images and labels are in an item or batch.

    Returns:
        The images, or the function.

    Raises:
        DataError: It is neither, or the images are not what accuracy is counted on, or there are none.
    """
    if given is None:
        return None, None
    refuse_kind(given, "evaluation", _KINDS)
    if callable(given) and not isinstance(given, Dataset | DataLoader):
        _refuse_signature(given)
        return None, given
    found = _labelled(given, config, keys)
    if not len(found):
        raise DataError("evaluation: holds no image; give some with their labels")
    return found, None


def _labelled(given: Any, config: DataConfig, keys: Keys) -> Evaluation:
    if _array(given):
        raise DataError("evaluation: a tensor alone has no labels; give the tuple (images, labels)")
    if isinstance(given, tuple) and len(given) == 2 and _array(given[0]) and _array(given[1]):
        if len(given[0]) != len(given[1]):
            raise DataError(f"evaluation: {len(given[0])} images have {len(given[1])} labels")
        given = TensorDataset(torch.as_tensor(given[0]), torch.as_tensor(given[1]))
    if isinstance(given, DataLoader) or not is_items(given):
        return _of_batches(given, config, keys)
    first = item(given, 0, "evaluation item 0") if len(given) else None
    if first is not None and keys.images(first, "evaluation item 0: an evaluation image").dim() == 4:
        return _of_batches(given, config, keys)
    if first is not None:  # a mistake shows now, not after the work
        _pair(first, keys, "evaluation item 0")
    indices, seed = _chosen(len(given), config)
    found = _Items(given, tuple(indices), keys)
    return Evaluation(found, len(given), seed, (), config.batch_size, config.workers)


def _pair(found: Any, keys: Keys, name: str) -> tuple[Tensor, int]:
    """Take the image and the label of an item."""
    image = keys.images(found, f"{name}: an evaluation image")
    if image.dim() != 3:
        raise DataError(f"{name} has an image of shape {tuple(image.shape)}; give (C, H, W)")
    return image, int(label_numbers(_single(keys.labels(found, name)), 1, name))


def _of_batches(given: Any, config: DataConfig, keys: Keys) -> Evaluation:
    batches = indices_of(given, config.seed) if isinstance(given, DataLoader) else None
    if batches is not None:
        known = [index for batch in batches for index in batch]
        if config.evaluation_images is not None:
            places, _ = _chosen(len(known), config)
            size = given.batch_size or config.batch_size
            kept = [known[place] for place in places]
            batches = [kept[start : start + size] for start in range(0, len(kept), size)]
        source: Callable[[], Iterable[Any]] = lambda: reading(given, batches, config.seed)  # noqa: E731
        count = sum(map(len, batches))
        next(_pairs(source(), keys), None)
        seed, available = None if config.evaluation_images is None else config.seed, len(known)
        return _Batches(
            _NONE, available, seed, (), config.batch_size, 0, source=source, keys=keys, count=count
        )
    if config.evaluation_images is not None:
        raise DataError(f"{_KEY}: goes with a Dataset, or with a DataLoader that has one with a length")
    if iter(given) is given:
        given = list(_pairs(given, keys))  # a generator cannot be read twice
    count = sum(len(numbers) for _, numbers in _pairs(given, keys))
    source = lambda: given  # noqa: E731
    return _Batches(_NONE, count, None, (), config.batch_size, 0, source=source, keys=keys, count=count)


def _chosen(available: int, config: DataConfig) -> tuple[list[int], int | None]:
    if config.evaluation_images is None:
        return list(range(available)), None
    return draw(available, config.evaluation_images, seed=config.seed, what=_KEY, every="null"), config.seed


def _pairs(batches: Iterable[Any], keys: Keys) -> Iterator[tuple[Tensor, Tensor]]:
    for number, batch in enumerate(guarded(batches, "evaluation")):
        name = f"evaluation batch {number}"
        images = keys.images(batch, f"{name}: an evaluation image")
        labels = keys.labels(batch, name)
        if images.dim() == 3:
            images, labels = images.unsqueeze(0), _single(labels)
        yield images, label_numbers(labels, len(images), name)


def _single(label: Any) -> Any:
    """One label as those of a batch of one image."""
    if isinstance(label, Tensor | np.ndarray | np.generic):
        return torch.as_tensor(label).unsqueeze(0)
    return [label]


def _array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _refuse_signature(function: Callable[..., Any]) -> None:
    """Refuse a function that does not take a network alone."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # builtins may have none
        return
    try:
        signature.bind(nn.Identity())
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise DataError(f"evaluation: {name}{signature} is called with the network alone: {error}") from error
