"""Texts of --help, made from the table of commands, conf/ and the schema without torch and Hydra."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from mrecg.config.fields import about, closed, words
from mrecg.config.paths import CONF, choices, files
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.errors import one_of
from mrecg.methods.registry import METHODS

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
        "mrecg plan planner=loss trainer=quick                 # by the loss of a probe run",
    ),
    "sensitivity": (
        "mrecg sensitivity                                     # the embedded model at W2A4",
        "mrecg sensitivity model=resnet18 bits=w4a4 data=imagenet data.calibration_path=train",
    ),
    "evaluate": (
        "mrecg evaluate                                        # the FP model",
        "mrecg evaluate run=outputs/2026-01-31/12-00-00-mine   # a saved quantized one",
        "mrecg evaluate path=model.onnx data=imagenet data.calibration_path=train data.evaluation_path=val",
    ),
}
DESCRIPTIONS = {
    "quantize": (
        "Quantize a network: plan, calibrate, reconstruct, evaluate, save and report.\nThe run "
        "folder has all results. -m runs a sweep over values with commas."
    ),
    "plan": (
        "Show which neighbouring units would be merged and why, and what a run would cost.\nThe plan "
        "is drawn in the terminal and written to plan.json."
    ),
    "sensitivity": (
        "Quantize each unit and each layer alone, and show which of them lose most.\nThe numbers are written "
        "to sensitivity.json and sensitivity.csv, with a picture."
    ),
    "evaluate": (
        "Measure the accuracy of the full-precision network, of a saved run, or of an exported file.\nThe "
        "numbers are written to evaluation.json."
    ),
}
"""What a command does, in whole sentences."""
_MEASURING = ("model", "data", "bits", "calibration", "rebasis", "trainer", "seed", "name", "logger")
FIRST = {"plan": ("pictures",), "evaluate": ("run", "path", "allow_import")}
"""Keys that stand above all others."""
ONLY = {
    "sensitivity": _MEASURING,
    "evaluate": ("run", "path", "allow_import", "model", "data", "trainer", "seed", "name"),
}
"""Keys and groups that concern a command, where most do not."""
_OPTIMISING = (
    *("trainer.steps", "trainer.lr_factor", "trainer.steps_per", "trainer.batch_size", "trainer.chunk"),
    *("trainer.log_every", "trainer.devices", "trainer.cuda_graphs"),
)
WITHOUT = {
    "quantize": ("run", "path", "pictures"),
    "plan": ("run", "path", "allow_import", "resume", "logger", "checkpoint", "finish"),
    "sensitivity": (*_OPTIMISING, "bits.budget"),
    "evaluate": _OPTIMISING,
}
"""Keys and groups that do not."""
LOSSES = (
    "On the screen: loss is a group's training loss (compare it within a method only), floor the loss that "
    "it would have in full precision after the quantized units before it, error the relative error after a "
    "unit with all units up to it quantized, to block that error's difference from the block-wise run's."
)
"""What the columns of a run's display mean."""
LAUNCHERS = ("hydra/launcher", "hydra/sweeper")
"""Groups of Hydra's that have choices of ours."""


def overview(verbs: Mapping[str, str]) -> str:
    """The text of ``mrecg --help``.

    Args:
        verbs: One line about each command.
    """
    lines = [
        "usage: mrecg COMMAND [OPTIONS]",
        "",
        "Low-bit post-training quantization of CNNs without the oscillation.",
        "",
    ]
    lines += [f"  {name:<11} {text}" for name, text in verbs.items()]
    lines += [
        "",
        "mrecg COMMAND --help (or mrecg help COMMAND) shows its options, with defaults and examples.",
        'Completion: eval "$(mrecg -sc install=bash)"',
        "",
    ]
    return "\n".join(lines)


def verb_help(verb: str, arguments: Sequence[str] = ()) -> str:
    """The text of ``mrecg VERB --help``.

    Args:
        verb: A command that takes Hydra's overrides.
        arguments: The other words: choices such as ``trainer=fast`` are shown instead, and ``--config-dir
            DIR`` adds what is in that folder.

    Returns:
        The text: groups with their choices, every key with the default that a run gets, examples.

    Raises:
        ConfigError: There is no such choice.
    """
    own = own_folders(arguments)
    asked = [word.partition("=")[::2] for word in arguments if not word.startswith("-") and "=" in word]
    named = [(group, name) for group, name in asked if group in _groups(own)]
    if named:
        return "\n".join(_choice(group, name, own) for group, name in named)
    lines = [usage(verb), "", DESCRIPTIONS[verb], "", "Groups (GROUP=CHOICE):"]
    for group in _groups(own):
        if concerns(verb, group) and (verb not in ONLY or group in ONLY[verb]):
            lines.append(f"  {group:<14} {', '.join(choices(group, own))}")
    lines += [f"  mrecg {verb} --help trainer=fast shows what a choice sets.", ""]
    lines.append("Keys (KEY=VALUE), with their defaults and, in brackets, their choices:")
    lines += _keys(RunConfig, "", defaults(), verb)
    if verb not in ONLY:
        for name in METHODS:
            kind = METHODS.get(name).settings
            lines += ["", f"  with method={name}:", *_keys(kind, "method.", plain(kind()), verb)]
    if verb == "quantize":
        lines += ["", LOSSES]
    lines += ["", "Examples:", *(f"  {line}" for line in EXAMPLES[verb]), ""]
    return "\n".join(lines)


