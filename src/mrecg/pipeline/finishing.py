"""The stage after the reconstruction: the whole network learns what is free."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from mrecg.config.schema import RunConfig
from mrecg.pipeline.reuse import Reuse
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.events import Broadcast, FinishPoint, Silent
from mrecg.reconstruct.finishing import Finishing, measure_units, recall, record_of
from mrecg.reconstruct.group_state import Finished, GroupRecord
from mrecg.reconstruct.helpers import Team
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.runs.text import MEASURES, number
from mrecg.system.checked_read import DAMAGED
from mrecg.track.terminal import Advance, Display
from mrecg.track.trackers import Trackers


@dataclass(frozen=True, kw_only=True)
class FinishingStage:
    """What finishing works with.

    Attributes:
        team: Has the devices.
        records: Those of the reconstruction's groups: that of the finishing comes after them.
        sharing: Is told what another run had spent on it.
        clock: Takes the time.
        display: Shows progress.
        trackers: Get the curve, and the units' errors as they are afterwards.
    """

    team: Team
    records: Finished | None
    sharing: Reuse
    clock: Callable[[str], AbstractContextManager[None]]
    display: Display
    trackers: Trackers

    def run(
        self, network: QuantizedNetwork, calibration: Tensor, config: RunConfig, outcome: Reconstruction
    ) -> tuple[Reconstruction, Finishing | None]:
        """Finish a network, in place, if it is to be finished.

        Args:
            network: The reconstructed network.
            calibration: Calibration images on its device.
            outcome: Of the reconstruction.

        Returns:
            The outcome, with the units measured again; and how the network was finished, None where it was
            not.
        """
        if config.finish.name == "none":
            return outcome, None
        records = self.records
        with self.clock("finish"), self.display.stage("finish", config.finish.steps) as advance:
            listener = Broadcast(_Shown(advance), *self.trackers.listeners)
            if records is not None:
                records.announce(config.finish, [unit.name for unit in outcome.units], config.finish.steps)
            known = _known(network, records)
            if known is not None:
                finishing, record = known
                listener.finishing(finishing.points, config.finish.steps)
                if record.reused:
                    self.sharing.saved["finish"] = record.seconds
            else:
                begin, settings = time.perf_counter(), Settings.of(config)
                finishing = self.team.finish(
                    network, calibration, config.finish, settings, listener=listener, finished=records
                )
                units = measure_units(network, calibration, outcome.units, settings)
                record = record_of(network, finishing, units, time.perf_counter() - begin)
            if records is not None:
                records.keep(record)
        units = tuple(
            replace(unit, error=error, loss=loss)
            for unit, (error, loss) in zip(outcome.units, record.measured, strict=True)
        )
        self.trackers.units(units)
        self.display.note(line(finishing))
        return replace(outcome, units=units), finishing


def _known(network: QuantizedNetwork, records: Finished | None) -> tuple[Finishing, GroupRecord] | None:
    """Finish the network as a record says, if there is one."""
    record = None if records is None else records.recall()
    if record is None:
        return None
    try:
        return recall(network, record), record
    except DAMAGED:  # others write to the store, so it is not believed
        return None


class _Shown(Silent):
    """Shows the losses beside the bar of the stage."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._loss = self._held_out = ""

    def finishing(self, points: Sequence[FinishPoint], steps: int) -> None:
        for point in points:
            if point.loss is not None:
                self._loss = f"loss {number(point.loss)}"
            if point.held_out is not None:
                self._held_out = f"held out {number(point.held_out)}"
        self._advance(steps, "   ".join(filter(None, (self._loss, self._held_out))))


def line(finishing: Finishing) -> str:
    """Say in one line what came of it."""
    begun, chosen = finishing.checks[0], finishing.chosen
    count = finishing.held_out_images
    images = "1 held-out calibration image" if count == 1 else f"{count} held-out calibration images"
    what = f"finish: {MEASURES[finishing.measure]} on {images}"
    end = ""
    if finishing.diverged is not None:
        end = (
            f"; after {finishing.diverged} steps the loss was not finite, and learning ended: lower finish.lr"
        )
    if chosen.step == 0:
        return f"{what} did not fall below {begun.held_out:.4g}; the network stays as it was{end}"
    return f"{what} {begun.held_out:.4g} -> {chosen.held_out:.4g}, after {chosen.step} steps{end}"


RECORD = {
    "measure": "What the losses are: `kl` (nats) or `relative_error`.",
    "before": "The loss on the held-out images before the finishing.",
    "after": "The loss on them of the state that was kept.",
    "chosen_step": "The step whose state was kept. 0 means that finishing changed nothing.",
    "images": "The number of calibration images that were learned from.",
    "held_out_images": "The number of calibration images that chose.",
    "checks": "Each measurement on the held-out images: `step`, the training `loss` since the one before, "
    "and `held_out`, the loss on them.",
    "diverged_after": "The step after which a loss was not finite and the learning ended. The key is there "
    "only if that happened.",
}
"""The keys of a finishing in summary.json."""


def finish_record(finishing: Finishing) -> dict[str, Any]:
    """What summary.json says of it."""
    ended = {} if finishing.diverged is None else {"diverged_after": finishing.diverged}
    return {
        "measure": finishing.measure,
        "before": finishing.checks[0].held_out,
        "after": finishing.chosen.held_out,
        "chosen_step": finishing.chosen.step,
        "images": finishing.images,
        "held_out_images": finishing.held_out_images,
        "checks": [asdict(check) for check in finishing.checks],
        **ended,
    }
