"""Commands: that which repeats a run, and that which makes the run that a comparison lacks."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mrecg.report.labels import known_name
from mrecg.runs.names import can_merge
from mrecg.runs.records import Run

_LEFT_OUT = ("granularity", "planner", "sweep", "name", "hydra", "run", "path")
"""Keys, with all below them, that another run does not share."""
_MANY = ("-m", "--multirun")
_AXES = (",", "range(", "choice(", "glob(", "interval(")
_OFTEN_SWEPT = ("method", "bits.weight", "bits.activation", "trainer.steps", "seed")
"""What the file of a sweep may vary, too, beside the options."""
_Words = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What a comparison of block-wise and merged optimisation lacks.

    Attributes:
        why: In a sentence that also stands alone.
        command: Makes it.
    """

    why: str
    command: str


def missing_run(runs: Sequence[Run]) -> Missing | None:
    """Say which run would make a pair.

    Args:
        runs: Runs of which no two differ by their merges alone.

    Returns:
        The counterpart of the most accurate run; None where no run completed whose method merging changes.
    """
    done = [run for run in runs if run.completed and run.units and can_merge(run.method)]
    if not done:
        return None
    # A merged one first: what it is to be compared with is one run, however many planners there are.
    best = max(done, key=lambda run: (bool(run.merged), run.quantized.top1 if run.quantized else -1.0))
    name = known_name(best)
    if best.merged:
        why = f"{name} has no block-wise run of the same settings to be compared with."
        return Missing(why=why, command=_command(best, {"granularity": "block"}))
    if best.granularity == "mixed":
        why = f"The plan of {name} merges nothing. To see what merging changes, merge three pairs."
        planned: _Words = {"granularity": "mixed", "planner": "loss", "planner.merge_count": 3}
        return Missing(why=why, command=_command(best, planned))
    why = f"To see what merging changes in {name}, run the same with mixed granularity."
    return Missing(why=why, command=_command(best, {"granularity": "mixed"}))


def reproduce(run: Run) -> str:
    """Write the command that repeats a run.

    Returns:
        The command line that the run recorded, for a sweep that of the whole sweep; for a run from Python the
        command line that does the same. Empty for a run that failed before it recorded anything.
    """
    if run.command.startswith("mrecg ") or not run.method:
        return run.command
    merging: _Words = {"granularity": run.granularity}
    if run.planner:
        merging |= {"planner": run.planner, "planner.merge_count": run.merge_count}
    if run.granularity == "fixed":
        merging["granularity.groups"] = f"[{','.join('[' + ','.join(group) + ']' for group in run.merged)}]"
    merging |= {key: value for key, value in run.options.items() if key.startswith("planner.")}
    return _joined(_values(run) | merging)


def _command(run: Run, merging: _Words) -> str:
    """The command of a run, with another granularity; each key once."""
    values = _values(run)
    try:
        given = shlex.split(run.command) if run.command.startswith("mrecg quantize ") else []
    except ValueError:  # a quotation that does not end: the command was not recorded whole
        given = []
    if not given:
        return _joined(values | merging)
    kept: _Words = {}
    swept = list(_OFTEN_SWEPT + tuple(run.options)) if any(map(_many, given)) else []
    for place, word in enumerate(given[2:]):
        key, _, value = word.partition("=")
        name = key.lstrip("+~")
        assigns = "=" in word or word.startswith("~")
        if _many(word) or (assigns and re.split(r"[./@]", name)[0] in _LEFT_OUT):
            continue
        if swept and any(mark in value for mark in _AXES):  # of a sweep the values of this one run
            swept.append(name)
        else:
            kept[name if assigns else str(place)] = word
    kept |= {key: f"{key}={values[key]}" for key in swept if key in values and key not in kept}
    return shlex.join([*given[:2], *map(str, kept.values()), *(f"{k}={v}" for k, v in merging.items())])


def _many(word: str) -> bool:
    return word in _MANY or word.lstrip("+").startswith("sweep=")


def _values(run: Run) -> _Words:
    """What decides the numbers of a run, but for its merges."""
    values: _Words = {
        "model": run.model,
        "data": run.data,
        "method": run.method,
        "bits.weight": run.bits.weight,
        "bits.activation": run.bits.activation,
        "bits.stem_output": run.stem_output,
        "trainer.steps": run.steps,
        "trainer.steps_per": run.steps_per,
        "seed": run.seed,
    }
    if run.calibration_images:
        values["data.calibration_images"] = run.calibration_images
    if run.batch_size:
        values["trainer.batch_size"] = run.batch_size
    return values | {k: v for k, v in sorted(run.options.items()) if not k.startswith("planner.")}


def _joined(values: _Words) -> str:
    return shlex.join(["mrecg", "quantize", *(f"{key}={value}" for key, value in values.items())])
