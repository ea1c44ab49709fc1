"""The one list of the numbers that runs are compared by; tables, page and W&B go over it.

A new metric is computed in `mrecg.pipeline.summary`, has a field in `RunSummary`, and an entry here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mrecg.runs.summary import RunSummary
from mrecg.runs.summary_parts import Accuracy, Number

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
            shown={"page": f"fp_{at}", "wandb": f"{at}_fp", **shown.get("fp", {})},
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


def _head_error(run: RunSummary) -> float | None:
    return run.units[-2 if len(run.units) > 1 else -1].error if run.units else None


def _regrowth(run: RunSummary) -> float | None:
    errors = [unit.error for unit in run.units[:-1] or run.units]
    if not errors or not all(math.isfinite(value) for value in errors):
        return None
    after = errors[errors.index(max(errors)) :]
    return sum(max(0.0, b - a) for a, b in pairwise(after))


METRICS: tuple[Metric, ...] = (
    Metric(key="head_error", title="Error into the head", get=_head_error, better="lower", format="fixed"),
    Metric(key="regrowth", title="Grows back", get=_regrowth, better="lower", format="fixed"),
    *_accuracies(
        "top1",
        "Top-1",
        fp={"table": "Top-1 FP", "terminal": "top-1\nFP"},
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
        shown={"page": "agreement", "wandb": "agreement_with_fp"},
    ),
    Metric(
        key="index",
        title="Oscillation index",
        note="Oscillation index of the relative error: 0 where it only rises",
        get=lambda run: run.oscillation.error_index if run.oscillation else None,
        better="lower",
        format="fixed",
        shown={
            "table": "Oscillation index",
            "terminal": "error\nindex",
            "page": "error_index",
            "configurations": "Index",
            "runs": "Index",
            "wandb": "oscillation_error_index",
        },
    ),
    Metric(
        key="peak",
        title="Peak error",
        note="Largest relative error after a unit",
        get=lambda run: run.oscillation.error_peak if run.oscillation else None,
        better="lower",
        format="fixed",
        shown={
            "table": "Peak error",
            "terminal": "error\npeak",
            "page": "error_peak",
            "configurations": "Peak",
            "runs": "Peak",
            "wandb": "oscillation_error_peak",
        },
    ),
    Metric(
        key="loss_index",
        title="Loss index",
        get=lambda run: run.oscillation.loss_index if run.oscillation else None,
        better="lower",
        shown={
            "table": "Loss index",
            "terminal": "loss\nindex",
            "page": "loss_index",
            "wandb": "oscillation_loss_index",
        },
    ),
    Metric(
        key="loss_peak",
        title="Peak loss",
        get=lambda run: run.oscillation.loss_peak if run.oscillation else None,
        better="lower",
        shown={"page": "loss_peak", "wandb": "oscillation_loss_peak"},
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
        note="Seconds of all stages",
        unit="s",
        get=lambda run: run.total_seconds if run.timing_s else None,
        better="lower",
        format="seconds",
        shown={
            "table": "Seconds",
            "terminal": "time\n(s)",
            "page": "total_seconds",
            "configurations": "Time",
            "runs": "Time",
        },
    ),
    Metric(
        key="own_seconds",
        title="Seconds of the run itself",
        unit="s",
        get=lambda run: sum(run.timing_s.values()) if run.timing_s else None,
        better="lower",
        format="seconds",
        shown={"wandb": "seconds"},
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
        shown={"page": "size_fp", "wandb": "size_bytes_fp"},
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


def named(place: Place) -> dict[str, Metric]:
    """The metrics of a place by their heading or key there, in order."""
    return {name: metric for metric in METRICS if (name := metric.name(place)) is not None}
