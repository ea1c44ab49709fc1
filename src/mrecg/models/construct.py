"""Calling a model's constructor, and its tensors by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from mrecg.errors import CheckpointError, ConfigError, short
from mrecg.system.redaction import reveal, without_secrets

MEAN, VARIANCE = "running_mean", "running_var"
COUNTER = "num_batches_tracked"
"""BatchNorm's count of training batches: files from before torch 0.4.1 lack it, and inference ignores it."""


def check_arguments(arguments: Mapping[str, Any], loading: Iterable[str]) -> None:
    """Refuse arguments by which a constructor would load weights that no record tells of.

    Args:
        arguments: The configured keyword arguments.
        loading: Keywords that load weights.

    Raises:
        ConfigError: One of them is among the arguments.
    """
    for key in loading:
        if key in arguments:
            raise ConfigError(f"model.arguments: {key} is not for arguments; give model.weights=DEFAULT")


def construct(make: Callable[..., Any], arguments: Mapping[str, Any], name: str) -> nn.Module:
    """Call a constructor.

    Args:
        make: A class or function.
        name: What to call the model in a message.

    Returns:
        The model.

    Raises:
        ConfigError: The arguments are refused, or no model comes back.
    """
    try:
        model = make(**reveal(dict(arguments)))
    except SystemExit as error:  # model.target=sys.exit
        raise ConfigError(
            f"model.target: {name} ends the program instead of returning an nn.Module"
        ) from error
    except Exception as error:  # a constructor may raise anything for arguments it cannot use
        known = isinstance(error, TypeError | ValueError)
        if not known and str(getattr(make, "__module__", "")).startswith(("torchvision.", "timm.")):
            raise  # damaged files, no network: who asks these packages knows better what it means
        raise ConfigError(
            f"model.arguments: {name} refuses {dict(arguments)}: {without_secrets(str(error))}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model.target: {name} returns {type(model).__name__}, not an nn.Module")
    return model


def refuse_not_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that hold NaN or infinity, and variances below 0: every number after them would be none.

    Args:
        tensors: Weights and statistics, by name.
        what: Where they are from, for the message.

    Raises:
        CheckpointError: One of them holds such a value.
    """
    for name, value in tensors.items():
        unusual = isinstance(value, UninitializedParameter) or value.is_meta or value.is_quantized
        if unusual or value.layout != torch.strided or not value.is_floating_point():
            continue  # `mrecg.graph.intake` has a word for these
        if name.rpartition(".")[2] == VARIANCE and bool((value.detach() < 0).any()):
            wrong = int((value.detach() < 0).sum())
            raise CheckpointError(
                f"{what}: {short(name)} holds {wrong} values of {value.numel()} below 0, and it is a "
                "variance: a damaged file, or tensors mixed up; give BatchNorm's statistics as trained"
            )
        if not bool(value.detach().isfinite().all()):
            wrong = int((~value.isfinite()).sum())
            raise CheckpointError(
                f"{what}: {short(name)} holds {wrong} values of {value.numel()} that are NaN or infinite: "
                "a damaged file, or a training that has diverged; give weights that are finite"
            )


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    """Take the running statistics of a model's normalisations.

    Returns:
        Means and variances, by name.
    """
    return {
        name: value
        for name, value in model.named_buffers()
        if name.rpartition(".")[2] in (MEAN, VARIANCE) and isinstance(value, Tensor)
    }


def tensors_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the tensors that inference depends on.

    Args:
        state: A state dict.

    Returns:
        All but the counters of BatchNorm, in order.
    """
    return {name: value for name, value in state.items() if name.rpartition(".")[2] != COUNTER}
