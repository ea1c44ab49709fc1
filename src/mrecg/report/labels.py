"""Short names of configurations: what tells them apart, and no more."""

from collections.abc import Callable, Sequence

from mrecg.runs.names import known_as
from mrecg.runs.records import Run, short_groups

SETTINGS: tuple[Callable[[Run], str], ...] = (
    lambda run: f"{run.steps} steps",
    lambda run: f"steps per {run.steps_per}",
    lambda run: f"{run.calibration_images} images",
    lambda run: f"batches of {run.batch_size}",
    lambda run: f"stem output {run.stem_output}",
    lambda run: f"precision {run.precision}",
)
"""What the runs of a label or line share, beside method and options, and how it is said."""

_VARIANTS = {"brecq": "two passes", "brecq_joint": "one pass"}
_PLANNERS = {"modcap": "ModCap"}

_PLANNED: tuple[Callable[[Run], str], ...] = (
    lambda run: f"by {_PLANNERS.get(run.planner, run.planner)}" if run.planner else "",
    lambda run: (
        f"{run.merge_count} merge{'s' * (run.merge_count != 1)}"
        if run.granularity == "mixed" and not open_count(run)
        else ""
    ),
    lambda run: short_groups(run.merged) if run.granularity == "fixed" or run.planner == "published" else "",
)
# What tells two configurations of one name apart, and how a label says it.
_DETAILS: tuple[Callable[[Run], str], ...] = (
    lambda run: _VARIANTS.get(run.method, run.method),
    lambda run: "none merged" if run.granularity == "mixed" and not run.merged else "",
    *_PLANNED,
    *SETTINGS,
    lambda run: ", ".join(f"{key.partition('.')[2]} {value}" for key, value in run.options.items()),
)


def known_name(run: Run) -> str:
    """Name a run as people know it, see `known_as`."""
    return known_as(run.method, run.granularity, merged=bool(run.merged))


def series_labels(runs: Sequence[Run]) -> list[str]:
    """Name the configurations of a panel.

    Args:
        runs: One of each.

    Returns:
        The known name, and of the rest only what tells apart those that would share a label.
    """
    rivals: dict[str, list[Run]] = {}
    for run in runs:
        rivals.setdefault(known_name(run), []).append(run)
    details = {name: _details(members) for name, members in rivals.items()}
    labels = []
    for run in runs:
        said = filter(None, (say(run) for say in details[known_name(run)]))
        labels.append(", ".join([known_name(run), *said]))
    return labels


def differing(runs: Sequence[Run], *, merges: bool = True) -> list[str]:
    """Say of each run of a table all that differs between them, but for what has columns of its own.

    Args:
        runs: The runs in order; those that did not complete have no settings.
        merges: Whether to say who chose the merges, and how many; else they have a column, too.

    Returns:
        A text a run, without method, granularity and seed; empty where nothing else differs.
    """
    done = [run for run in runs if run.completed]
    rivals: dict[tuple[str, str], list[Run]] = {}
    for run in done:
        rivals.setdefault((run.method, run.granularity), []).append(run)
    said_here = _PLANNED if merges else ()
    planned = {key: [say for say in said_here if _vary(say, members)] for key, members in rivals.items()}
    settings = [say for say in SETTINGS if _vary(say, done)]
    keys = {key for run in done for key in run.options} - (set() if merges else {"planner.merge_count"})
    options = [key for key in sorted(keys) if _differs(key, done)]
    with_option = {(run.method, key) for run in done for key in run.options}

    def option(key: str, run: Run) -> str:
        stage = key.partition(".")[0]
        of_stage = stage in ("finish", "rebasis")  # which has the stage's name alone, too
        name = key if of_stage else key.partition(".")[2]
        if key in run.options:
            return f"{name} {run.options[key]}"
        if of_stage:
            return f"{key} default" if stage in run.options and key != stage else ""
        group = key.partition(".")[0]
        has = (run.method, key) in with_option if group == "method" else group != "planner" or run.planner
        return f"{name} default" if has and key != "planner.merge_count" else ""

    def text(run: Run) -> str:
        if not run.completed:
            return ""
        said = [say(run) for say in (*planned[run.method, run.granularity], *settings)]
        return ", ".join(filter(None, (*said, *(option(key, run) for key in options))))

    return [text(run) for run in runs]


def apart(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Say of each run what else differs between them than method, granularity, bits and plan.

    Args:
        runs: Completed runs, in order.

    Returns:
        For each run the settings that all methods share, and these with all options but those of planners.
    """
    settings = [say for say in SETTINGS if _vary(say, runs)]
    plain = [
        run.model_copy(update={"options": {k: v for k, v in run.options.items() if k[:8] != "planner."}})
        for run in runs
    ]
    shared = [", ".join(say(run) for say in settings) for run in runs]
    return list(zip(shared, differing(plain, merges=False), strict=True))


def _vary(say: Callable[[Run], str], runs: Sequence[Run]) -> bool:
    return len({say(run) for run in runs}) > 1


def _differs(key: str, runs: Sequence[Run]) -> bool:
    return len({run.options.get(key) for run in runs}) > 1


def open_count(run: Run) -> bool:
    """Tell whether the planner decided how many pairs to merge, for each seed again.

    Args:
        run: Any run.

    Returns:
        Whether it did.
    """
    return run.planner in ("budget", "pack") or run.options.get("planner.merge_count") == "auto"


def _details(rivals: Sequence[Run]) -> list[Callable[[Run], str]]:
    """Of runs of one name, choose each detail that makes more labels of them."""
    chosen: list[Callable[[Run], str]] = []
    labels: list[tuple[str, ...]] = [()] * len(rivals)
    for say in _DETAILS:
        longer = [(*label, say(run)) for label, run in zip(labels, rivals, strict=True)]
        if len(set(longer)) > len(set(labels)):
            chosen.append(say)
            labels = longer
    return chosen
