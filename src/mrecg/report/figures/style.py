"""What all figures share: sizes, fonts, lines, and how a file is written."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrecg.errors import DataError, one_of
from mrecg.report.palette import COLOURS_LIGHT, Look
from mrecg.system.atomic_write import write_durably

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ONE_COLUMN, TWO_COLUMNS = 3.35, 7.0
"""Widths of one column and of two of a conference paper, inches."""
DPI = 200
INK, SOFT, GRID, PLAIN = "#17212b", "#56636f", "#e3e8ed", "#b9c1c9"
GAIN, HARM, BAND = COLOURS_LIGHT[5], COLOURS_LIGHT[4], "#f7efe6"
"""Lower than the block-wise error, higher, and behind what is merged."""
SMALL, TEXT, TITLE = 6.5, 7.5, 8.0
"""Sizes of type, points: the smallest that journals take, what else is in a figure, and a title."""
LEGEND_ROW = 0.14
"""Height of a row of a legend, inches."""
FORMATS = (".svg", ".pdf", ".png")

_STYLE = {
    # Text stays text in both formats, so that an author can edit and search it. STIX comes with matplotlib,
    # so no font of the system matters; it fits the Times of most papers. An SVG holds no fonts: Times, which
    # Windows and macOS have, is as wide and stands in. DejaVu has the letters that STIX lacks.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": ["serif", "DejaVu Serif"],
    "font.serif": ["STIXGeneral", "STIX Two Text", "Times New Roman", "Times", "serif"],
    "mathtext.fontset": "stix",
    "svg.hashsalt": "mrecg",
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": TEXT,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "ytick.minor.size": 1.2,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "axes.labelpad": 3.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.4,
    # Tick labels are plain text: as mathtext they take a quarter of the time of a figure.
    "axes.formatter.limits": (-3, 4),
    "figure.constrained_layout.h_pad": 0.025,
    "figure.constrained_layout.w_pad": 0.025,
}
_DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (3.6, 1.5)),
    "dot": (0, (1, 1.3)),
    "dashdot": (0, (3.6, 1.3, 1, 1.3)),
    "longdash": (0, (7, 1.8)),
    "longdashdot": (0, (7, 1.4, 1, 1.4)),
}
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "x": "X",
    "star": "*",
}
_SIZES = {"diamond": 0.95, "triangle-up": 1.2, "triangle-down": 1.2, "x": 1.15, "star": 1.7}
"""So that the markers look equally large."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw and write in here: one style, whatever the user's own matplotlibrc says."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def new_figure(*, width: float, height: float) -> "Figure":
    """Make a figure of its own canvas: no pyplot, and the caller's backend is left alone.

    Args:
        width: Inches.
        height: Inches.

    Returns:
        The figure, laid out by constraints.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: Path, *, title: str, caption: str = "") -> Path:
    """Write a figure such that the same figure gives the same bytes.

    Args:
        figure: The figure; call this within `paper_style`.
        path: The file; its ending chooses the format, its folder is made.
        title: Goes into the file's metadata.
        caption: Likewise.

    Raises:
        DataError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise one_of(f"{path}: the ending", path.suffix, FORMATS, error=DataError)
    metadata: dict[str, dict[str, Any]] = {
        ".svg": {"Title": title, "Description": caption, "Date": None},
        ".pdf": {"Title": title, "Subject": caption, "CreationDate": None},
        ".png": {"Title": title},
    }
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        ending = path.suffix.lower()
        if figure.get_layout_engine() is not None:
            # Once for all formats: they look the same, and it takes most of the time.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        content = io.BytesIO()
        figure.savefig(content, dpi=DPI, format=ending[1:], metadata=metadata[ending])
        write_durably(path, content.getvalue())
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that says what to do.

    Args:
        path: What is written.

    Raises:
        DataError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}); name a place that you may write to"
        ) from error


def line_style(look: Look) -> dict[str, Any]:
    """Say in matplotlib's words how a configuration looks.

    Returns:
        Arguments of a line. Filled markers have a white rim, which parts those that overlap.
    """
    colour = COLOURS_LIGHT[look.colour_index]
    hollow = look.marker.endswith("-open")
    return {
        "color": colour,
        "linestyle": _DASHES[look.dash],
        "marker": _MARKERS[look.marker.removesuffix("-open")],
        "markerfacecolor": "white" if hollow else colour,
        "markeredgecolor": colour if hollow else "white",
        "markeredgewidth": 0.8 if hollow else 0.4,
        "markersize": (3.2 if hollow else 4.0) * _SIZES.get(look.marker.removesuffix("-open"), 1.0),
    }


def blended(colour: str, part: float) -> str:
    """Mix a colour with white.

    Args:
        colour: As "#rrggbb".
        part: What is left of it.

    >>> blended("#000000", 0.4)
    '#999999'
    """
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - part * (255 - channel)):02x}" for channel in channels)


def luminance(colour: Sequence[float]) -> float:
    """Relative luminance of a colour whose channels are from 0 to 1 (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
