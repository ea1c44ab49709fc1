"""The one list of the numbers that runs are compared by; tables, page and W&B go over it.

A new metric is computed in `mrecg.pipeline.summary`, has a field in `RunSummary`, and an entry here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from mrecg.runs.measures import head_error, regrowth
from mrecg.runs.summary import RunSummary
from mrecg.runs.summary_parts import Accuracy, Number, Oscillation

Place = Literal["table", "terminal", "markdown", "page", "configurations", "runs", "wandb"]
"""Where a metric appears: the comparison table of the small page, the table on the terminal, that of Markdown
(which has the terminal's, too), the data of the page, the page's tables of configurations and of every run,
the summary of W&B."""
Format = Literal["percent", "fixed", "compact", "seconds", "bytes", "megabytes", "count"]
"""How it is written: a fraction as percent, three decimals, three digits, one decimal, kB or MB of bytes, the
same of megabytes, a whole number."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of a run.

    Attributes:
        title: As a heading.
        get: Reads it from a summary; None where it was not measured.
        unit: Of the number that ``get`` gives; empty for one without.
        better: Which of two runs is the better one, where that can be said.
        format: How it is written.
        note: Explains it.
        shown: Its heading, or in the data of the page and in W&B its key, by the place where it appears;
            None: everywhere, by ``title`` and ``key``.
    """

    key: str
    title: str
    get: Callable[[RunSummary], Number | None]
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    format: Format = "compact"
    note: str = ""
    shown: Mapping[Place, str] | None = None

    def name(self, place: Place) -> str | None:
        """Its heading or key in a place; None where it does not appear."""
        if self.shown is not None:
            narrow = self.shown.get("terminal", "") if place == "markdown" else ""
            return self.shown.get(place, narrow.replace("\n", " ") or None)
        return self.key if place in ("page", "wandb") else self.title

    def value(self, run: RunSummary) -> Number | None:
        """The number; None where it was not measured or is not a number."""
        found = self.get(run)
        return None if found is None or math.isnan(found) else found


def _accuracies(at: Literal["top1", "top5"], title: str, **shown: Mapping[Place, str]) -> list[Metric]:
    """An accuracy after quantization, in full precision, and the difference."""

    def of(found: Accuracy | None) -> float | None:
        return getattr(found, at) if found else None

    def difference(run: RunSummary) -> float | None:
        full, low = of(run.fp), of(run.quantized)
        return None if full is None or low is None else low - full

    return [
        Metric(
            key=f"{at}_fp",
            title=f"{title} FP",
            get=lambda run: of(run.fp),
            format="percent",
            better="higher",
            shown={"wandb": f"{at}_fp", **shown.get("fp", {})},
        ),
        Metric(
            key=at,
            title=f"{title} quantized",
            get=lambda run: of(run.quantized),
            format="percent",
            better="higher",
            shown={"page": at, "runs": title, "wandb": at, **shown.get("quantized", {})},
        ),
        Metric(
            key=f"{at}_difference",
            title=f"{title} to FP",
            get=difference,
            format="percent",
            better="higher",
            shown={"wandb": f"{at}_difference"},
        ),
    ]


def _along(
    key: str,
    title: str,
    take: Callable[[Oscillation], Number],
    *,
    shown: Mapping[Place, str],
    note: str = "",
    better: Literal["lower"] | None = None,
) -> Metric:
    """A number of the curves along the units that the summary holds."""

    def get(run: RunSummary) -> Number | None:
        return take(run.oscillation) if run.oscillation else None

    format: Format = "compact" if key.startswith("loss") else "fixed"
    return Metric(key=key, title=title, get=get, note=note, better=better, format=format, shown=shown)


METRICS: tuple[Metric, ...] = (
    *_accuracies(
        "top1",
        "Top-1",
        fp={"table": "Top-1 FP", "terminal": "top-1\nFP", "page": "fp_top1"},
        quantized={"table": "Top-1 quantized", "terminal": "top-1\nquant."},
    ),
    *_accuracies("top5", "Top-5"),
    Metric(
        key="kl_to_fp",
        title="KL to FP",
        note="Divergence of the class probabilities from full precision on the evaluation images, nats",
        unit="nats",
        get=lambda run: run.to_fp.kl if run.to_fp else None,
        better="lower",
        format="fixed",
        shown={
            "markdown": "KL to FP",
            "page": "kl_to_fp",
            "configurations": "KL to FP",
            "runs": "KL to FP",
            "wandb": "kl_to_fp",
        },
    ),
    Metric(
        key="agreement",
        title="Agreement with FP",
        note="Evaluation images of which full precision says the same class",
        get=lambda run: run.to_fp.agreement if run.to_fp else None,
        better="higher",
        format="percent",
        shown={"wandb": "agreement_with_fp"},
    ),
    _along(
        "loss_peak",
        "Largest loss",
        lambda found: found.loss_peak,
        note="Largest reconstruction loss after a unit, the largest error of the paper",
        better="lower",
        shown={
            **{"table": "Largest loss", "terminal": "largest\nloss", "page": "loss_peak"},
            **{"configurations": "Largest loss", "runs": "Largest loss", "wandb": "oscillation_loss_peak"},
        },
    ),
    Metric(
        key="head_error",
        title="Error into the head",
        note="Relative error of the last feature map, which the classifier is given",
        get=lambda run: head_error(run.errors) if run.units else None,
        better="lower",
        format="fixed",
        shown={
            **{"table": "Error into the head", "terminal": "error\ninto head", "page": "head_error"},
            **{"configurations": "Error into head", "runs": "Error into head"},
            "wandb": "oscillation_head_error",
        },
    ),
    Metric(
        key="regrowth",
        title="Grows back",
        note="Rises of the relative error after its peak, without the classifier; 0 where it only falls",
        get=lambda run: regrowth(run.errors) if run.units else None,
        better="lower",
        format="fixed",
        shown={
            **{"table": "Grows back", "terminal": "grows\nback", "page": "regrowth"},
            **{"configurations": "Grows back", "runs": "Grows back", "wandb": "oscillation_regrowth"},
        },
    ),
    _along(
        "index",
        "Total up-and-down",
        lambda found: found.error_index,
        note="Twice the smaller of all rises and all falls of the relative error; says nothing of harm",
        shown={"page": "error_index", "runs": "Total up-and-down", "wandb": "oscillation_error_index"},
    ),
    _along(
        "peak",
        "Largest error",
        lambda found: found.error_peak,
        note="Largest relative error after a unit",
        shown={"page": "error_peak", "runs": "Largest error", "wandb": "oscillation_error_peak"},
    ),
    _along(
        "loss_index",
        "Total up-and-down of the loss",
        lambda found: found.loss_index,
        shown={"wandb": "oscillation_loss_index"},
    ),
    Metric(
        key="last_error",
        title="Last error",
        get=lambda run: run.units[-1].error if run.units else None,
        better="lower",
        shown={"markdown": "last error"},
    ),
    Metric(
        key="seconds",
        title="Seconds",
        note="Seconds of all stages, with what was reused from other runs",
        unit="s",
        get=lambda run: run.total_seconds if run.timing_s else None,
        better="lower",
        format="seconds",
        shown={
            **{"table": "Seconds", "terminal": "time\n(s)", "page": "total_seconds"},
            **{"configurations": "Time", "runs": "Time", "wandb": "seconds"},
        },
    ),
    Metric(
        key="seconds_here",
        title="Seconds of the run itself",
        unit="s",
        get=lambda run: run.seconds_here if run.timing_s else None,
        format="seconds",
        shown={"wandb": "seconds_here"},
    ),
    Metric(
        key="seconds_reused",
        title="Seconds that other runs had spent",
        unit="s",
        get=lambda run: run.seconds_reused if run.timing_s else None,
        format="seconds",
        shown={"wandb": "seconds_reused"},
    ),
    Metric(
        key="memory",
        title="Peak memory",
        unit="MB",
        get=lambda run: run.peak_memory_mb or None,
        better="lower",
        format="megabytes",
        shown={"page": "memory_mb", "runs": "Memory", "wandb": "peak_memory_mb"},
    ),
    Metric(
        key="size_fp",
        title="Size FP",
        unit="bytes",
        get=lambda run: run.size_fp or None,
        format="bytes",
        shown={"wandb": "size_bytes_fp"},
    ),
    Metric(
        key="size",
        title="Size",
        note="Bytes of the weights",
        unit="bytes",
        get=lambda run: run.size_quantized or None,
        better="lower",
        format="bytes",
        shown={"table": "Size", "page": "size", "configurations": "Size", "wandb": "size_bytes"},
    ),
    Metric(
        key="merged_pairs",
        title="Merged pairs",
        get=lambda run: run.merged_pairs,
        format="count",
        shown={"wandb": "merged_pairs"},
    ),
    Metric(
        key="optimisation_steps",
        title="Optimisation steps",
        get=lambda run: run.optimisation_steps,
        better="lower",
        format="count",
        shown={"wandb": "optimisation_steps"},
    ),
    Metric(
        key="evaluation_images",
        title="Evaluation images",
        get=lambda run: run.evaluation_images if "evaluation_images" in run.model_fields_set else None,
        format="count",
        shown={"wandb": "evaluation_images"},
    ),
)
"""In the order of the tables."""
BY_KEY = {metric.key: metric for metric in METRICS}
"""The same by their keys."""


def named(place: Place) -> dict[str, Metric]:
    """The metrics of a place by their heading or key there, in order."""
    return {name: metric for metric in METRICS if (name := metric.name(place)) is not None}
