"""torchvision's classifiers: architectures, published weights, and the preprocessing of these."""

import sys
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision import models

from mrecg.config.inputs import ModelConfig
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import CheckpointError, MrecgError, one_of
from mrecg.models.checkpoint_file import without_code
from mrecg.models.construct import check_arguments, construct, tensors_of
from mrecg.models.fetch import digest
from mrecg.models.weights_record import Weights, as_named

LOADING = ("weights", "pretrained")
"""Arguments of torchvision's that load weights."""
RECENTRED = ("googlenet", "inception_v3")
"""Networks trained on inputs of mean and deviation 0.5; with published weights torchvision lets them turn
ImageNet's normalisation into this one themselves (``transform_input``), and the metadata is for that case."""


def architecture(config: ModelConfig) -> nn.Module:
    """Build a network with random weights.

    Returns:
        The network; it computes what it would compute with the configured weights in it.

    Raises:
        ConfigError: The name is unknown, or the constructor refuses its arguments.
    """
    _check_name(config)
    check_arguments(config.arguments, LOADING)
    own: dict[str, Any] = {}
    if config.name in RECENTRED:  # init_weights is torchvision's default; it warns where that is not said
        own = {"transform_input": _transforms_input(config), "init_weights": True}
    arguments = {"weights": None, **own, **config.arguments}
    return construct(_maker(config.name), arguments, config.name)


def published(config: ModelConfig) -> tuple[nn.Module, Weights]:
    """Build a network with weights that torchvision publishes; they are downloaded once.

    Args:
        config: The model group, with weights.

    Returns:
        The network and the record of its weights.

    Raises:
        ConfigError: Name, weights or arguments are not right.
        CheckpointError: The weights cannot be had, or do not fit the arguments.
    """
    member = _member(config)
    assert member is not None
    file = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlparse(member.url).path).name
    check_arguments(config.arguments, LOADING)
    arguments = {"weights": member, "progress": sys.stderr.isatty(), **config.arguments}
    try:
        with without_code():
            model = construct(_maker(config.name), arguments, config.name)
    except (OSError, HTTPException) as error:
        raise CheckpointError(
            f"model.weights: {member} cannot be downloaded: {error}; "
            "offline, give model.checkpoint=FILE instead"
        ) from error
    except MrecgError:
        raise
    except Exception as error:  # a damaged file stops the unpickler anywhere
        reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
        raise CheckpointError(f"model.weights: {member} cannot be loaded from {file}: {reason}") from error
    checksum = digest(file) if file.is_file() else None
    return model, as_named(f"torchvision {member}", tensors_of(model.state_dict()), sha256=checksum)


def metadata(config: ModelConfig) -> Preprocessing:
    """Look up the preprocessing of the weights.

    Returns:
        What torchvision says of the named weights; of the network's default weights where none are named.

    Raises:
        ConfigError: The name or the weights are unknown.
    """
    member = _member(config)
    if member is None:
        member = models.get_model_weights(config.name).DEFAULT
    said = member.transforms()
    (crop,), (resize,) = said.crop_size, said.resize_size
    mean, std, origin = tuple(said.mean), tuple(said.std), str(member)
    if config.name in RECENTRED and not _transforms_input(config):
        mean = std = (0.5, 0.5, 0.5)
        origin += " without transform_input"
    return Preprocessing(
        input_shape=(3, crop, crop),
        mean=mean,
        std=std,
        resize=resize,
        interpolation=said.interpolation.value,
        origin=origin,
    )


def _transforms_input(config: ModelConfig) -> bool:
    return bool(config.arguments.get("transform_input", config.weights is not None))


def _check_name(config: ModelConfig) -> None:
    names = models.list_models(module=models)
    if config.name not in names:
        raise one_of("model.name", config.name, names)


def _member(config: ModelConfig) -> Any:
    """The configured entry of the network's enumeration of weights; None where none is configured."""
    _check_name(config)
    if config.weights is None:
        return None
    known = models.get_model_weights(config.name)
    name = config.weights.removeprefix(f"{known.__name__}.")
    if name not in known.__members__:
        raise one_of("model.weights", config.weights, known.__members__)
    return known[name]


def _maker(name: str) -> Any:
    return models.get_model_builder(name)
