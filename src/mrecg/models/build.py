"""Build a model from its config, with its weights and its preprocessing."""

from dataclasses import dataclass

import torch
from torch import nn

from mrecg.config.inputs import ModelConfig
from mrecg.config.validate import imported
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError
from mrecg.models.checkpoint import load_checkpoint
from mrecg.models.checkpoint_file import without_code
from mrecg.models.construct import construct, tensors_of
from mrecg.models.preprocessing import resolve
from mrecg.models.weights_record import RANDOM, Weights, as_named, unloaded


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model, ready to be quantized.

    Attributes:
        model: In evaluation mode.
        weights: Where its weights come from.
        preprocessing: How its images are made.
    """

    model: nn.Module
    weights: Weights
    preprocessing: Preprocessing


def build(config: ModelConfig, *, seed: int) -> Built:
    """Build a model with its weights.

    Args:
        seed: Seed of random initial weights, where no other weights are given.

    Returns:
        The model in evaluation mode, with the records of its weights and images.

    Raises:
        ConfigError: The name is unknown, the constructor refuses its arguments, a package is missing, or a
            path does not exist.
        CheckpointError: The weights cannot be had, do not fit the model, or would need code to be run.
    """
    if config.source == "python":
        raise ConfigError(
            "model.source: python is for a model passed to mrecg.quantize; choose a group model=..."
        )
    preprocessing = resolve(config)  # first: it costs nothing, and a mistake in it shows at once
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, weights = _with_weights(config, seed)
    return Built(model=model.eval(), weights=weights, preprocessing=preprocessing)


def _with_weights(config: ModelConfig, seed: int) -> tuple[nn.Module, Weights]:
    if config.source == "embedded" and config.checkpoint is None:
        from mrecg.models import embedded
        from mrecg.models.fetch import digest

        model = embedded.load()
        return model, as_named("embedded", tensors_of(model.state_dict()), sha256=digest(embedded.WEIGHTS))
    if config.weights is not None:
        if config.source == "timm":
            from mrecg.models import from_timm

            return from_timm.published(config)
        from mrecg.models import from_torchvision

        return from_torchvision.published(config)
    model = _construct(config)
    if config.checkpoint is not None:
        return model, load_checkpoint(model, config)
    return model, unloaded(f"{RANDOM}, seed {seed}", tensors_of(model.state_dict()))


def architecture(config: ModelConfig) -> nn.Module:
    """Build a model whose weights do not matter: nothing is downloaded and no checkpoint is read.

    Returns:
        The model in evaluation mode, with weights that it was constructed with.

    Raises:
        ConfigError: The name is unknown, the constructor refuses its arguments, or a package is missing.
    """
    with torch.random.fork_rng(devices=[]), without_code():  # its name may come from a file
        return _construct(config).eval()


def _construct(config: ModelConfig) -> nn.Module:
    if config.source == "torchvision":
        from mrecg.models import from_torchvision

        return from_torchvision.architecture(config)
    if config.source == "timm":
        from mrecg.models import from_timm

        return from_timm.architecture(config)
    if config.source == "embedded":
        from mrecg.models import embedded

        return embedded.build()
    assert config.target is not None
    return construct(imported(config.target), config.arguments, config.target)
