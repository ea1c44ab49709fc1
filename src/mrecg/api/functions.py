"""The Python API: quantize, plan and evaluate a model that is at hand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mrecg.api.arguments import (
    batches_of,
    config_with,
    named_group,
    network_by_name,
    one_calibration,
    refuse_without_values,
    with_images,
    with_name,
)
from mrecg.api.running import Followers, quantize_given, refuse_callbacks, refuse_place
from mrecg.config.best import BEST
from mrecg.config.schema import PUBLISHED_STEPS
from mrecg.config.validate import run_config
from mrecg.data.batches import Keys
from mrecg.data.given_labels import evaluation_of, from_python
from mrecg.errors import ConfigError
from mrecg.formats.checkpoint import Quantized, load_file
from mrecg.formats.write import Exported, format_of
from mrecg.formats.write import export as write
from mrecg.graph.intake import unwrap
from mrecg.graph.precision import type_of
from mrecg.pipeline import planning
from mrecg.pipeline.accuracy import Accuracy, accuracy, borrowed
from mrecg.pipeline.result import Result
from mrecg.pipeline.result import load as load_folder
from mrecg.planner.schedule import Plan
from mrecg.reconstruct import computing
from mrecg.reconstruct.events import Listener
from mrecg.registry import CRITERIA
from mrecg.system import devices
from mrecg.system.tf32 import float32_as
from mrecg.track.terminal import Screen

Evaluation = Dataset[Any] | DataLoader[Any] | Iterable[Any]


@network_by_name
@computing.keeping_draws()
def quantize(
    model: nn.Module,
    /,
    calibration_images: Any = None,
    *,
    calibration: Any = None,
    evaluation: Evaluation | Callable[[nn.Module], Any] | None = None,
    weight_bits: int = 2,
    activation_bits: int = 4,
    method: str | Mapping[str, Any] | None = None,
    granularity: str | Mapping[str, Any] = "mixed",
    merge_count: int | Literal["auto"] | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
    callbacks: Sequence[Listener] = (),
    save_to: Path | str | None = None,
    image_key: str | int | None = None,
    label_key: str | int | None = None,
    **overrides: Any,
) -> Result:
    """Quantize a model by reconstruction, with neighbours of different capacity optimised jointly.

    Args:
        model: A convolutional network with one tensor as input. It is not changed. Wrappers (DataParallel,
            AveragedModel, torch.compile's) are taken off, and other types are converted to float32.
        calibration_images: A few hundred unlabelled images, preprocessed as the model expects, of any
            floating-point type: a tensor or array of shape (N, C, H, W), a Dataset, a DataLoader, an iterable
            of batches, or a function without arguments that returns one of these. Items and batches may be
            images alone, tuples that begin with them, or dicts. All images of a tensor are taken. From
            anything else 512 are drawn, or as many as there are; ``data={"calibration_images": 256,
            "seed": 1}`` draws others. Of what has no length the first ones are taken.
        calibration: Another name for ``calibration_images``. If both are given, it is the group of settings,
            for example ``calibration={"candidates": 40}``.
        evaluation: A Dataset, DataLoader or list of batches with images and labels, to measure top-1 and
            top-5; or a function of your own that takes a network and returns a number, or a mapping of names
            to numbers. The full-precision network is measured first. With None nothing is measured.
        weight_bits: The bits of a weight: 2 to 8, or 32 for full precision.
        activation_bits: The bits of an activation: 2 to 8, or 32 for full precision.
        method: With None the recipe of ``experiment=best``, of which each other argument replaces its part
            (``finish={"name": "none"}`` leaves out the stage at the end). A name (``rtn``,
            ``closed_form``, ``adaround``, ``brecq``, ``brecq_joint``, ``qdrop``, ``pd_quant``, ``genie_m``),
            or a dict with name and hyper-parameters, for example ``{"name": "qdrop", "lr_rounding": 3e-3}``,
            takes that method as it was published.
        granularity: ``layer``, ``block``, ``mixed``, ``stage`` or ``network``; or a dict, for example
            ``{"name": "fixed", "groups": [["layer1.1", "layer2.0"]]}``.
        merge_count: The most pairs of neighbours to merge with mixed granularity. ``auto`` merges the fewest
            that calm the curve of a block-wise probe run. With None it is the default of the settings.
        steps: The optimisation steps per unit. With None they are the recipe's 200, or the published 20,000
            for a method that you name.
        seed: The seed of all draws but that of images, which is ``data={"seed": ...}``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. With None it is ``trainer={"device": ...}``.
        progress: Whether to show progress on standard error.
        callbacks: Objects that are told what the run does while it does it; see `mrecg.Callback`.
        save_to: The run folder, written from the first step on, with curves and a report. An interrupted run
            is resumed by the same call, or by `mrecg.resume`. W&B logs with ``logger={"wandb": "offline"}``.
        image_key: Where images are in an item or batch: a key of a dict, or a position. With None the first
            of a tuple, or the only image of a dict.
        label_key: Where labels are. With None the second of a tuple, or ``label``, ``target`` and the like
            of a dict.
        **overrides: Any other group of settings as a dict, for example ``planner={"name": "modcap"}``,
            ``trainer={"threads": 1}`` or ``model={"name": "mine"}``. With ``trainer={"devices": 2}`` the
            model is sent to a second process. Its classes must then be in a module that can be imported, and
            a script needs ``if __name__ == "__main__":``.

    Returns:
        The quantized model, the plan, unit errors and curves.

    Raises:
        ConfigError: An argument is out of range or unknown.
        GraphError: The model cannot be traced or cut.
        DataError: The images are not what the model takes.
        DeviceError: One of several devices' processes has ended.
    """
    given, group = one_calibration(calibration_images, calibration)
    overrides |= group
    name = type(unwrap(model)[0]).__name__
    refuse_without_values(model)
    refuse_callbacks(callbacks)
    recipe = BEST if method is None else {"trainer": {"steps": PUBLISHED_STEPS}}
    chosen, grouped = named_group(method or BEST["method"]), named_group(granularity)
    trainer = {} if steps is None else {"steps": steps}
    values: dict[str, Any] = {
        "model": {"source": "python", "name": name},
        "data": {"source": "python", "name": "python"},
        "bits": {"weight": weight_bits, "activation": activation_bits},
        "method": chosen,
        "granularity": grouped,
        "planner": {} if merge_count is None else {"merge_count": merge_count},
        "trainer": trainer if device is None else {**trainer, "device": str(device)},
        "logger": {"wandb": "disabled"},
        "seed": seed,
    }
    values |= {group: {**own, **values.get(group, {})} for group, own in recipe.items()}
    config = with_name(config_with(values, overrides, quantize), overrides)
    folder = None if save_to is None else Path(save_to)
    refuse_place(config, folder)
    computing.device_of(config)  # one that is not there is said before images are read
    drawn = "calibration_images" in (overrides.get("data") or {})
    keys = Keys(image_key, label_key)
    images = from_python(config.data, given, evaluation, keys=keys, drawn=drawn)
    config = with_images(config, images)
    followers = Followers(display=Screen(config.name) if progress else None, callbacks=callbacks)
    return quantize_given(model, images, config, folder, followers)


@network_by_name
@computing.keeping_draws()
def plan(
    model: nn.Module,
    /,
    *,
    weight_bits: int = 2,
    merge_count: int | None = None,
    planner: str = "modcap",
    **overrides: Any,
) -> Plan:
    """Plan which units to merge, without data: by module capacity, or by a published schedule.

    Args:
        model: A convolutional network with one tensor as input. It is not changed.
        weight_bits: The bits of a weight: 2 to 8, or 32 for full precision.
        merge_count: The most pairs of neighbours to merge. With None it is the default of the settings.
        planner: ``modcap``, ``safe`` (the merges that `quantize` tries), ``published``, or a criterion of
            another package that needs no probe.
        **overrides: Any other group of settings as a dict, for example
            ``model={"input_shape": (1, 28, 28)}``.

    Returns:
        The units, the groups, and the numbers that decided it.

    Raises:
        ConfigError: The planner needs images; use `quantize`, whose result has the plan.
        GraphError: The model cannot be traced or cut.
    """
    if planner in ("budget", "pack") or (planner in CRITERIA and CRITERIA.get(planner).needs_probe):
        raise ConfigError(
            f"planner: {planner!r} needs images; choose from modcap, safe, published, or call quantize"
        )
    chosen = {"name": planner} if merge_count is None else {"name": planner, "merge_count": merge_count}
    values = {
        "model": {"source": "python", "name": type(unwrap(model)[0]).__name__},
        "bits": {"weight": weight_bits},
        "planner": chosen,
    }
    config = config_with(values, overrides, plan)
    network = planning.cut(model, config, config.model.input_shape)
    return planning.plan_units(network.units, network.policy, config, None, network.notes)


@computing.keeping_draws()
def evaluate(
    model: nn.Module,
    evaluation: Evaluation,
    *,
    batch_size: int = 64,
    device: str = "auto",
    image_key: str | int | None = None,
    label_key: str | int | None = None,
) -> Accuracy:
    """Measure a classifier.

    Args:
        model: The network, full-precision or quantized. It is measured in evaluation mode and left as it was.
        evaluation: The images and their labels: a Dataset, a DataLoader, or a list of batches.
        batch_size: The number of images per forward pass. A DataLoader has its own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        image_key: Where images are in an item or batch, as for `quantize`.
        label_key: Where labels are in an item or batch, as for `quantize`.

    Returns:
        Top-1 and top-5 as fractions, and the decision for each image.

    Raises:
        ConfigError: There are no labels, or a function is given.
        DataError: There are no images, or one is of no floating-point type.
    """
    unwrap(model)  # which says what is no model
    where, config = devices.resolve_device(device), run_config({"data": {"batch_size": batch_size}})
    found, metric = evaluation_of(evaluation, config.data, Keys(image_key, label_key))
    if found is None or metric is not None:
        raise ConfigError(
            "evaluation: give images with labels; a function of your own is called on the model"
        )
    _, dtype = type_of(model)
    batches = ((images.to(dtype), labels) for images, labels in found.batches())
    with borrowed(model, where), float32_as(32):
        return accuracy(model, batches, device=where)


def load(path: Path | str, *, model: nn.Module | None = None, allow_import: bool = False) -> Quantized:
    """Load a saved run, or a quantized network from its file alone.

    Args:
        path: A run folder, or the file ``quantized.safetensors`` alone.
        model: The full-precision model that was quantized. It is needed if the run was started from Python;
            otherwise the model is built from its name.
        allow_import: Whether the model's class may be imported if the folder or file names it by its import
            path. That runs its code.

    Returns:
        The network. For a run folder it is a `Result`, with plan, units and summary.

    Raises:
        CheckpointError: A file is missing or damaged, of a newer version, or does not fit the model.
        ConfigError: A class would have to be imported, and that is not allowed.
    """
    path = Path(path)
    if path.is_file():
        return load_file(path, model=model, allow_import=allow_import)
    return load_folder(path, model=model, allow_import=allow_import)


def export(
    result: Result,
    path: Path | str,
    *,
    images: Tensor,
    labels: Tensor | None = None,
    format: Literal["onnx", "onnx_int8", "pt2", "packed"] | None = None,
    opset: int | None = None,
    batch_size: int = 64,
) -> Exported:
    """Write a quantized network as a file, after the file has proved to do what the network does.

    Args:
        result: A result of `quantize` or `load`.
        path: The file to write: ``.onnx``, ``.pt2`` (torch.export) or ``.safetensors`` (packed integers).
        images: A few hundred images to compare on, preprocessed, as a tensor or array of shape (N, C, H, W).
        labels: Their labels, shape (N,), to count how many are right.
        format: ``onnx``, ``onnx_int8`` (8-bit weights on symmetric grids, for integer kernels), ``pt2`` or
            ``packed``. The file's ending must fit. With None the ending decides, with ``onnx`` for ``.onnx``.
        opset: The ONNX opset, 18 to 25. With None it is the lowest with types as narrow as the weights.
        batch_size: The number of images per forward pass.

    Returns:
        The sizes, and how well the file agrees with the network.

    Raises:
        ConfigError: The ending, format or opset is unknown, the ending is that of another format, the network
            is not what the format takes, or a package is missing.
        DataError: The images or labels are of the wrong shape or type.
        ExportError: The network cannot be written, or the file does not do what the network does. No file is
            left then.
    """
    path = Path(path)
    form = format_of(path, format)
    batches = batches_of(images, labels, batch_size)
    return write(result, result.config, path, form=form, batches=batches, opset=opset, named=True)
