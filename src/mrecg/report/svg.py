"""A small SVG builder: elements, scales and ticks. Every string that enters a picture is escaped here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Attribute = str | float


def element(tag: str, attributes: dict[str, Attribute] | None = None, *children: str) -> str:
    """Write one element.

    Args:
        tag: Its name.
        attributes: Its attributes; numbers are rounded to two decimals.
        children: Markup inside; text goes through `text` or `title`.

    Returns:
        The markup.

    >>> element("g", {"class": "a<b", "x": 1.23456}, "<g/>")
    '<g class="a&lt;b" x="1.23"><g/></g>'
    """
    written = "".join(f' {name}="{_attribute(value)}"' for name, value in (attributes or {}).items())
    inner = "".join(children)
    return f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>"


def text(x: float, y: float, content: str, **attributes: Attribute) -> str:
    """Write a text element.

    Args:
        x: Horizontal position, px.
        y: Baseline, px.
        content: Plain text.
        attributes: More attributes; underscores stand for hyphens, a trailing one is dropped.

    Returns:
        The markup.
    """
    rest = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    return element("text", {"x": x, "y": y, **rest}, escape(content, quote=False))


def title(content: str) -> str:
    """Write the title that a browser shows on hover and a screen reader reads.

    Args:
        content: Plain text.

    Returns:
        The markup.
    """
    return element("title", None, escape(content, quote=False))


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Write a straight line.

    Args:
        x1: Start, px.
        y1: Start, px.
        x2: End, px.
        y2: End, px.
        class_: CSS class.

    Returns:
        The markup.
    """
    return element("line", {"class": class_, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def path(points: Sequence[tuple[float, float] | None], class_: str) -> str:
    """Write a broken line.

    Args:
        points: Corners in px; None interrupts the line.
        class_: CSS class.

    Returns:
        The markup; empty without points.
    """
    commands, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        commands.append(f"{pen}{_short(point[0])} {_short(point[1])}")
        pen = "L"
    return element("path", {"class": class_, "d": "".join(commands)}) if commands else ""


def marker(shape: int, x: float, y: float, class_: str, radius: float = 3.6) -> str:
    """Write a marker.

    Args:
        shape: 0 circle, 1 square, 2 triangle, 3 diamond; more start again.
        x: Centre, px.
        y: Centre, px.
        class_: CSS class.
        radius: Half its size, px.

    Returns:
        The markup.
    """
    if shape % 4 == 0:
        return element("circle", {"class": class_, "cx": x, "cy": y, "r": radius})
    r = radius
    corners = {
        1: [(-0.9 * r, -0.9 * r), (0.9 * r, -0.9 * r), (0.9 * r, 0.9 * r), (-0.9 * r, 0.9 * r)],
        2: [(0, -1.2 * r), (1.1 * r, 0.8 * r), (-1.1 * r, 0.8 * r)],
        3: [(0, -1.3 * r), (1.3 * r, 0), (0, 1.3 * r), (-1.3 * r, 0)],
    }[shape % 4]
    d = "M" + "L".join(f"{_short(x + dx)} {_short(y + dy)}" for dx, dy in corners) + "Z"
    return element("path", {"class": class_, "d": d})


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Values to pixels.

    Attributes:
        low: Value at the start.
        high: Value at the end.
        start: Pixel of low.
        end: Pixel of high.
        log: Whether the scale is logarithmic; low is then above 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float | None:
        """Pixel of a value; None for what has no place on the scale."""
        if math.isnan(value) or (self.log and value <= 0):
            return None
        if self.log:
            fraction = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            fraction = (value - self.low) / (self.high - self.low)
        return self.start + fraction * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values between low and high."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def fit(values: Sequence[float], *, start: float, end: float, log: bool) -> Scale:
    """Make the scale that shows all values.

    Args:
        values: Any values; what has no place is passed over.
        start: Pixel of the lowest.
        end: Pixel of the highest.
        log: Whether the scale is logarithmic; a linear one starts at 0.

    Returns:
        The scale, with a margin above.
    """
    usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not usable:
        return Scale(low=0.1 if log else 0.0, high=1.0, start=start, end=end, log=log)
    low, high = min(usable), max(usable)
    if log:
        low, high = low / 1.15, high * 1.15
    else:
        low, high = min(0.0, low), (high * 1.06 if high > 0 else 1.0)
    return Scale(low=low, high=high, start=start, end=end, log=log)


def linear_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values.

    Args:
        low: Lower end.
        high: Upper end, above low.
        count: How many there should be, at most about.

    Returns:
        The ticks, ascending.

    >>> linear_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / count
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two values, with 2 and 5 times them where there is room.

    Args:
        low: Lower end, above 0.
        high: Upper end, above low.

    Returns:
        The ticks, ascending.

    >>> log_ticks(0.8, 120.0)
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    span = math.log10(high / low)
    multiples: tuple[float, ...] = (1, 2, 5) if span < 2.6 else (1,)
    if span < 0.8:
        multiples = (1, 1.5, 2, 3, 4, 5, 6, 8)
    return [v for d in decades for m in multiples if low <= (v := round(m * 10.0**d, 12)) <= high]


def _attribute(value: Attribute) -> str:
    return escape(value) if isinstance(value, str) else _short(value)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
