"""What the numbers say, in words: neither praise nor blame, also where merging made things worse."""

import math
import shlex
from collections.abc import Sequence

from mrecg.report.compare import Finding
from mrecg.report.tables import percent
from mrecg.runs.records import Run


def headline(found: Sequence[Finding], runs: Sequence[Run]) -> str:
    """Sum all findings up.

    Args:
        found: The findings of the page.
        runs: All runs of the page.

    Returns:
        One to three sentences; of a single run its result.
    """
    completed = [run for run in runs if run.completed]
    if len(completed) == 1:
        return _result(completed[0])
    if not found:
        return (
            "No two runs here differ in their granularity alone, so there is nothing to conclude about "
            "merging. Add a run with granularity=block and one with granularity=mixed, of the same method, "
            "bits and steps."
        )
    if len(found) == 1:
        return sentence(found[0])
    top = [f.top1.change for f in found if f.top1]
    index = [f.index.change for f in found if f.index]
    said = []
    if top:
        said.append(f"top-1 rose in {_count(top, 1)} and fell in {_count(top, -1)}")
    if index:
        said.append(f"the oscillation index fell in {_count(index, -1)} and rose in {_count(index, 1)}")
    results = "; ".join(said) or "none of them has results to compare"
    return f"Merging units against optimising them block by block, in {len(found)} comparisons: {results}."


def reproduce(run: Run) -> str:
    """Write the command that repeats a run.

    Returns:
        The command line that the run recorded, for a sweep that of the whole sweep; for a run from Python the
        command line that does the same. Empty for a run that failed before it recorded anything.
    """
    if run.command.startswith("mrecg ") or not run.method:
        return run.command
    words = [
        f"model={run.model}",
        f"data={run.data}",
        f"method={run.method}",
        f"granularity={run.granularity}",
    ]
    if run.planner:
        words += [f"planner={run.planner}", f"planner.merge_count={run.merge_count}"]
    if run.granularity == "fixed":
        words.append(f"granularity.groups=[{','.join('[' + ','.join(group) + ']' for group in run.merged)}]")
    words += [f"bits.weight={run.bits.weight}", f"bits.activation={run.bits.activation}"]
    words += [f"bits.stem_output={run.stem_output}", f"trainer.steps={run.steps}"]
    words += [f"trainer.steps_per={run.steps_per}", f"seed={run.seed}"]
    if run.calibration_images:
        words.append(f"data.calibration_images={run.calibration_images}")
    if run.batch_size:
        words.append(f"trainer.batch_size={run.batch_size}")
    words += [f"{key}={value}" for key, value in sorted(run.options.items())]
    return shlex.join(["mrecg", "quantize", *words])


def _result(run: Run) -> str:
    said = []
    if run.quantized and run.fp:
        said.append(
            f"Top-1 is {percent(run.quantized.top1)} after quantization, {percent(run.fp.top1)} before."
        )
    errors = {unit.name: unit.error for unit in run.units if math.isfinite(unit.error)}
    if errors and run.oscillation:
        worst = max(errors, key=lambda name: errors[name])
        said.append(
            f"The oscillation index is {run.oscillation.error_index:.3f}; "
            f"the relative error is largest after {worst} ({errors[worst]:.3f})."
        )
    said.append("Name several runs to compare them: mrecg report DIR DIR ...")
    return " ".join(said).replace(" %", "\u00a0%")


def _count(changes: Sequence[float], sign: int) -> str:
    return str(sum(1 for change in changes if change * sign > 0))


def sentence(finding: Finding) -> str:
    """Compare a configuration with the block-wise one."""
    run = finding.series.first
    said = []
    if finding.top1:
        points = 100 * finding.top1.change
        how = (
            "the same as"
            if abs(points) < 0.005
            else f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"
        )
        said.append(
            f"With {run.granularity} granularity top-1 is {percent(finding.top1.after)}, "
            f"{how} {finding.baseline.first.granularity} ({percent(finding.top1.before)})"
        )
    if finding.index:
        share = (
            f" ({100 * finding.index.change / finding.index.before:+.0f} %)"
            if finding.index.before > 0
            else ""
        )
        said.append(
            f"the oscillation index is {finding.index.after:.3f} instead of {finding.index.before:.3f}"
            + share.replace("-", "−")
        )
    text = "; ".join(said).replace(" %", "\u00a0%")
    return f"{text[:1].upper()}{text[1:]}." if text else "Neither run has results to compare."
