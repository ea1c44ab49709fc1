"""The panels of our HTML report as a W&B workspace and a W&B report, from facts about runs; no network."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mrecg.config.outputs import LoggerConfig
from mrecg.errors import ConfigError
from mrecg.registry import CRITERIA
from mrecg.system.atomic_write import write_durably
from mrecg.track.dashboard.facts import Facts, Network, names
from mrecg.track.wandb_logger import metrics
from mrecg.track.wandb_logger.compare_run import JOB_TYPE
from mrecg.track.wandb_logger.wandb_run import quiet

PACKAGE = "wandb-workspaces"
KIND = "mrecg-dashboard"
"""Value of the first key of a specification, so that no other file is applied by mistake."""
TITLE = "MRECG: oscillation and what merging does to it"

COMPARED = (
    ("top1", "Top-1", False),
    ("oscillation_loss_peak", "Largest loss", True),
    ("oscillation_head_error", "Error into the head", False),
    ("oscillation_regrowth", "Grows back", False),
    ("seconds", "Seconds, with what was reused", False),
)
"""Numbers of the summary that runs are compared by, with a title, and whether on a logarithmic axis."""
QUANTITIES = {
    "reconstruction": "Reconstruction loss of each unit",
    "rounding": "Rounding regulariser of each unit",
    "prediction": "Prediction loss of each unit",
    "total": "Total loss of each unit",
}
"""Small multiples of the dashboard, in its order."""


def packages() -> tuple[Any, Any]:
    """Import the two halves of wandb-workspaces.

    Returns:
        Its modules ``workspaces`` and ``reports.v2``.

    Raises:
        ConfigError: The extra is not installed.
    """
    quiet(LoggerConfig().wandb)
    try:
        import wandb_workspaces.reports.v2 as reports
        from wandb_workspaces import workspaces
    except ImportError:
        raise ConfigError(f"dashboard: requires {PACKAGE}; pip install 'mrecg[dashboard]'") from None
    return workspaces, reports


def specification(facts: Facts, *, project: str, entity: str) -> dict[str, Any]:
    """Describe the dashboard in W&B's own terms.

    Args:
        facts: What the runs have.
        entity: W&B user or team; may be empty until the specification is applied.

    Returns:
        Plain values: ``kind``, ``versions``, ``runs``, ``workspace`` and ``report``.

    Raises:
        ConfigError: The extra is not installed.
    """
    workspace, report = _workspace(facts, project, entity), _report(facts, project, entity)
    return {
        "kind": KIND,
        "versions": {package: version(package) for package in ("mrecg", PACKAGE, "wandb")},
        "runs": facts.runs,
        "workspace": _plain(workspace._to_model()),
        "report": _plain(report._to_model()),
    }


def write(specification: dict[str, Any], file: Path) -> Path:
    """Write a specification.

    Args:
        specification: From `specification`.
        file: Where; its folder is made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably(file, (json.dumps(specification, indent=1) + "\n").encode())
    return file


def _plain(model: Any) -> dict[str, Any]:
    """Plain values of one of the package's own records, which has no public way to get them."""
    values: dict[str, Any] = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    return values


def _workspace(facts: Facts, project: str, entity: str) -> Any:
    ws, _ = packages()

    def section(name: str, panels: Sequence[Any], *, columns: int = 2, opened: bool = True) -> Any:
        rows = 2 if len(panels) > columns else 1
        layout = ws.SectionLayoutSettings(columns=columns, rows=rows)
        return ws.Section(name=name, panels=list(panels), is_open=opened, layout_settings=layout)

    sections = [
        section("Oscillation", _oscillation(facts), columns=3),
        section("Method comparison", _comparison(), columns=3),
    ]
    if len(facts.merged_pairs) > 1:
        sections.append(section("Merge count", _ablation(), columns=3))
    if facts.criteria:
        sections.append(section("Plan", _plan(facts), columns=3, opened=False))
    for network in facts.networks:
        for quantity, title in _shown(facts):
            name = f"{title}: {_label(network, facts)}"
            panels = _multiples(network, quantity)
            sections.append(section(name, panels, columns=4, opened=quantity == "reconstruction"))
        if first := network.places["beta"][:1]:
            beta = _curve("beta", first, "Exponent of the regulariser, the same in all units")
            sections.append(section(f"Schedule: {_label(network, facts)}", [beta], opened=False))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        auto_generate_panels=False,
        sections=sections,
        settings=ws.WorkspaceSettings(group_by_prefix="first", max_runs=20),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(key) for key in facts.keys],
            group_colors={name: colour for name, colour in facts.labels.items() if colour},
            filters=[ws.Metric("JobType") != JOB_TYPE],
            order=[ws.Ordering(ws.Summary("top1"), ascending=False)],
            pinned_columns=[f"summary:{key}" for key, *_ in COMPARED],
        ),
    )


