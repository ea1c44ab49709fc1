"""The two evaluations of a run: in full precision before any work, and of what came out of it."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mrecg.data.images import Images
from mrecg.data.kept_batches import Batch, KeptBatches
from mrecg.errors import out_of_memory, short
from mrecg.pipeline.accuracy import Accuracy, accuracy, given_by
from mrecg.pipeline.metric import Metric, refuse_not_finite
from mrecg.pipeline.outputs import output_errors, told
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.report.tables import percent
from mrecg.runs.text import number
from mrecg.track.terminal import Display

_FULL = "evaluate FP"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured of a network.

    Attributes:
        accuracy: On the evaluation images; None without.
        metrics: What a metric of the user's own has given, by name; None without.
        output_error: Of a quantized network that is no classifier the relative error of each output, by its
            name; else None.
    """

    accuracy: Accuracy | None = None
    metrics: Mapping[str, float] | None = None
    output_error: Mapping[str, float] | None = None

    def note(self) -> str | None:
        """Say in one line what was measured; None: nothing was."""
        if self.accuracy is not None:
            return f"top-1 {percent(self.accuracy.top1)}, top-5 {percent(self.accuracy.top5)}"
        if self.metrics is None:
            return None
        return ", ".join(f"{key} {number(value)}" for key, value in self.metrics.items())


def decisions(full: Measurement, low: Measurement) -> Tensor | None:
    """Lay the decisions on the evaluation images side by side.

    Args:
        full: Of the full-precision network.
        low: Of the quantized one.

    Returns:
        Label, and both decisions, shape (N, 3); None without evaluation images.
    """
    if full.accuracy is None or low.accuracy is None:
        return None
    return torch.stack([full.accuracy.labels, full.accuracy.decisions, low.accuracy.decisions], 1)


class Evaluations:
    """Measures the full-precision network, and later the quantized one on the same images.

    Args:
        images: With evaluation images, a metric of the user's own, or neither.
        scores: Whether the network gives class scores, of which accuracy can be counted.
        lost: Whether the work would be lost if the second evaluation ended the run: then its errors are
            warnings. A run with a folder is resumed instead.
        device: Where the networks are.
        clock: Takes the time.
        display: Shows progress.
    """

    def __init__(
        self,
        images: Images,
        *,
        scores: bool,
        lost: bool,
        device: torch.device,
        clock: Callable[[str], AbstractContextManager[None]],
        display: Display,
    ) -> None:
        self._metric = None if images.metric is None else Metric(images.metric)
        self._device, self._lost, self._scores = device, lost, scores
        self._clock, self._display = clock, display
        self._count = len(images)
        self._total = self._count if self._metric is None else 1
        self._kept = KeptBatches(images.batches, len(images))

    def full(self, network: QuantizedNetwork) -> Measurement:
        """Measure the full-precision network: that proves labels, images and weights before any work.

        Args:
            network: The network, as the run has traced it.

        Raises:
            DataError: Labels or images are not what the model takes, or the metric gives no finite numbers.
        """
        found = self._measure(network.reference(), _FULL, self._kept.first())
        refuse_not_finite(found.metrics or {})
        if (said := found.note()) is not None:
            self._display.note(f"full precision: {said}")
        return found

    def quantized(
        self,
        network: QuantizedNetwork,
        full: Measurement,
        *,
        watch: Callable[[Iterator[Batch]], Iterator[Batch]],
    ) -> Measurement:
        """Measure the quantized network.

        Args:
            network: The network.
            full: Of the full-precision one, to compare with.
            watch: Sees the evaluation images on their way.
        """
        reference = full.accuracy.logits if full.accuracy else None
        try:
            batches = watch(self._kept.second())
            if self._metric is None and self._count and not self._scores:
                return self._compared(network, batches)
            return self._measure(network.model, "evaluate", batches, reference=reference)
        except Exception as error:
            if not self._lost or out_of_memory(error):
                raise
            warnings.warn(
                f"the quantized network is complete, but was not measured: {type(error).__name__}: "
                f"{short(error, 200)}; measure result.model again",
                stacklevel=2,
            )
            return Measurement()

    def _measure(
        self, model: nn.Module, stage: str, batches: Iterator[Batch], *, reference: Tensor | None = None
    ) -> Measurement:
        with self._clock("evaluate"), self._display.stage(stage, self._total) as advance:
            if self._metric is not None:
                which = "full-precision" if stage == _FULL else "quantized"
                metrics = self._metric(model, self._device, f"the {which} network")
                advance(1)
                return Measurement(metrics=metrics)
            if not self._count:
                return Measurement()
            if not self._scores:  # only whether the network takes these images
                for x, _ in batches:
                    given_by(model, x, self._device)
                    advance(len(x))
                return Measurement()
            found = accuracy(
                model,
                batches,
                device=self._device,
                progress=advance,
                keep_logits=reference is None,
                reference=reference,
            )
            return Measurement(accuracy=found)

    def _compared(self, network: QuantizedNetwork, batches: Iterator[Batch]) -> Measurement:
        """Compare the outputs with those in full precision, where they are no class scores."""
        with self._clock("evaluate"), self._display.stage("evaluate", self._count) as advance:
            full, low = network.reference(), network.model
            found = output_errors(full, low, batches, device=self._device, progress=advance)
        self._display.note(told(found, self._count))
        return Measurement(output_error=found)
