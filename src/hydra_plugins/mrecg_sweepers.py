"""Where Hydra looks for plugins: the sweepers of mrecg, each made in `mrecg.sweep`."""

from mrecg.sweep.grid import Grid
from mrecg.sweep.search import Search


class GridSweeper(Grid):
    """See `mrecg.sweep.grid`."""


class SearchSweeper(Search):
    """See `mrecg.sweep.search`."""
