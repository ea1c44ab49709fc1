"""Calibration and evaluation images in one record, from any source."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.config.inputs import DataConfig
from mrecg.config.validate import require_calibration
from mrecg.data.evaluation import Chosen, Evaluation, refuse_not_finite
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.sampling import Draw, digest_of, draw
from mrecg.errors import ConfigError, DataError
from mrecg.registry import DATA

Stage = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far the reading of so many images is."""


@dataclass(frozen=True)
class Images:
    """What a run sees.

    Attributes:
        name: For tables and summaries.
        calibration: Unlabelled images of shape (N, C, H, W), normalised; N is 0 where they were not wanted.
        drawn: Which images these are.
        evaluation: Labelled images; None where there is nothing to evaluate on.
        metric: A function of the user's own that measures a network instead; None: there is none.
    """

    name: str
    calibration: Tensor
    drawn: Draw
    evaluation: Evaluation | None
    metric: Callable[[nn.Module], Any] | None = None

    def __len__(self) -> int:
        return 0 if self.evaluation is None else len(self.evaluation)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the evaluation images in order.

        Yields:
            Images of shape (B, C, H, W) and labels of shape (B,).
        """
        if self.evaluation is not None:
            yield from self.evaluation.batches()

    def check_labels(self, outputs: int) -> tuple[str, ...]:
        """Compare the labels, as far as they are known without reading images, with a model's outputs.

        Args:
            outputs: How many outputs the model has.

        Returns:
            What a user should know about how they are numbered.

        Raises:
            DataError: A label is no index of the outputs.
        """
        return () if self.evaluation is None else self.evaluation.check_labels(outputs)

    @property
    def draws(self) -> dict[str, Draw | None]:
        """Which images were drawn for ``calibration`` and for ``evaluation``.

        The evaluation images are read here if `batches` has not gone over them yet.
        """
        return {
            "calibration": self.drawn,
            "evaluation": None if self.evaluation is None else self.evaluation.draw(),
        }

    def as_dict(self) -> dict[str, Any]:
        """The draws with all names, as plain values."""
        return {part: drawn.as_dict() if drawn else None for part, drawn in self.draws.items()}


def load(
    config: DataConfig,
    *,
    preprocessing: Preprocessing,
    calibration: bool = True,
    stage: Stage | None = None,
) -> Images:
    """Load what the config names.

    Args:
        config: The data group.
        preprocessing: What the model wants its images to be.
        calibration: Read the calibration images; what only evaluates does without.
        stage: Called with the number of calibration images; gives what is called with 1 after each.

    Returns:
        The images; those for evaluation are read when they are asked for.

    Raises:
        DataError: There is no image, too few, one that cannot be read or has the wrong shape, or a label is
            not right.
        ConfigError: A path does not exist, or a data set refuses its arguments.
    """
    if config.source == "none":
        raise DataError("data=none has no images; it serves `mrecg plan` with planner=modcap or published")
    if config.source == "python":
        raise ConfigError(
            "data.source: python is for images passed to mrecg.quantize; choose a group data=..."
        )
    if calibration:
        require_calibration(config)
    evaluation = _evaluation(config, preprocessing)  # first: its mistakes show before thousands are decoded
    images, drawn = (
        _calibration(config, preprocessing, stage or _silent)
        if calibration
        else of_tensor(torch.empty(0, *preprocessing.input_shape))
    )
    return Images(config.name, images, drawn, evaluation)


def of_tensor(images: Tensor) -> tuple[Tensor, Draw]:
    """Images without names, and their record."""
    count, sha256 = len(images), digest_of((), images)
    return images, Draw(images=count, available=count, seed=None, sha256=sha256, names=())


def _calibration(config: DataConfig, preprocessing: Preprocessing, stage: Stage) -> tuple[Tensor, Draw]:
    part = DATA.get(config.source).calibration(config, preprocessing)
    available, every = len(part.names), config.calibration_images == "all"
    if not available:
        raise DataError(f"data={config.name}: has no images to calibrate with")
    count, seed = available if every else int(config.calibration_images), None if every else config.seed
    indices = draw(available, count, seed=config.seed, what="data.calibration_images")
    chosen = Chosen(f"data={config.name}", part, tuple(indices), preprocessing.input_shape)
    images = torch.empty(len(chosen), *preprocessing.input_shape)
    with stage(count) as advance:
        for position in range(len(chosen)):
            images[position], _ = chosen.read(position)
            advance(1)
    refuse_not_finite(images, f"data={config.name}", chosen.names)
    return images, Draw(
        images=len(chosen),
        available=available,
        seed=seed,
        sha256=digest_of(chosen.names, images),
        names=chosen.names,
    )


def _evaluation(config: DataConfig, preprocessing: Preprocessing) -> Evaluation | None:
    part = DATA.get(config.source).evaluation(config, preprocessing)
    if part is None:
        return None
    available, seed = len(part.names), None if config.evaluation_images is None else config.seed
    if config.evaluation_images is None:
        indices = list(range(available))
    else:
        what = "data.evaluation_images"
        indices = draw(available, config.evaluation_images, seed=config.seed, what=what, every="null")
    chosen = Chosen(f"data={config.name}", part, tuple(indices), preprocessing.input_shape)
    if len(chosen):
        chosen.read(0)  # a wrong shape shows now, and not after the reconstruction
    return Evaluation(chosen, available, seed, chosen.names, config.batch_size, config.workers, chosen.labels)


@contextmanager
def _silent(count: int) -> Iterator[Callable[[int], None]]:
    yield lambda done: None
