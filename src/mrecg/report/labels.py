"""Short names of configurations: what tells them apart, and no more."""

from collections.abc import Callable, Sequence

from mrecg.report.records import Run, short_groups

SETTINGS: tuple[Callable[[Run], str], ...] = (
    lambda run: f"{run.steps} steps",
    lambda run: f"steps per {run.steps_per}",
    lambda run: f"{run.calibration_images} images",
    lambda run: f"batches of {run.batch_size}",
    lambda run: f"stem output {run.stem_output}",
    lambda run: f"precision {run.precision}",
)
"""What the runs of a label or line share, beside method and options, and how it is said."""

# What tells two configurations of one method and granularity apart, and how a label says it.
_DETAILS: tuple[Callable[[Run], str], ...] = (
    lambda run: f"by {run.planner}" if run.planner else "",
    lambda run: (
        f"{run.merge_count} merge{'s' * (run.merge_count != 1)}"
        if run.granularity == "mixed" and not open_count(run)
        else ""
    ),
    lambda run: short_groups(run.merged) if run.granularity == "fixed" or run.planner == "published" else "",
    *SETTINGS,
    lambda run: ", ".join(f"{key.partition('.')[2]} {value}" for key, value in run.options.items()),
)


def series_labels(runs: Sequence[Run]) -> list[str]:
    """Name the configurations of a panel.

    Args:
        runs: One of each.

    Returns:
        Method and granularity, and of the rest only what tells apart those that would share a label.
    """
    rivals: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        rivals.setdefault((run.method, run.granularity), []).append(run)
    details = {key: _details(members) for key, members in rivals.items()}
    labels = []
    for run in runs:
        said = filter(None, (say(run) for say in details[run.method, run.granularity]))
        labels.append(", ".join([f"{run.method} · {run.granularity}", *said]))
    return labels


def open_count(run: Run) -> bool:
    """Tell whether the planner decided how many pairs to merge, for each seed anew.

    Args:
        run: Any run.

    Returns:
        Whether it did.
    """
    return run.planner == "budget" or run.options.get("planner.merge_count") == "auto"


def _details(rivals: Sequence[Run]) -> list[Callable[[Run], str]]:
    """Of runs of one method and granularity, choose each detail that makes more labels of them."""
    chosen: list[Callable[[Run], str]] = []
    labels: list[tuple[str, ...]] = [()] * len(rivals)
    for say in _DETAILS:
        longer = [(*label, say(run)) for label, run in zip(labels, rivals, strict=True)]
        if len(set(longer)) > len(set(labels)):
            chosen.append(say)
            labels = longer
    return chosen
