"""The texts of --help, made from the verb table, conf/ and the schema; torch and Hydra are not imported."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from mrecg.config.methods import METHODS
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig

EXAMPLES = {
    "quantize": (
        "mrecg quantize trainer=quick       # the embedded model, W2A4, QDrop, merged neighbours",
        "mrecg quantize -m granularity=block,mixed seed=0,1,2 trainer=quick",
        "mrecg quantize sweep=brecq_vs_mrecg trainer=quick",
        "mrecg quantize model=mobilenet_v2 model.checkpoint=mbv2.pth bits=w4a4 \\",
        "    data=imagenet data.calibration_path=train data.evaluation_path=val",
    ),
    "plan": (
        "mrecg plan model=resnet18 planner=modcap              # no images needed",
        "mrecg plan model=resnet50 planner=published",
        "mrecg plan trainer=quick                              # by the error of a probe run",
    ),
    "evaluate": (
        "mrecg evaluate                                        # the FP model",
        "mrecg evaluate run=outputs/2026-01-31/12-00-00-mine   # a saved quantized one",
        "mrecg evaluate path=model.onnx data=imagenet data.calibration_path=train data.evaluation_path=val",
    ),
}


def overview(verbs: Mapping[str, str]) -> str:
    """The text of ``mrecg --help``.

    Args:
        verbs: One line about each verb.

    Returns:
        The text.
    """
    lines = [
        "usage: mrecg VERB [hydra overrides]",
        "",
        "Low-bit post-training quantization of CNNs without the oscillation.",
        "",
    ]
    lines += [f"  {name:<10} {text}" for name, text in verbs.items()]
    lines += [
        "",
        "mrecg VERB --help shows its config groups, keys and examples.",
        'Completion: eval "$(mrecg -sc install=bash)"',
        "",
    ]
    return "\n".join(lines)


def verb_help(verb: str) -> str:
    """The text of ``mrecg VERB --help``.

    Args:
        verb: A verb that takes Hydra's overrides.

    Returns:
        The text: groups with their choices, every key with its default, examples.
    """
    lines = [f"usage: mrecg {verb} [GROUP=CHOICE] [KEY=VALUE] [-m]", "", "Groups (GROUP=CHOICE):"]
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        names = sorted(path.stem for path in folder.glob("*.yaml"))
        lines.append(f"  {folder.name:<12} {', '.join(names)}")
    lines += ["", "Keys (KEY=VALUE), with their defaults:"]
    lines += _keys(RunConfig(), "")
    for name, kind in METHODS.items():
        lines += ["", f"  with method={name}:", *_keys(kind(), "method.")]
    lines += ["", "Examples:", *(f"  {line}" for line in EXAMPLES[verb]), ""]
    return "\n".join(lines)


def _keys(config: Any, prefix: str) -> list[str]:
    lines: list[str] = []
    for part in fields(config):
        value = getattr(config, part.name)
        if part.name == "method":
            continue
        if is_dataclass(value):
            lines += _keys(value, f"{prefix}{part.name}.")
            continue
        left = f"{prefix}{part.name}={'null' if value is None else value}"
        lines.append(f"  {left:<40} {_about(type(config), part.name)}")
    return lines


def _about(kind: type, name: str) -> str:
    """The docstring of a field, in one line; pydantic leaves it with the class that declares the field."""
    found = (getattr(base, "__pydantic_fields__", {}).get(name) for base in kind.__mro__)
    texts = (field.description for field in found if field is not None and field.description)
    return " ".join(next(texts, "").split())
