"""A quantized network and the file it is kept in: quantized.safetensors, which needs nothing beside it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import PositiveInt, TypeAdapter, ValidationError
from torch import Tensor, fx, nn

from mrecg.config.bit_keys import widths_in_words
from mrecg.config.consent import Consent
from mrecg.config.inputs import ModelConfig
from mrecg.config.schema import BitsConfig, GranularityConfig, RunConfig
from mrecg.config.validate import plain
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import CheckpointError, MrecgError
from mrecg.formats import packed
from mrecg.formats.plain import plain_network
from mrecg.graph.basis import REBASED, restructure, structure
from mrecg.graph.cut import cut
from mrecg.models.build import architecture
from mrecg.models.preprocessing import told
from mrecg.quant.bit_widths import Policy, recorded
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.quant.size import widths_of
from mrecg.system.checked_read import DAMAGED, read_regular
from mrecg.version import __version__

_UNUSED = ("weights", "checkpoint", "checkpoint_key", "checkpoint_match", "rename", "sha256")
"""Of a model's configuration: where its full-precision weights came from, which is not needed any more."""
_WIDTHS = TypeAdapter(dict[str, int])
_REBASED = TypeAdapter(dict[Literal["biases", "caps"], list[str]])
AFFINE = "affine_folded"
"""Key of the description: constants are folded into layers. Version 0.1.0 folded BatchNorms only."""
_Shape = tuple[PositiveInt, PositiveInt, PositiveInt]
_LARGEST = 1 << 26
"""Values of an image, at most, that a file may ask for: its graph is tried on three of them."""


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A quantized network.

    Attributes:
        model: The whole network, fake-quantized and hardened, in evaluation mode; takes what the original
            took.
        network: The network cut into its units.
        preprocessing: How its images are prepared; None if that is not known, because they were given in
            Python or by a data set of your own.
        input_shape: The channels, height and width of an image; None if they are not known.
    """

    model: nn.Module
    network: QuantizedNetwork
    preprocessing: Preprocessing | None = None
    input_shape: tuple[int, int, int] | None = None

    def plain(self) -> nn.Module:
        """Copy the network into ordinary layers of torch, whose weights are grid values in floating point.

        Returns:
            A module in evaluation mode with the outputs of `model`. It needs nothing of this package, so
            ``torch.export``, ``torch.compile`` and ``torch.onnx`` take it.
        """
        return plain_network(self.model)

    def __repr__(self) -> str:
        """A few lines, where the modules would be hundreds."""
        layers, bits = self.network.policy.layers, self.network.bits
        return (
            f"Quantized({type(self.model).__name__}, "
            f"{widths_in_words(bits.weight, bits.activation, bits.budget)}, "
            f"{len(self.network.units)} units, {len(layers)} quantized layers)"
        )


def dump(network: QuantizedNetwork, config: RunConfig, preprocessing: Preprocessing | None) -> bytes:
    """Write quantized.safetensors.

    Args:
        network: The hardened network.
        preprocessing: What the run's images are made into, if that is known.

    Returns:
        The file's content.
    """
    said = told(preprocessing, config.data)
    model = {key: value for key, value in plain(config.model).items() if key not in _UNUSED}
    about = {
        "mrecg": __version__,
        "model": model,
        "bits": plain(config.bits),
        "layers": config.granularity.name == "layer",
        "max_unit_layers": config.granularity.max_unit_layers,
        "preprocessing": None if said is None else asdict(said),
        "input_shape": preprocessing.input_shape if preprocessing else config.model.input_shape,
        AFFINE: True,
        **({REBASED: found} if (found := structure(network.traced)) else {}),
        "weight_bits": dict(network.policy.layers),
        "activation_bits": dict(network.policy.activations),
    }
    return packed.dump(network.state(), widths_of(network), about)


def load_file(file: Path, *, model: nn.Module | None = None, allow_import: bool = False) -> Quantized:
    """Load a quantized network from its file alone.

    Args:
        file: A ``quantized.safetensors`` of this version.
        model: The full-precision model that was quantized. Needed where it was passed from Python; otherwise
            it is built from its name.
        allow_import: Whether the model's class may be imported, which runs its code, where the file names it
            by import path.

    Raises:
        CheckpointError: The file is damaged, of another version, or does not fit the model.
        ConfigError: The file names a class to import, and that is not allowed; or a package is missing.
    """
    about, state = read(file)
    if not about:
        raise CheckpointError(
            f"{file}: is of version 1, which needs its run folder beside it; load the folder instead"
        )
    config, units, preprocessing, shape = _described(about, file)
    if model is None:
        if config["model"].source == "python":
            raise CheckpointError(
                f"{file}: its model was passed from Python; call load(file, model=...) with it"
            )
        Consent(str(file), allow_import).to(config["model"], None)
        model = architecture(config["model"])
    if shape is not None and prod(shape) > _LARGEST:
        raise CheckpointError(f"{file}: its description is not right: images of shape {shape}")
    output = config["model"].output
    network = rebuild(model, config["bits"], units, shape, about=about, what=str(file), output=output)
    fill(network, state, str(file))
    return Quantized(model=network.model, network=network, preprocessing=preprocessing, input_shape=shape)


def folds_affine(about: Mapping[str, Any]) -> bool:
    """Whether a file's network has constants folded into its layers.

    Args:
        about: The file's description; empty for a file of version 1.

    Returns:
        Whether it has: no file of version 0.1.0 does.
    """
    return about.get(AFFINE) is True


def read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a ``quantized.safetensors`` of any version.

    Returns:
        Its description, empty for version 1, and its tensors by name, as `QuantizedNetwork.state` gave them.

    Raises:
        CheckpointError: The file is damaged or of a newer version.
    """
    return packed.loads(_content(file), str(file))


