"""Commands: that which repeats a run, and that which makes the run that a comparison lacks."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mrecg.runs.names import known_as
from mrecg.runs.records import Run

_DROPPED = ("granularity", "planner", "sweep=", "name=", "hydra.", "run=", "path=")
_MANY = ("-m", "--multirun")
_AXES = (",", "range(", "choice(", "glob(", "interval(")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What a comparison of block-wise and merged optimisation lacks.

    Attributes:
        why: In a sentence.
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
    done = [run for run in runs if run.completed and run.units and _can_merge(run)]
    if not done:
        return None
    # A merged one first: what it is to be compared with is one run, however many planners there are.
    best = max(done, key=lambda run: (bool(run.merged), run.quantized.top1 if run.quantized else -1.0))
    if best.merged:
        why = "It has no block-wise run of the same settings to be compared with: this command makes it."
        return Missing(why=why, command=_command(best, ["granularity=block"]))
    if best.granularity == "mixed":
        why = "Its plan merges nothing, so it is block-wise; this command merges three pairs."
        return Missing(
            why=why, command=_command(best, ["granularity=mixed", "planner=loss", "planner.merge_count=3"])
        )
    why = "To see what merging changes, run the same with mixed granularity: this command does."
    return Missing(why=why, command=_command(best, ["granularity=mixed"]))


def reproduce(run: Run) -> str:
    """Write the command that repeats a run.

    Returns:
        The command line that the run recorded, for a sweep that of the whole sweep; for a run from Python the
        command line that does the same. Empty for a run that failed before it recorded anything.
    """
    if run.command.startswith("mrecg ") or not run.method:
        return run.command
    words = [f"granularity={run.granularity}"]
    if run.planner:
        words += [f"planner={run.planner}", f"planner.merge_count={run.merge_count}"]
    if run.granularity == "fixed":
        words.append(f"granularity.groups=[{','.join('[' + ','.join(group) + ']' for group in run.merged)}]")
    return shlex.join(_written(run, words))


def _can_merge(run: Run) -> bool:
    return known_as(run.method, "mixed", merged=True) != known_as(run.method, "mixed", merged=False)


def _command(run: Run, words: Sequence[str]) -> str:
    """The command of a run, with another granularity."""
    if not run.command.startswith("mrecg quantize"):
        return shlex.join(_written(run, words))
    given = shlex.split(run.command)
    many = any(word in _MANY or word.startswith("sweep=") for word in given)
    kept = [word for word in given if word not in _MANY and not word.startswith(_DROPPED)]
    if many:  # of a sweep the values of this one run
        kept = [word for word in kept if not any(mark in word.partition("=")[2] for mark in _AXES)]
        known = {word.lstrip("+").partition("=")[0] for word in kept}
        if "bits" in known:
            known |= {"bits.weight", "bits.activation"}
        wanted = _one_of_many(run, planned="granularity=block" not in words)
        kept += [f"{key}={value}" for key, value in wanted.items() if key not in known]
    return shlex.join([*kept, *words])


def _one_of_many(run: Run, *, planned: bool) -> dict[str, object]:
    options = {key: value for key, value in run.options.items() if planned or not key.startswith("planner.")}
    own: dict[str, object] = {"method": run.method, "bits.weight": run.bits.weight}
    own |= {"bits.activation": run.bits.activation, "trainer.steps": run.steps, "seed": run.seed}
    return own | options


def _written(run: Run, granularity: Sequence[str]) -> list[str]:
    words = [f"model={run.model}", f"data={run.data}", f"method={run.method}", *granularity]
    words += [f"bits.weight={run.bits.weight}", f"bits.activation={run.bits.activation}"]
    words += [f"bits.stem_output={run.stem_output}", f"trainer.steps={run.steps}"]
    words += [f"trainer.steps_per={run.steps_per}", f"seed={run.seed}"]
    if run.calibration_images:
        words.append(f"data.calibration_images={run.calibration_images}")
    if run.batch_size:
        words.append(f"trainer.batch_size={run.batch_size}")
    planned = "granularity=block" not in granularity
    words += [f"{k}={v}" for k, v in sorted(run.options.items()) if planned or not k.startswith("planner.")]
    return ["mrecg", "quantize", *words]
