"""Load a checkpoint into a model: find the file, check it, read it, match its tensors, fill the model."""

from pathlib import Path

from torch import Tensor, nn

from mrecg.config.inputs import ModelConfig
from mrecg.errors import CheckpointError, ConfigError, short
from mrecg.models import match_tensors
from mrecg.models.checkpoint_file import locate, read, refuse_unusual, unwrapped
from mrecg.models.construct import refuse_not_finite, tensors_of
from mrecg.models.fetch import KEY, digest, find
from mrecg.models.weights_record import Weights
from mrecg.system.redaction import without_secrets


def load_checkpoint(model: nn.Module, config: ModelConfig) -> Weights:
    """Fill a model from the configured checkpoint. Never executes code from the file.

    The counters of BatchNorm (``num_batches_tracked``) are left as they are: files from before torch 0.4.1
    lack them, and inference ignores them.

    Args:
        model: The model; it is unchanged where an error is raised.
        config: The model group, with a checkpoint.

    Returns:
        Where the weights come from, and which tensor went where.

    Raises:
        ConfigError: The file or its package is not there, or a setting does not go with it.
        CheckpointError: The file cannot be had, is not the one that was pinned, needs code to load, or does
            not fit the model.
    """
    assert config.checkpoint is not None
    what = without_secrets(config.checkpoint)
    file = find(config.checkpoint)
    try:
        checksum = _checked(file.path, config.sha256)
        content = read(file.path)
    except CheckpointError as error:
        if not file.downloaded:
            raise
        file.path.unlink(missing_ok=True)  # or every later run would meet the same broken file
        raise CheckpointError(f"{error}; the downloaded copy of {what} is removed") from error
    everything = model.state_dict()
    own = tensors_of(everything)
    state, key = locate(content, config.checkpoint_key, what)
    tensors = tensors_of(unwrapped(state, own, what))
    refuse_unusual(tensors, what)
    names = match_tensors.renamed(tuple(tensors), config.rename)
    candidates = {new: tensors[old] for new, old in names.items()}
    ordered = file.path.suffix != ".safetensors"
    if config.checkpoint_match == "name":
        pairs = match_tensors.by_name(candidates, own, what, ordered=ordered)
    elif ordered:
        pairs = match_tensors.by_order(candidates, own, what)
    else:
        raise ConfigError(
            "model.checkpoint_match: order needs a file that keeps its order; .safetensors files sort their "
            "tensors by name: use name with model.rename, or a .pth file"
        )
    filled = {
        theirs: _as(own[name], candidates[theirs], f"{what}: {short(theirs)}") for theirs, name in pairs
    }
    refuse_not_finite(filled, f"model.checkpoint: {what}")
    for theirs, name in pairs:
        everything[name] = filled[theirs]
    model.load_state_dict(everything)
    return Weights(
        origin=what,
        sha256=checksum,
        key=key,
        match=config.checkpoint_match,
        tensors=len(pairs),
        mapping=tuple((names[theirs], name) for theirs, name in pairs),
    )


def _as(own: Tensor, value: Tensor, what: str) -> Tensor:
    """Take a value with the type of the model's tensor; whole numbers are not weights."""
    kind, wanted = str(value.dtype).removeprefix("torch."), str(own.dtype).removeprefix("torch.")
    if value.is_floating_point() != own.is_floating_point():
        already = "; a network that is quantized already cannot be quantized" * own.is_floating_point()
        raise CheckpointError(f"{KEY}: {what} holds {kind}, the model has {wanted}{already}")
    if value.is_floating_point() and value.itemsize < 2:
        raise CheckpointError(
            f"{KEY}: {what} holds {kind}, whose scale is not in it; give weights in float16 or wider"
        )
    return value.to(own.dtype)


def _checked(path: Path, pinned: str | None) -> str:
    found = digest(path)
    if pinned is not None and found != pinned.lower():
        raise CheckpointError(f"model.sha256: {path} has {found}, not the pinned {pinned.lower()}")
    return found
