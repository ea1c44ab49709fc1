"""The comparison table of a terminal: the results that decide, laid out for its width."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mrecg.report.compare import top1
from mrecg.report.labels import differing
from mrecg.report.tables import Row, comparison_rows, numeric, rivals
from mrecg.runs.metrics import named
from mrecg.runs.records import Run

MOST_ROWS = 200
"""Runs up to which a terminal gets all of them."""
FULL = "top1_fp"
"""Key of what stands in the title where all runs share it."""
FOLDED = {"settings": 12, "merged": 24}
"""Columns that may be folded, and the fewest characters of theirs that can still be read."""
GAP = 2
"""Characters between two columns."""
CAPTION = "error into head: of the last feature map; grows back: rises of the error after its peak"


def terminal_table(runs: Sequence[Run], *, every: bool = False) -> "Comparison":
    """Make the short table for a terminal.

    Args:
        runs: Any runs, in any order.
        every: Whether to list all of them, however many.

    Returns:
        What rich prints: a table with the results that decide; the best top-1 at equal bit widths is bold. Of
        more than `MOST_ROWS` runs it has the most accurate of each network and bit widths, and says so.
    """
    shown, note = runs, ""
    if not every and len(runs) > MOST_ROWS:
        shown = _most_accurate(runs, MOST_ROWS)
        failed = sum(not run.completed for run in runs)
        note = f"the most accurate {len(shown)} of {len(runs):,} runs: --all prints all"
        note += f"; {failed:,} did not complete" if failed else ""
    return Comparison(comparison_rows(runs, shown), note)


class Comparison:
    """Prints rows of the comparison.

    Args:
        rows: In order.
        note: Stands below them.
    """

    def __init__(self, rows: Sequence[Row], note: str = "") -> None:
        self.rows, self.note = rows, note
        settings = differing([row.run for row in rows], merges=False)
        self.subjects = {f"{row.run.model} on {row.run.data}, {row.cells['bits'].text}" for row in rows}
        self.columns = dict(self._columns(some_settings=any(settings)))
        self.texts = [self._texts(row, said) for row, said in zip(rows, settings, strict=True)]
        full = {row.cells[FULL].text for row in rows if row.run.completed}
        self.full = f", {full.pop()} in full precision" if len(full) == 1 and self._one else ""

    @property
    def _one(self) -> bool:
        return len(self.subjects) == 1

    def _columns(self, *, some_settings: bool) -> Iterator[tuple[str, str]]:
        yield from () if self._one else (("run", "run"), ("bits", "bits"))
        yield from (("method", "method"), ("granularity", "granu-\nlarity"))
        if len({row.run.planner for row in self.rows if row.run.planner}) > 1:
            yield "planner", "planner"
        if any(row.run.merged or row.run.granularity == "mixed" for row in self.rows):
            yield "pairs", "pairs"
        if some_settings:
            yield "settings", "settings"
        if len({row.run.seed for row in self.rows}) > 1:
            yield "seed", "seed"
        yield from ((metric.key, title) for title, metric in named("terminal").items())
        yield "merged", "merged groups"

    def _texts(self, row: Row, said: str) -> Mapping[str, Text]:
        # As Text, what comes from a run folder is never read as rich's markup.
        texts = {key: Text(said if key == "settings" else row.cells[key].text) for key in self.columns}
        if row.best:
            texts["top1"].stylize("bold green")
        if not row.run.completed:
            texts["top1"] = Text(row.run.status, style="red")
            texts["method"] = Text(row.run.name)
        return texts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        keys = [key for key in self.columns if not (self.full and key == FULL)]
        widths = {key: self._width(key) for key in keys}
        least = sum(min(width, FOLDED.get(key, width)) + GAP for key, width in widths.items())
        narrow = least > options.max_width and any(row.run.merged for row in self.rows)
        keys = [key for key in keys if not (narrow and key == "merged")]
        yield self._table(keys)
        if narrow:
            yield from self._merged()

    def _width(self, key: str) -> int:
        head = max(map(len, self.columns[key].split("\n")))
        return max([head, *(texts[key].cell_len for texts in self.texts)])

    def _table(self, keys: Sequence[str]) -> Table:
        title = Text(f"{next(iter(self.subjects))}{self.full}") if self._one else None
        caption = "\n".join(filter(None, (CAPTION, self.note)))
        table = Table(
            title=title, caption=caption, header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        numbers = numeric()
        for key in keys:
            table.add_column(
                self.columns[key],
                justify="right" if key in numbers else "left",
                overflow="fold",
                no_wrap=key not in FOLDED,
            )
        for texts in self.texts:
            table.add_row(*(texts[key] for key in keys))
        return table

    def _merged(self) -> Iterator[Text]:
        """Where the table has no room for them: the merged groups, each once."""
        yield Text("merged groups:")
        lines: dict[str, None] = {}
        for row, texts in zip(self.rows, self.texts, strict=True):
            if row.run.merged:
                who = " ".join(
                    texts[key].plain for key in ("method", "granularity", "planner") if key in texts
                )
                lines[f"  {who}, {texts['pairs'].plain}: {texts['merged'].plain}"] = None
        yield from map(Text, lines)


def _most_accurate(runs: Sequence[Run], most: int) -> list[Run]:
    """The first of each network and bit widths before the second of any."""
    by_rivals: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        if run.completed:
            by_rivals.setdefault(rivals(run), []).append(run)
    for members in by_rivals.values():
        members.sort(key=lambda run: -1.0 if (value := top1(run)) is None else value, reverse=True)
    turns = (run for turn in zip_longest(*by_rivals.values()) for run in turn if run is not None)
    return list(islice(turns, most))
