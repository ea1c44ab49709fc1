"""timm's networks: their architectures, their published weights and the preprocessing of these.

timm is optional and imported only here, and only where a run asks for it.
"""

import math
from difflib import get_close_matches
from typing import Any

from torch import nn

from mrecg.config.inputs import ModelConfig
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import CheckpointError, ConfigError, one_of
from mrecg.models.checkpoint_file import without_code
from mrecg.models.construct import check_arguments, construct, tensors_of
from mrecg.models.weights_record import Weights, as_named

LOADING = ("pretrained", "checkpoint_path")
"""Arguments of timm's that load weights."""
NEAREST = 8
"""Of more than a thousand names, as many are shown."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def architecture(config: ModelConfig) -> nn.Module:
    """Build a network with random weights.

    Raises:
        ConfigError: timm is not there, the name is unknown, or the constructor refuses its arguments.
    """
    timm, name = _timm(), _full_name(config)
    check_arguments(config.arguments, LOADING)
    arguments = {"model_name": name, "pretrained": False, **config.arguments}
    return construct(timm.create_model, arguments, name)


def published(config: ModelConfig) -> tuple[nn.Module, Weights]:
    """Build a network with weights that timm publishes; they are downloaded once.

    Args:
        config: The model group, with weights.

    Returns:
        The network and the record of its weights.

    Raises:
        ConfigError: timm is not there, or name, weights or arguments are not right.
        CheckpointError: The weights cannot be had.
    """
    timm, name = _timm(), _full_name(config)
    known = timm.get_pretrained_cfg(name)
    origin = f"timm {config.name}.{known.tag}"
    own = architecture(config)
    classes = getattr(own, "num_classes", known.num_classes)
    if classes != known.num_classes:  # timm would leave the last layer random, and say nothing
        raise ConfigError(
            f"model.arguments: num_classes={classes}, and {origin} has {known.num_classes}; "
            "leave it out, or give model.checkpoint=FILE"
        )
    try:
        with without_code():
            model: nn.Module = timm.create_model(name, pretrained=True, **config.arguments)
    except (
        Exception
    ) as error:  # the arguments are right, so the download failed, in any library that timm uses
        reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
        raise CheckpointError(
            f"model.weights: {origin} cannot be downloaded: {reason}; "
            "offline, give model.checkpoint=FILE instead"
        ) from error
    return model, as_named(origin, tensors_of(model.state_dict()), sha256=None)


def metadata(config: ModelConfig) -> Preprocessing:
    """Look up the preprocessing of the weights.

    Returns:
        What timm says of the named weights; of the network's default weights where none are named.

    Raises:
        ConfigError: timm is not there, the name or the weights are unknown, or images are to be resized in a
            way that is not ours.
    """
    known = _timm().get_pretrained_cfg(_full_name(config))
    origin = f"timm {config.name}.{known.tag}" if known.tag else f"timm {config.name}"
    method, mode = known.interpolation, known.crop_mode
    own = config.preprocessing
    if method not in INTERPOLATIONS and own.interpolation is None:
        raise ConfigError(
            f"model.preprocessing.interpolation: {origin} requires {method!r}; choose from "
            f"{', '.join(INTERPOLATIONS)}"
        )
    if mode != "center" and own.resize is None:
        raise ConfigError(
            f"model.preprocessing.resize: {origin} requires images cropped by {mode!r}, but mrecg crops the "
            "centre; give the shorter side before the crop, pixels"
        )
    channels, height, width = known.input_size
    return Preprocessing(
        input_shape=(channels, height, width),
        mean=tuple(known.mean),
        std=tuple(known.std),
        resize=math.floor(max(height, width) / known.crop_pct),
        interpolation=method,
        origin=origin,
    )


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "timm":
            raise
        raise ConfigError("model.source=timm needs the package timm: pip install 'mrecg[timm]'") from error
    return timm


def _full_name(config: ModelConfig) -> str:
    """The network's name, with the tag of its weights where one is configured."""
    timm = _timm()
    names = timm.list_models()
    if config.name not in names:
        close = get_close_matches(config.name, names, n=NEAREST, cutoff=0.3)
        others = f"{len(names) - len(close)} more of timm.list_models()"
        raise one_of("model.name", config.name, [*close, others])
    if config.weights is None:
        return config.name
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{config.name}.*")]
    if not tags:
        raise ConfigError(f"model.weights: timm publishes none for {config.name}; give model.checkpoint=FILE")
    if config.weights not in ("DEFAULT", *tags):
        raise one_of("model.weights", config.weights, ["DEFAULT", *tags])
    return config.name if config.weights == "DEFAULT" else f"{config.name}.{config.weights}"
