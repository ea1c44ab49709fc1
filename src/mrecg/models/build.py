"""Build a model from its config: architecture, weights, and what its images are made into."""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import nn

from mrecg.config.build import imported
from mrecg.config.inputs import ModelConfig
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError
from mrecg.models.checkpoint import load_checkpoint
from mrecg.models.construct import construct, tensors_of
from mrecg.models.fetch import digest
from mrecg.models.preprocessing import resolve
from mrecg.models.records import Weights, as_named, unloaded


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model that is ready for use.

    Attributes:
        model: The network with its weights, in evaluation mode.
        weights: Where these come from.
        preprocessing: What its images are made into.
    """

    model: nn.Module
    weights: Weights
    preprocessing: Preprocessing


def build(config: ModelConfig, *, seed: int) -> Built:
    """Build a model with its weights.

    Args:
        config: The model group.
        seed: Seed of random initial weights, where no other weights are given.

    Returns:
        The model, the record of its weights, and its preprocessing.

    Raises:
        ConfigError: A name is unknown, the constructor refuses its arguments, a package or a file is missing.
        CheckpointError: The weights cannot be had, do not fit the model, or would need code to be run.
    """
    preprocessing = resolve(config)  # first: it costs nothing and finds what is wrong with the names
    model = architecture(config, seed=seed)
    if config.checkpoint is not None:
        weights = load_checkpoint(model, config)
    elif config.weights is not None:
        model, weights = _collection(config).published(config)
    elif config.source == "embedded":
        from mrecg.models import embedded

        model = embedded.load()
        weights = as_named("embedded", tensors_of(model.state_dict()), sha256=digest(embedded.WEIGHTS))
    else:
        weights = unloaded(f"random, seed {seed}", tensors_of(model.state_dict()))
    return Built(model=model.eval(), weights=weights, preprocessing=preprocessing)


def architecture(config: ModelConfig, *, seed: int) -> nn.Module:
    """Build a model without its weights: nothing is downloaded and no checkpoint is read.

    Args:
        config: The model group.
        seed: Seed of the random weights that it has instead.

    Returns:
        The model in evaluation mode.

    Raises:
        ConfigError: A name is unknown, the constructor refuses its arguments, or a package is missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _construct(config).eval()


def _construct(config: ModelConfig) -> nn.Module:
    if config.source == "embedded":
        from mrecg.models import embedded

        return embedded.build()
    if config.source in ("torchvision", "timm"):
        model: nn.Module = _collection(config).architecture(config)
        return model
    if config.target is None:
        raise ConfigError(
            "model.source: python is for a model passed to mrecg.quantize; choose a group model=..."
        )
    return construct(imported(config.target), config.arguments, config.target)


def _collection(config: ModelConfig) -> ModuleType:
    """The module that knows the models of a library; imported here, as both libraries load slowly."""
    if config.source == "timm":
        from mrecg.models import from_timm

        return from_timm
    from mrecg.models import from_torchvision

    return from_torchvision
