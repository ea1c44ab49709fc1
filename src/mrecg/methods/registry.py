"""Every method by its name: its hyper-parameters, and the function that makes passes of them."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import PlainValidator, SerializeAsAny, TypeAdapter
from pydantic_core import PydanticKnownError

from mrecg.methods.hyperparameters import MethodSettings
from mrecg.methods.passes import Pass, PassBuilder, Solve, family_of
from mrecg.registry import Registry

Build = TypeVar("Build", bound=PassBuilder)


class Method(NamedTuple):
    """What a method is made of.

    Attributes:
        settings: The class of its hyper-parameters, a frozen pydantic dataclass.
        passes: Makes its passes of them.
    """

    settings: type[MethodSettings]
    passes: PassBuilder


_FIRST = ("rtn", "closed_form", "adaround", "brecq", "brecq_joint", "qdrop", "pd_quant", "genie_m")
_NONE = ("__init__", "hyperparameters", "passes", "registry")
_FOUND = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in _NONE)
METHODS: Registry[Method] = Registry(
    "method", "mrecg.methods", {name: f"mrecg.methods.{name}" for name in dict.fromkeys((*_FIRST, *_FOUND))}
)
"""The published methods in the order in which tables list them, then every other file beside this one."""


def register(settings: type[MethodSettings]) -> Callable[[Build], Build]:
    """Register a function that makes the passes of a method; for use as a decorator.

    Args:
        settings: The class of the method's hyper-parameters. The default of its field ``name`` is the
            method's name; every other field needs a default, too.

    Returns:
        The decorator, which gives the function back.

    Raises:
        ConfigError: The name is taken, or is no name.
    """
    name = next((field.default for field in fields(settings) if field.name == "name"), None)

    def decorated(passes: Build) -> Build:
        METHODS.add(str(name), Method(settings, passes))
        return passes

    return decorated


def method_settings(value: Any) -> MethodSettings:
    """Validate the hyper-parameters of any registered method.

    Args:
        value: An instance, or a mapping with ``name``.

    Returns:
        The instance.

    Raises:
        PydanticKnownError: There is no name, or no method of that name.
        ValidationError: A key is unknown, or a value out of range.
        ConfigError: The package that brings the method cannot be loaded.
    """
    if isinstance(value, MethodSettings):
        return value
    if not isinstance(value, dict):
        raise PydanticKnownError("dict_type")
    if "name" not in value:
        raise PydanticKnownError("union_tag_not_found", {"discriminator": "'name'"})
    if value["name"] not in METHODS:
        expected = ", ".join(f"'{name}'" for name in METHODS.names())
        about = {"discriminator": "'name'", "tag": str(value["name"]), "expected_tags": expected}
        raise PydanticKnownError("union_tag_invalid", about)
    kind: Any = METHODS.get(value["name"]).settings
    checked: MethodSettings = TypeAdapter(kind).validate_python(value)
    return checked


MethodConfig = Annotated[SerializeAsAny[MethodSettings], PlainValidator(method_settings)]
"""The hyper-parameters of any registered method, as a field of a pydantic class."""


def optimises(method: MethodSettings) -> bool:
    """Tell whether a method takes optimisation steps.

    Args:
        method: Its hyper-parameters.

    Returns:
        Whether any of its passes learns; without, it makes no difference which units form a group.
    """
    return any(task.rounding or task.scales for task in passes_of(method, depthwise=False))


def passes_of(
    method: MethodSettings, *, depthwise: bool, model: str = "", lr_factor: float = 1.0
) -> tuple[Pass, ...]:
    """Ask a method for its passes.

    Args:
        method: Its hyper-parameters.
        depthwise: Whether the network has depthwise convolutions; decides what they leave open.
        model: The network's name, by which papers' choices are found.
        lr_factor: Factor on its learning rates.

    Returns:
        The passes in order.
    """
    family = family_of(model, depthwise=depthwise)
    found = tuple(task.faster(lr_factor) for task in METHODS.get(method.name).passes(method, family))
    if getattr(method, "start", "nearest") == "nearest":
        return found
    first, *others = found
    return (replace(first, solve=Solve()), *others)
