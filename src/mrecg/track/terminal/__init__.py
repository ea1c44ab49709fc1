"""Progress on the screen: a live display on a terminal, plain lines elsewhere."""

from mrecg.track.terminal.advance import Advance
from mrecg.track.terminal.display import Display, Quiet, Screen, console_on, results_console

__all__ = ["Advance", "Display", "Quiet", "Screen", "console_on", "results_console"]