def _report(facts: Facts, project: str, entity: str) -> Any:
    _, wr = packages()

    def grid(name: str, panels: Sequence[Any], columns: int) -> Any:
        width = 24 // columns
        for i, panel in enumerate(panels):
            panel.layout = wr.Layout(x=i % columns * width, y=i // columns * 7, w=width, h=7)
        groupby = [f"config.{key}" for key in facts.keys]
        runs = wr.Runset(name=name, groupby=groupby, order=[wr.OrderBy("top1", ascending=False)])
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    models = names(dict.fromkeys(network.model for network in facts.networks))
    blocks = [
        wr.TableOfContents(),
        wr.H2("Oscillation"),
        wr.P(
            "Error and reconstruction loss after each unit, in network order, with all units up to there "
            f"quantized. Runs are grouped by {names(facts.keys)}: a line is the mean of its group, its band "
            "reaches from the smallest to the largest. Error against block is the error over that of the "
            "block-wise run of the same settings, less one: below 0 where merging helps."
        ),
        grid("all runs", _oscillation(facts), 2),
        wr.H2("Method comparison"),
        grid("all runs", _comparison(), 3),
    ]
    if len(facts.merged_pairs) > 1:
        blocks += [
            wr.H2("Merge count"),
            wr.P(f"Pairs merged in these runs: {names(map(str, facts.merged_pairs))}."),
            grid("all runs", _ablation(), 2),
        ]
    if facts.criteria:
        blocks += [wr.H2("Plan"), grid("all runs", _plan(facts), 3)]
    for network in facts.networks:
        for quantity, title in _shown(facts)[:1]:
            blocks += [
                wr.H2(f"{title}: {_label(network, facts)}"),
                wr.P("The curve of a merged group stands under its last unit, where its loss is measured."),
                grid("all runs", _multiples(network, quantity), 4),
            ]
    return wr.Report(
        entity=entity,
        project=project,
        title=TITLE,
        description=f"{facts.runs} runs of {models}",
        blocks=blocks,
        width="fluid",
    )


def _oscillation(facts: Facts) -> list[Any]:
    found = [
        _line([metrics.ERROR], "Relative error after each unit", metrics.UNIT, log=False),
        _line([metrics.LOSS], "Reconstruction loss after each unit", metrics.UNIT),
    ]
    if facts.against_block:
        title = "Error against block: over that of the block-wise run, less one"
        found.insert(1, _line([metrics.AGAINST_BLOCK], title, metrics.UNIT, log=False))
    if facts.new_images:
        title = "Relative error after each unit on evaluation images"
        found.append(_line([metrics.NEW_IMAGES], title, metrics.UNIT, log=False))
    if facts.floors:
        title = "Floor: the loss of each group in full precision after the quantized units before it"
        found.append(_line([metrics.FLOOR], title, metrics.UNIT))
    return found


def _plan(facts: Facts) -> list[Any]:
    capacities = [
        _line(
            [metrics.capacity_key(name)],
            f"Capacity of each unit by {name}",
            metrics.UNIT,
            log=name in CRITERIA and CRITERIA.get(name).log,
        )
        for name in dict.fromkeys(name for name, _ in facts.criteria)
    ]
    differences = [
        _line(
            [metrics.difference_key(name, difference)],
            f"Difference ({difference}) to the unit before by {name}",
            metrics.UNIT,
            log=False,
        )
        for name, difference in facts.criteria
    ]
    return [*capacities, *differences]


def _comparison() -> list[Any]:
    _, wr = packages()
    bars = [wr.BarPlot(title=title, metrics=[key], max_bars_to_show=30) for key, title, _ in COMPARED]
    return [
        *bars,
        _scatter("seconds", "top1", "Top-1 against time"),
        _scatter("oscillation_loss_peak", "top1", "Top-1 against the largest loss"),
        _scatter("oscillation_head_error", "top1", "Top-1 against the error into the head"),
    ]


def _ablation() -> list[Any]:
    return [
        _scatter("merged_pairs", key, f"{title} against merged pairs", log=log)
        for key, title, log in COMPARED
    ]


def _multiples(network: Network, quantity: str) -> list[Any]:
    """Make one panel for each unit; the curves of a later pass go into that of the first."""
    panels: dict[str, list[str]] = {}
    for place in network.places[quantity]:
        first = next((unit for unit in panels if place.startswith(f"{unit}_")), place)
        panels.setdefault(first, []).append(place)
    return [_curve(quantity, places, first) for first, places in panels.items()]


def _curve(quantity: str, places: Sequence[str], title: str) -> Any:
    keys = [metrics.curve_key(place, quantity) for place in places]
    return _line(keys, title, metrics.STEP, log=quantity != "beta")


def _line(keys: Sequence[str], title: str, axis: str, *, log: bool = True) -> Any:
    _, wr = packages()
    return wr.LinePlot(
        title=title,
        x=axis,
        y=list(keys),
        title_x=axis,
        log_y=log or None,
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        smoothing_type="none",
        max_runs_to_show=20,
    )


def _scatter(x: str, y: str, title: str, *, log: bool = False) -> Any:
    _, wr = packages()
    return wr.ScatterPlot(
        title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), log_y=log or None, regression=False
    )


def _shown(facts: Facts) -> list[tuple[str, str]]:
    return [(quantity, title) for quantity, title in QUANTITIES.items() if quantity in facts.quantities]


def _label(network: Network, facts: Facts) -> str:
    """The model, and how many units where the runs cut it in several ways."""
    twice = sum(other.model == network.model for other in facts.networks) > 1
    return f"{network.model}, {len(network.units)} units" if twice else network.model
