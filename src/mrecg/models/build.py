"""Build a model from its config (the embedded one, torchvision's, any callable) and load its weights."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from mrecg.config.build import existing, imported
from mrecg.config.inputs import ModelConfig
from mrecg.errors import CheckpointError, ConfigError, one_of


def build(config: ModelConfig, *, seed: int) -> nn.Module:
    """Build a model with its weights.

    Args:
        config: The model group.
        seed: Seed of random initial weights, where no other weights are given.

    Returns:
        The model in evaluation mode.

    Raises:
        ConfigError: The name is unknown, the constructor refuses its arguments, or a path does not exist.
        CheckpointError: The checkpoint does not fit the model, or would need code to be run.
    """
    if config.source == "embedded" and config.checkpoint is None:
        from mrecg.models import embedded

        return embedded.load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _construct(config)
    if config.checkpoint is not None:
        load_checkpoint(model, existing(config.checkpoint, "model.checkpoint"))
    return model.eval()


def _construct(config: ModelConfig) -> nn.Module:
    if config.source == "embedded":
        from mrecg.models import embedded

        return embedded.build()
    if config.source == "torchvision":
        from torchvision import models

        if config.name not in models.list_models():
            raise one_of("model.name", config.name, models.list_models())
        # Without published weights torchvision's own quick initialisation is wanted where it has one.
        make, arguments = (
            models.get_model,
            {"name": config.name, "weights": config.weights, **config.arguments},
        )
    elif config.target is None:
        raise ConfigError(
            "model.source: python is for a model passed to mrecg.quantize; choose a group model=..."
        )
    else:
        make, arguments = imported(config.target), dict(config.arguments)
    try:
        model = make(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.arguments: {config.name} refuses {arguments}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model.target: {config.target} returns {type(model).__name__}, not an nn.Module")
    return model


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load a local state dict, strictly. Never executes code from the file.

    Args:
        model: The model to fill.
        path: A ``.safetensors`` file, or one that ``torch.load(weights_only=True)`` reads; the state dict
            itself or a dict that holds it under ``state_dict`` or ``model``; a ``module.`` prefix is dropped.

    Raises:
        CheckpointError: The file needs code to load, or its names or shapes are not the model's.
    """
    state = _read(path)
    own = model.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or extra or wrong:
        found = [("missing", missing), ("not the model's", extra), ("of another shape", wrong)]
        details = "; ".join(f"{len(keys)} {what} (first {keys[0]})" for what, keys in found if keys)
        raise CheckpointError(f"model.checkpoint: {path} does not fit the model: {details}")
    model.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise CheckpointError(f"model.checkpoint: {path} cannot be loaded: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"model.checkpoint: {path} cannot be loaded without running its code: {reason}"
        ) from error
    except Exception as error:  # a damaged file stops the unpickler anywhere
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise CheckpointError(f"model.checkpoint: {path} cannot be loaded: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"model.checkpoint: {path} holds no state dict; looked for it at the top, state_dict, model"
        )
    return {key.removeprefix("module."): value for key, value in content.items()}
