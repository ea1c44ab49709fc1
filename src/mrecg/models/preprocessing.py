"""Preprocessing of a model's images: the user's settings first, then the metadata of its weights."""

from dataclasses import replace

from mrecg.config.inputs import DataConfig, ModelConfig
from mrecg.config.schema import RunConfig
from mrecg.data import digits
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of ImageNet's training images, on [0, 1]; what torchvision's models are trained with."""


def resolve(config: ModelConfig) -> Preprocessing:
    """Decide how a model's images are prepared; nothing is downloaded and no model is built.

    Where the user asks for another size than the metadata's, the metadata's resize changes in proportion.

    Returns:
        The complete record; as many means and deviations as channels.

    Raises:
        ConfigError: A name is unknown, a shape is not configured where no metadata has it, or the numbers of
            channels differ.
    """
    said, own = _metadata(config), config.preprocessing
    shape = config.input_shape or said.input_shape
    resize, scaled = own.resize or said.resize, False
    if own.resize is None and resize is not None and max(shape[1:]) != max(said.input_shape[1:]):
        resize, scaled = resize * max(shape[1:]) // max(said.input_shape[1:]), True
    given: dict[str, object] = {"input_shape": config.input_shape, "mean": own.mean, "std": own.std}
    given |= {"resize": own.resize, "interpolation": own.interpolation}
    configured = [key for key, value in given.items() if value is not None]
    parts = [said.origin] if len(configured) < len(given) else []
    parts += [f"{' and '.join(configured)} configured"] if configured else []
    parts += ["resize in proportion"] if scaled else []
    return replace(
        said,
        input_shape=shape,
        mean=_per_channel("mean", own.mean or said.mean, shape[0]),
        std=_per_channel("std", own.std or said.std, shape[0]),
        resize=resize,
        interpolation=own.interpolation or said.interpolation,
        origin=", ".join(parts),
    )


def told(preprocessing: Preprocessing | None, data: DataConfig) -> Preprocessing | None:
    """Return the preprocessing that the file of a quantized network is to record.

    Args:
        preprocessing: Of the run, see `resolve`; None: its images were given in Python.
        data: The run's data group.

    Returns:
        The record where the run has made its images by it; None where a data set of the user's own has, in a
        way that is unknown here.
    """
    return None if data.source in ("dataset", "python") else preprocessing


def assumed(config: RunConfig, shape: tuple[int, int, int] | None, what: str) -> Preprocessing:
    """Choose the preprocessing of a network whose file does not record one.

    Args:
        config: What was asked for: a model that says it, the numbers, or images that are ready as they are.
        shape: Channels, height and width that the file takes, where it says so.
        what: The file, for messages.

    Returns:
        The complete record; its origin says in words where it is from.

    Raises:
        ConfigError: Nothing says how pictures are normalised, or what their size is.
    """
    own, named = config.model.preprocessing, config.model
    unnamed = replace(ModelConfig(), preprocessing=own, input_shape=named.input_shape) == named
    if not unnamed or config.data.source == "digits":
        return replace(resolve(named), origin=f"taken as for model={named.name}")
    shape, ready = named.input_shape or shape, config.data.source == "dataset"
    needs = [] if shape else ["model.input_shape=[CHANNELS,HEIGHT,WIDTH]"]
    needs += [
        f"model.preprocessing.{key}=[...]"
        for key, given in (("mean", own.mean), ("std", own.std))
        if given is None and not ready
    ]
    if needs or shape is None:
        raise ConfigError(
            f"path: {what} does not say what its images are made into; give {' '.join(needs)}, or the model "
            "that it was made of by model=..."
        )
    return Preprocessing(
        input_shape=shape,
        mean=_per_channel("mean", own.mean or (0.0,), shape[0]),
        std=_per_channel("std", own.std or (1.0,), shape[0]),
        resize=own.resize,
        interpolation=own.interpolation or "bilinear",
        origin="tensors are taken as they are, pictures scaled to [0, 1]"
        if own.mean is None
        else "made as configured",
    )


def _metadata(config: ModelConfig) -> Preprocessing:
    if config.source == "torchvision":
        from mrecg.models import from_torchvision

        return from_torchvision.metadata(config)
    if config.source == "timm":
        from mrecg.models import from_timm

        return from_timm.metadata(config)
    if config.source == "embedded":
        return Preprocessing(
            input_shape=(3, digits.SIZE, digits.SIZE),
            mean=(digits.MEAN,),
            std=(digits.STD,),
            origin="embedded",
        )
    if config.input_shape is None:
        raise ConfigError(
            f"model.input_shape: needs [channels, height, width] for model.source={config.source}, "
            "which has no metadata to read it from"
        )
    return Preprocessing(
        input_shape=config.input_shape,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        origin="ImageNet's mean and std, not resized",
    )


def _per_channel(key: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise ConfigError(
            f"model.preprocessing.{key}: {len(values)} values {list(values)} for the {channels} channels of "
            f"model.input_shape; give model.preprocessing.{key} one value, or one per channel"
        )
    return values
