"""Sensitivities on the terminal: a line for each unit, and the layers that harm most."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mrecg.runs.sensitivity import Sensitive, Sensitivity
from mrecg.runs.text import MEASURES, number
from mrecg.track.terminal.words import blocks, shorten

MOST, NAME, BAR = 15, 30, 20
"""Layers that are listed, columns of a name, and of a bar."""
_OUTPUTS = {"kl": "predictions in nats", "relative_error": "outputs"}
_HEADS = {"kl": "KL", "relative_error": "outputs"}


class SensitivityView:
    """Draws sensitivities for a terminal.

    Args:
        found: What was measured.
    """

    def __init__(self, found: Sensitivity) -> None:
        self.found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        yield Text(f"{found.model}: quantized alone, all else in full precision", "bold")
        yield Text(
            f"On {found.images} held-out calibration images: {MEASURES[found.measure]} from the "
            f"full-precision {_OUTPUTS[found.measure]}, and relative error of the last feature map.",
            "dim",
        )
        yield Text("")
        yield Text("Units, in the network's order", "bold")
        yield _table(found.of("unit"), found)
        yield Text("")
        worst = found.worst("layer")
        yield Text(f"Layers that harm most ({min(MOST, len(worst))} of {len(worst)} measurements)", "bold")
        yield _table(worst[:MOST], found)
        yield Text("")


def _table(rows: Sequence[Sensitive], found: Sensitivity) -> Table:
    most = max((row.kl for row in rows), default=0.0) or 1.0
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in ("", "quantized", ""):
        table.add_column(head, no_wrap=True)
    for head in ("bits", "weights", _HEADS[found.measure], "error"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            shorten(row.name, NAME),
            row.quantized,
            blocks(max(0.0, row.kl) / most * BAR),
            str(row.bits),
            f"{row.parameters:,}" if row.parameters else "",
            number(row.kl),
            "" if row.error is None else number(row.error),
        )
    return table