def usage(verb: str) -> str:
    """The first line of a command's help."""
    return f"usage: mrecg {verb} {'[RUN or FILE] ' * (verb == 'evaluate')}[GROUP=CHOICE] [KEY=VALUE] [-m]"


def own_folders(arguments: Sequence[str]) -> list[str]:
    """Find folders with groups of the user's among words.

    Args:
        arguments: With ``-cd DIR``, ``--config-dir DIR`` or ``--config-dir=DIR``.
    """
    flags = ("-cd", "--config-dir")
    pairs = pairwise(arguments)
    joined = [word.partition("=")[2] for word in arguments if word.startswith("--config-dir=")]
    return [*(folder for flag, folder in pairs if flag in flags), *joined]


def _groups(own: Sequence[str]) -> list[str]:
    return [*(group for group in choices("", own) if group != "hydra"), *LAUNCHERS]


def _choice(group: str, name: str, own: Sequence[str]) -> str:
    """Read the file of a choice."""
    found = files(group, own)
    if name not in found:
        raise one_of(group, name, sorted(found))
    text = found[name].read_text(encoding="utf-8").rstrip()
    return "\n".join([f"{group}={name} sets:", *(f"  {line}" for line in text.splitlines()), ""])


def concerns(verb: str, key: str) -> bool:
    """Whether a key or group has an effect on a command."""
    root = key.partition(".")[0]
    return key not in WITHOUT[verb] and root not in WITHOUT[verb] and root in ONLY.get(verb, (root,))


def defaults() -> dict[str, Any]:
    """Return the defaults of a run: the schema's values, overridden by conf/config.yaml."""
    values = plain(RunConfig())
    root = _yaml(CONF / "config.yaml")
    for part in root.pop("defaults"):
        for group, name in part.items() if isinstance(part, dict) else ():
            if group in values and name is not None:
                _lay(values[group], _yaml(CONF / group / f"{name}.yaml"))
    _lay(values, {key: value for key, value in root.items() if key in values})
    return values


def _yaml(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return found


def _lay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay(below[key], value)
        elif key != "defaults":
            below[key] = value


def _keys(kind: Any, prefix: str, values: Mapping[str, Any], verb: str) -> list[str]:
    lines: list[str] = []
    first = FIRST.get(verb, ())
    for part in sorted(fields(kind), key=lambda part: part.name not in first):  # a stable sort
        key = f"{prefix}{part.name}"
        if key == "method" or not concerns(verb, key):
            continue
        if is_dataclass(part.type):
            lines += _keys(part.type, f"{key}.", values[part.name], verb)
            continue
        left = f"{key}={written(values[part.name])}"
        lines.append(f"  {left:<40} {_set(part.type)}{about(kind, part.name)}")
    return lines


def _set(kind: Any) -> str:
    """The words that a key takes, for example ``[lp|minmax] ``."""
    found = [*map(written, words(kind)), *([] if closed(kind) else ["..."])]
    return f"[{'|'.join(found)}] " if len(found) > 1 else ""


def written(value: Any) -> str:
    """Write a value as Hydra reads it.

    Args:
        value: A plain value.

    Returns:
        The text after ``KEY=``.

    >>> [written(value) for value in (None, False, [1, "a"], {"a": 1}, 0.5, "lp")]
    ['null', 'false', '[1,a]', '{a:1}', '0.5', 'lp']
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{written(inner)}' for key, inner in value.items())}}}"
    return str(value)


def closed_sets() -> Iterator[tuple[str, list[str]]]:
    """List the keys that take words.

    Yields:
        Each dotted key with its words; keys of methods are those of all methods.
    """
    yield from _sets(RunConfig, "")
    for name in METHODS:
        yield from _sets(METHODS.get(name).settings, "method.")


def _sets(kind: Any, prefix: str) -> Iterator[tuple[str, list[str]]]:
    for part in fields(kind):
        if is_dataclass(part.type):
            yield from _sets(part.type, f"{prefix}{part.name}.")
        elif (found := words(part.type)) and (len(found) > 1 or not closed(part.type)):
            yield f"{prefix}{part.name}", [written(word) for word in found]
