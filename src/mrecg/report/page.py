"""The HTML page over any set of runs: one file that asks nothing of any network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrecg.planner.schedule import Plan
from mrecg.report import compare, narrative, plan_chart, styles, tables, unit_chart
from mrecg.report.compare import Panel
from mrecg.report.load import find_runs, load_run
from mrecg.report.records import Run
from mrecg.report.step_charts import step_charts
from mrecg.report.styles import Style
from mrecg.report.tables import compact


@dataclass(frozen=True, kw_only=True)
class PlanView:
    """A distinct merge schedule.

    Attributes:
        plan: The plan of the first run that has it.
        heading: What chose it.
        runs: Labels of all runs that have it.
        picture: An SVG element.
    """

    plan: Plan
    heading: str
    runs: tuple[str, ...]
    picture: Markup


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write the page.

    Args:
        folders: Run folders, or folders that hold some at any depth.
        out: The HTML file to write; its folder is made.

    Returns:
        The file.

    Raises:
        DataError: There is no run, or one that is broken.
    """
    runs = sorted((load_run(path) for path in find_runs(folders)), key=compare.sort_key)
    environment = Environment(
        loader=PackageLoader("mrecg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(environment.get_template("page.html.j2").render(_content(runs, folders)), encoding="utf-8")
    return out


def _content(runs: Sequence[Run], folders: Sequence[Path]) -> dict[str, Any]:
    panels = compare.panels(runs)
    looks = styles.styles(panels)
    found = compare.findings(panels)
    rows = tables.comparison_rows(runs)
    series_of = {id(run): series for panel in panels for series in panel.series for run in series.runs}
    return {
        "subject": _subject(runs),
        "counts": _counts(runs),
        "headline": narrative.headline(found, runs),
        "cards": [narrative.card(finding) for finding in found],
        "columns": tables.COLUMNS,
        "numeric": tables.NUMERIC,
        "rows": rows,
        "any_best": any(row.best for row in rows),
        "swatches": {
            key: (looks[series.label], Markup(looks[series.label].swatch))
            for key, series in series_of.items()
        },
        "several_models": len({(run.model, run.data) for run in runs if run.model}) > 1,
        "key_of": id,
        "failed": [run for run in runs if not run.completed],
        "panels": [_panel(number, panel, looks) for number, panel in enumerate(panels)],
        "colour_rule": styles.colour_rule(panels),
        "plans": _plans(runs),
        "runs": runs,
        "commands": _commands(runs),
        "stem_bits": tables.stem_bits,
        "compact": compact,
        "report_command": " ".join(["mrecg", "report", *(str(folder) for folder in folders)]),
        "environments": _environments(runs),
    }


def _subject(runs: Sequence[Run]) -> str:
    models = list(dict.fromkeys(f"{run.model} on {run.data}" for run in runs if run.model)) or [
        "no completed run"
    ]
    return models[0] if len(models) == 1 else f"{len(models)} networks: {', '.join(models)}"


def _counts(runs: Sequence[Run]) -> list[str]:
    failed = sum(not run.completed for run in runs)
    methods = list(dict.fromkeys(run.method for run in runs if run.method))
    bits = list(dict.fromkeys(run.bits for run in runs if run.bits))
    seeds = len({run.seed for run in runs if run.completed})
    counts = [_plural(len(runs), "run"), ", ".join(methods), ", ".join(bits)]
    counts += [_plural(seeds, "seed") if seeds else "", f"{failed} not completed" if failed else ""]
    return [count for count in counts if count]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _panel(number: int, panel: Panel, looks: dict[str, Style]) -> dict[str, Any]:
    ids = {series.label: f"p{number}s{i}" for i, series in enumerate(panel.series)}
    figures = []
    for measure in unit_chart.MEASURES:
        log = unit_chart.prefers_log(panel, measure)
        figures.append(
            {
                "measure": measure,
                "pictures": [
                    (
                        name,
                        log == is_log,
                        Markup(unit_chart.unit_chart(panel, measure, looks, ids, log=is_log)),
                    )
                    for name, is_log in (("linear", False), ("log", True))
                ],
                "hover": unit_chart.hover_data(panel, measure, looks, ids),
                "numbers": [unit_chart.mean_curve(series, measure) for series in panel.series],
            }
        )
    return {
        "title": panel.title,
        "units": panel.units,
        "series": [
            (ids[one.label], one, looks[one.label], Markup(looks[one.label].swatch)) for one in panel.series
        ],
        "figures": figures,
        "several_seeds": any(len(series.runs) > 1 for series in panel.series),
        "merged": any(run.merged for series in panel.series for run in series.runs),
        "steps": [(chart, Markup(chart.picture)) for chart in step_charts(panel, looks, ids)],
    }


def _plans(runs: Sequence[Run]) -> list[PlanView]:
    """Distinct schedules; where nothing was to be merged, the first plan, for its capacities."""
    with_plan = [(run, run.plan) for run in runs if run.plan is not None]
    merging = [(run, plan) for run, plan in with_plan if plan.merged or plan.granularity == "mixed"]
    distinct: dict[tuple[object, ...], list[tuple[Run, Plan]]] = {}
    for run, plan in merging or with_plan[:1]:
        distinct.setdefault((run.model, plan.granularity, plan.planner, plan.groups), []).append((run, plan))
    views = []
    for members in distinct.values():
        first, plan = members[0]
        how = f"{plan.granularity}, planned by {plan.planner}" if plan.planner else plan.granularity
        views.append(
            PlanView(
                plan=plan,
                heading=f"{first.model}: {how}",
                runs=tuple(dict.fromkeys(_label(run) for run, _ in members)),
                picture=Markup(plan_chart.plan_chart(plan)),
            )
        )
    return views


def _environments(runs: Sequence[Run]) -> list[tuple[list[str], dict[str, str]]]:
    """Distinct environments with the runs that had them."""
    distinct: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        if run.environment:
            distinct.setdefault(tuple(sorted(run.environment.items())), []).append(_label(run))
    return [(names, dict(items)) for items, names in distinct.items()]


def _commands(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Distinct commands with the runs that they repeat; one command can repeat a whole sweep."""
    distinct: dict[str, list[str]] = {}
    for run in runs:
        command = narrative.reproduce(run)
        if command:
            distinct.setdefault(command, []).append(_label(run))
    return list(distinct.items())


def _label(run: Run) -> str:
    return f"{run.name} (seed {run.seed})"