def _content(file: Path) -> bytes:
    try:
        return read_regular(file)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error


def _described(
    about: Mapping[str, Any], file: Path
) -> tuple[dict[str, Any], GranularityConfig, Preprocessing | None, tuple[int, int, int] | None]:
    kinds: dict[str, Any] = {"model": ModelConfig, "bits": BitsConfig}
    try:
        config = {key: TypeAdapter(kind).validate_python(about[key]) for key, kind in kinds.items()}
        units = GranularityConfig(
            name="layer" if about["layers"] else "block", max_unit_layers=about["max_unit_layers"]
        )
        said = about["preprocessing"]
        preprocessing = None if said is None else TypeAdapter(Preprocessing).validate_python(said)
        if preprocessing is not None:
            preprocessing.refuse_impossible()
        shape = preprocessing.input_shape if preprocessing else config["model"].input_shape
        if shape is None and about.get("input_shape") is not None:
            shape = TypeAdapter(_Shape).validate_python(about["input_shape"])
    except (ValidationError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{file}: its description is not right: {reason}") from error
    return config, units, preprocessing, shape


def rebuild(
    model: nn.Module,
    bits: BitsConfig,
    units: GranularityConfig,
    shape: tuple[int, int, int] | None,
    *,
    about: Mapping[str, Any],
    what: str,
    output: str | int | None = None,
) -> QuantizedNetwork:
    """Put quantizers into a model as a run has done, without values.

    Args:
        model: The full-precision model; its weights do not matter.
        bits: The bit widths.
        units: How the run has cut it.
        shape: Channels, height and width of an image; None: see `mrecg.graph.cut.cut`.
        about: The description of its file; empty for a file of version 1.
        what: The file or folder, for messages.
        output: The only output that it has; None: all.

    Returns:
        The network, on the CPU, to be filled.

    Raises:
        CheckpointError: Something was quantized that this model has not.
    """
    base = "layer" if units.name == "layer" else "block"
    parts = cut(
        model,
        base,
        input_shape=shape,
        max_unit_layers=units.max_unit_layers,
        fold_affine=folds_affine(about),
        output=output,
    )
    _rebased(parts.graph, about, what)
    network = QuantizedNetwork(
        parts.graph,
        parts.units,
        bits,
        notes=parts.notes,
        unquantized=parts.unquantized,
        chosen=_recorded(parts.graph.graph, about, what),
    )
    # Also for its memory order, on which the last bits of the outputs depend.
    return network.to(torch.device("cpu"))


def _rebased(graph: fx.GraphModule, about: Mapping[str, Any], what: str) -> None:
    """Add what a re-basis had added; its values are among the saved ones."""
    if REBASED not in about:
        return
    try:
        added = _REBASED.validate_python(about[REBASED])
        restructure(graph, added["biases"], added["caps"])
    except (MrecgError, ValidationError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{what}: its description does not fit the model: {reason}") from error


def _recorded(graph: fx.Graph, about: Mapping[str, Any], what: str) -> Policy | None:
    """What was quantized, from version 2 of the file on; None: what would be today."""
    if not about:
        return None
    try:
        layers, activations = (
            _WIDTHS.validate_python(about[key]) for key in ("weight_bits", "activation_bits")
        )
        return recorded(graph, layers, activations)
    except (MrecgError, ValidationError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{what}: its description does not fit the model: {reason}") from error


def fill(network: QuantizedNetwork, state: dict[str, Tensor], what: str) -> None:
    """Give a network its saved values.

    Args:
        network: From `rebuild`.
        state: By name.
        what: Where they are from, for messages.

    Raises:
        CheckpointError: They do not fit the network, or lie outside its grids.
    """
    try:
        for name, value in state.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise CheckpointError(f"{name} holds values that are not finite")
        network.load_state(state)
        for path in network.policy.layers:
            layer = network.model.get_submodule(path)
            assert isinstance(layer, QuantizedLayer)
            if int(layer.integers.max()) > layer.top or float(layer.scale.min()) <= 0:
                raise CheckpointError(f"{path} has integers or scales outside its grid of {layer.bits} bits")
    except (MrecgError, RuntimeError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{what}: its weights do not fit the model: {reason}") from error
