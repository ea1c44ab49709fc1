"""What the page draws, as plain values: networks, configurations, runs and plans."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from mrecg.errors import DataError
from mrecg.planner.schedule import group_name
from mrecg.report import compare, decisions, narrative
from mrecg.report.compare import Panel, Series
from mrecg.report.gather import left_out
from mrecg.report.labels import apart
from mrecg.report.missing import missing_run
from mrecg.report.page.curves import significant, with_ids
from mrecg.report.page.first import alone, comparison
from mrecg.report.page.measures import measured, metric_columns
from mrecg.report.page.networks import short_names, units
from mrecg.report.page.plans import plan_values
from mrecg.report.page.provenance import provenance
from mrecg.report.page.ranges import activation_ranges, weight_ranges
from mrecg.report.page.search import searches
from mrecg.report.page.sensitive import sensitivities
from mrecg.report.page.sequence import in_sequence
from mrecg.report.pairs import Finding, findings
from mrecg.report.palette import looks
from mrecg.runs.index import Read
from mrecg.runs.load import BrokenRunsError
from mrecg.runs.metrics import named
from mrecg.runs.names import method_name
from mrecg.runs.records import Run
from mrecg.system.checked_read import read_regular

DROPPING = ("qdrop", "pd_quant", "genie_m")
"""Methods whose steps leave part of the activations unquantized, and so do the losses that they log."""


def document(
    runs: Sequence[Run],
    *,
    command: str,
    version: str,
    read: Read = read_regular,
    folders: Sequence[Path] = (),
) -> dict[str, Any]:
    """Describe runs for the page.

    Args:
        runs: Any runs, in any order.
        command: What made the page.
        version: Of this package.
        read: How files of run folders are read.
        folders: Where sensitivities are looked for.

    Returns:
        Plain values that JSON can hold; what is not finite is None.
    """
    described = Document(runs, read)
    values = described.values(command=command, version=version)
    networks = {found["id"]: (model, units) for (model, _, units), found in described.networks.items()}
    return {**values, "sensitivities": sensitivities(folders, networks)}


class Document:
    """Gives everything an id and writes it down once.

    Args:
        runs: Any runs.
        read: How files of run folders are read.
    """

    def __init__(self, runs: Sequence[Run], read: Read = read_regular) -> None:
        self.runs = with_ids(runs)
        self.ids = {id(run): key for key, run in self.runs.items()}
        self.read = read
        # Each file is read once: a run's decisions are drawn, and compared with those of several others.
        self.decisions = cache(lambda key: self._decisions(self.runs[key]))
        self.panels = compare.panels(runs)
        self.networks: dict[tuple[str, str, tuple[str, ...]], dict[str, Any]] = {}
        self.plans: dict[tuple[object, ...], dict[str, Any]] = {}
        self.folders: dict[str, tuple[str, ...]] = {}
        self.broken: dict[Path, DataError] = {}

    def values(self, *, command: str, version: str) -> dict[str, Any]:
        """Assemble the document.

        Args:
            command: What made the page.
            version: Of this package.

        Returns:
            Plain values.

        Raises:
            BrokenRunsError: Decisions of runs cannot be read.
        """
        series = [(panel, one) for panel in self.panels for one in panel.series]
        names = {id(one): f"c{i}" for i, (_, one) in enumerate(series)}
        of_run = {id(run): (panel, one) for panel, one in series for run in one.runs}
        found = findings(self.panels, self._change)
        missing = None if found else missing_run(list(self.runs.values()))
        configurations = self._configurations(series, names)
        runs = []
        for key, run in self.runs.items():
            panel, one = of_run.get(id(run), (None, None))
            values = {"id": key, "configuration": names[id(one)] if one else None, **self._run(key, run)}
            values["plan"] = self._plan(run, names[id(one)]) if one else None
            other = compare.baseline_of(panel, one) if panel and one else None
            values["to_baseline"] = self._to_baseline(run, other) if other else None
            runs.append(values)
        if self.broken:
            raise BrokenRunsError(self.broken)
        runs_of = list(self.runs.values())
        return {
            "version": version,
            "made": date.today().isoformat(),
            "subject": self._subject(),
            "headline": narrative.parts(found, runs_of),
            "comparisons": [
                comparison(one, names, self.ids, place=narrative.place_of(one, found))
                for one in self._best_first(found)
            ],
            "alone": None if found else alone(runs_of, self._most_accurate(), names),
            "missing": asdict(missing) if missing else None,
            "command": command,
            "networks": list(self.networks.values()),
            "configurations": configurations,
            "runs": runs,
            "metrics": metric_columns(),
            "methods": self._methods(),
            "plans": list(self.plans.values()),
            "searches": searches(
                runs_of,
                {key: names[id(one)] for key, (_, one) in of_run.items()},
                {one["id"]: one["network"] for one in configurations},
            ),
            "left_out": left_out(runs_of),
            "provenance": provenance({key: run for key, run in self.runs.items() if run.detailed}),
        }

    def _methods(self) -> dict[str, str]:
        """Names of the methods; of two with one name both by their own, too."""
        own = dict.fromkeys(run.method for run in self.runs.values())
        names = [method_name(method) for method in own]
        return {
            m: n if names.count(n) == 1 or m == n else f"{n} ({m})" for m, n in zip(own, names, strict=True)
        }

    def _best_first(self, found: Sequence[Finding]) -> list[Finding]:
        best = narrative.best_of(found) if found else None
        return sorted(found, key=lambda one: one is not best)

    def _most_accurate(self) -> Series | None:
        every = [one for panel in self.panels for one in panel.series]
        return max(every, key=lambda one: max(compare.top1(run) or 0.0 for run in one.runs), default=None)

    def _subject(self) -> str:
        titles = list(dict.fromkeys(network["title"] for network in self.networks.values())) or [
            "no completed run"
        ]
        return titles[0] if len(titles) == 1 else f"{len(titles)} networks: {', '.join(titles)}"

    def _configurations(
        self, series: Sequence[tuple[Panel, Series]], names: dict[int, str]
    ) -> list[dict[str, Any]]:
        appearance = in_sequence(self.panels, looks(self.panels))
        found = []
        others = apart([one.first for _, one in series])
        for (panel, one), (settings, options) in zip(series, others, strict=True):
            run, look = one.first, appearance[one.label]
            baseline = compare.baseline_of(panel, one)
            found.append(
                {
                    "id": names[id(one)],
                    "network": self._network(run),
                    "bits": panel.widths,
                    "label": one.label,
                    "method": run.method,
                    "granularity": run.granularity,
                    "planner": run.planner,
                    "settings": settings,
                    "options": options,
                    "merge_count": compare.merge_count(run),
                    "dropped": run.method in DROPPING
                    and run.options.get("method.keep_probability") not in ("1", "1.0"),
                    "baseline": names[id(baseline)] if baseline else None,
                    "colour": look.colour_index,
                    "dash": look.dash,
                    "marker": look.marker,
                }
            )
        return found

    def _network(self, run: Run) -> str:
        key = (run.model, run.data, run.unit_names)
        known = self.networks.get(key)
        if known is None or (not known["described"] and run.plan is not None and run.plan.facts):
            name = known["id"] if known else f"n{len(self.networks)}"
            self.networks[key] = {
                "id": name,
                "title": f"{run.model} on {run.data}",
                "described": run.plan is not None and bool(run.plan.facts),
                "units": units(run),
                "parent": short_names(run.unit_names)[1],
            }
        return str(self.networks[key]["id"])

    def _plan(self, run: Run, configuration: str) -> str | None:
        plan = run.plan
        if plan is None:
            return None
        shown = (plan.groups, plan.planner, plan.criteria[:1])
        key = (run.model, run.data, run.widths, plan.granularity, *shown)
        if key not in self.plans:
            self.plans[key] = {
                "id": f"p{len(self.plans)}",
                "network": self._network(run),
                "configurations": [],
                **plan_values(plan),
            }
        made = self.plans[key]
        if configuration not in made["configurations"]:
            made["configurations"].append(configuration)
        return str(made["id"])

    def _decisions(self, run: Run) -> decisions.Decisions | None:
        kept = run.completed and run.detailed
        try:
            return decisions.read_decisions(run, read=self.read) if kept else None
        except DataError as error:  # all that are broken are told at once
            self.broken[run.path] = error
            return None

    def _run(self, key: str, run: Run) -> dict[str, Any]:
        kept = self.decisions(key)
        top1, full = compare.top1(run), run.fp.top1 if run.fp else None
        to_fp = None
        if kept is not None and len(kept):
            to_fp = decisions.change(decisions.right(kept, 1), decisions.right(kept, 2))
        elif top1 is not None and full is not None and run.evaluation_images:
            to_fp = decisions.unpaired(full, top1, run.evaluation_images)
        place = {name: i for i, name in enumerate(run.unit_names)}
        return {
            "name": run.name,
            "folder": str(run.path),
            "seed": run.seed,
            "status": run.status,
            "error": run.error,
            "device": run.device,
            **{name: measured(metric, run) for name, metric in named("page").items()},
            "images": run.evaluation_images,
            "standard_error": decisions.standard_error(top1, run.evaluation_images)
            if top1 is not None and run.evaluation_images
            else None,
            "to_fp": to_fp,
            "detailed": run.detailed,
            "seconds": dict(run.seconds),
            "errors": [significant(unit.error, 5) for unit in run.units],
            "losses": [significant(unit.loss, 5) for unit in run.units],
            "new_errors": [significant(error, 5) for error in run.evaluation_errors],
            "floors": _floors(run),
            "ranges": weight_ranges(run),
            "activation_ranges": activation_ranges(run),
            "groups": [[place[name] for name in group if name in place] for group in run.groups],
            "decisions": None if kept is None else decisions.flips(kept, self._names(run, kept)),
        }

    def _names(self, run: Run, kept: decisions.Decisions) -> dict[int, str]:
        digest = run.evaluation_set or str(run.path)
        if digest not in self.folders:  # many runs share one set of images, whose names may be 50,000
            self.folders[digest] = decisions.class_folders(run, read=self.read)
        return decisions.class_names(kept, self.folders[digest])

    def _change(self, before: Run, after: Run) -> dict[str, Any] | None:
        return decisions.between(before, after, lambda run: self.decisions(self.ids[id(run)]))

    def _to_baseline(self, run: Run, baseline: Series) -> dict[str, Any] | None:
        other = baseline.by_seed.get(run.seed)
        found = self._change(other, run) if other else None
        return {"run": self.ids[id(other)], **found} if found else None


def _floors(run: Run) -> list[float | None]:
    """Of each group the loss that it has in full precision after the quantized units: what it inherits."""
    known = {one.name: one.floor for one in run.group_results if one.floor is not None}
    return [significant(known.get(group_name(group)), 5) for group in run.groups] if known else []
