"""What callers of the Python API may give, and what is wrong with what they gave."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar

from torch import Tensor, nn

from mrecg.config.bit_keys import widths_in_names
from mrecg.config.keys import keys_of
from mrecg.config.schema import RunConfig
from mrecg.config.validate import run_config
from mrecg.data.batches import Keys, label_numbers
from mrecg.data.images import Images
from mrecg.errors import ConfigError, DataError

P = ParamSpec("P")
R = TypeVar("R")


def network_by_name(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take its network under the name ``model``, too.

    Args:
        function: Takes the network first; beside it, ``model`` is the group of the configuration.

    Returns:
        The function, which raises `ConfigError` where no network is given.
    """

    @wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> R:
        if arguments:
            return function(*arguments, **named)
        if not isinstance(named.get("model"), nn.Module):
            raise ConfigError(
                f"model: no network is given; give one first: mrecg.{function.__name__}(net, ...)"
            )
        network: Any = named.pop("model")
        return function(network, **named)

    return called


def one_calibration(images: Any, other: Any) -> tuple[Any, dict[str, Any]]:
    """Tell the calibration images from the group of the configuration that has the same name.

    Args:
        images: By place, or as ``calibration_images``; None: not given.
        other: As ``calibration``: images, or the group's values.

    Returns:
        The images, and the group where it was given.

    Raises:
        ConfigError: There are no images, or they are given twice.
    """
    keys = set(keys_of(["calibration"]))
    of_group = isinstance(other, Mapping) and (images is not None or keys.issuperset(other))
    group = {"calibration": other} if of_group else {}
    found = [given for given in (images, None if of_group else other) if given is not None]
    if len(found) != 1:
        how = "is given twice, also as calibration_images" if found else "is not given; give images"
        raise ConfigError(f"calibration: {how}: mrecg.quantize(model, calibration, ...)")
    return found[0], group


def with_name(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Name a run by what it does, unless it has been named."""
    if "name" in overrides:
        return config
    bits, what = config.bits, (config.method.name, config.granularity.name, f"s{config.seed}")
    widths = widths_in_names(bits.weight, bits.activation, bits.budget)
    return replace(config, name="-".join((config.model.name, widths, *what)))


def with_images(config: RunConfig, images: Images) -> RunConfig:
    """Enter into a configuration what is known of the images once they are drawn."""
    shape: Any = tuple(images.calibration.shape[1:])
    model = replace(config.model, input_shape=shape)
    return replace(config, model=model, data=replace(config.data, calibration_images=len(images.calibration)))


def refuse_without_values(model: nn.Module) -> None:
    """Refuse a network of which only the shapes are there.

    Raises:
        ConfigError: A tensor is on the meta device.
    """
    names = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta]
    if names:
        raise ConfigError(
            f"model: {names[0]} is on the meta device, which holds no values ({len(names)} tensors in all); "
            "load the weights first"
        )


def batches_of(images: Any, labels: Any, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Split images into batches.

    Args:
        images: A tensor or array of shape (N, C, H, W).
        labels: Of each image; None: none are known.
        size: Images a batch.

    Raises:
        ConfigError: The size is below 1.
        DataError: They are no images, or their labels are not one whole number each.
    """
    if size < 1:
        raise ConfigError(f"batch_size: {size} is not right; give 1 or more")
    images = Keys().images(images, "images")
    if images.dim() != 4:
        raise DataError(f"images: give shape (N, C, H, W), got {tuple(images.shape)}")
    if labels is not None and len(labels) != len(images):
        raise DataError(f"labels: {len(images)} images have {len(labels)} labels")
    numbers = None if labels is None else label_numbers(labels, len(images), "images")
    return (
        (images[i : i + size], None if numbers is None else numbers[i : i + size])
        for i in range(0, len(images), size)
    )


def named_group(choice: Any) -> dict[str, Any]:
    """Take a group of the configuration by its name alone, or by its values.

    Args:
        choice: The name, or the values; anything else is a wrong name.
    """
    return dict(choice) if isinstance(choice, Mapping) else {"name": choice}


def config_with(
    values: dict[str, Any], overrides: Mapping[str, Any], function: Callable[..., Any]
) -> RunConfig:
    """Lay what else was given over the values, group by group, and check the outcome.

    Args:
        values: By group, from the arguments that have names of their own.
        overrides: The other keyword arguments.
        function: Whose they are.

    Raises:
        ConfigError: A keyword is unknown, or a value is wrong.
    """
    merged = dict(values)
    for key, value in overrides.items():
        _refuse_unknown(key, function)
        own = merged.get(key)
        merged[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, Mapping) else value
    return run_config(merged)


def _refuse_unknown(key: str, function: Callable[..., Any]) -> None:
    """Refuse a keyword that is neither an argument of the function nor a group of the configuration."""
    groups = [field.name for field in fields(RunConfig)]
    if key in groups:
        return
    takes = [p.name for p in signature(function).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    inside = {name: group for group in reversed(groups) for name in keys_of([group])}
    close = get_close_matches(key, [*takes, *groups], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    if key in inside:
        hint = f" (did you mean {inside[key]}={{{key!r}: ...}}?)"
    raise ConfigError(
        f"{key}: {function.__name__} has no such argument{hint}; it takes {', '.join(takes)}, and as dicts "
        f"the groups of the configuration: {', '.join(group for group in groups if group not in takes)}"
    )
