"""The HTML page over any set of runs: one file that asks nothing of any network."""

import base64
import gzip
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mrecg.report.gather import load_runs
from mrecg.report.page.curves import curves
from mrecg.report.page.document import document
from mrecg.report.page.light import write_light
from mrecg.report.page.sequence import palette
from mrecg.report.page.static import write_text
from mrecg.report.page.templating import asset, template
from mrecg.runs.find import find_runs
from mrecg.runs.index import Read
from mrecg.runs.reader import Reader
from mrecg.runs.records import Run
from mrecg.system.checked_read import read_regular

SECTIONS = (
    ("result", "Result", ""),
    (
        "configurations",
        "All configurations",
        "Means over seeds. To block: points of top-1 against the block-wise run of the same seeds.",
    ),
    (
        "oscillation",
        "Error of all configurations",
        "The relative error between the quantized and the full-precision network after each unit. Inside a "
        "merge the error may be larger than one by one; what counts is the error at its end.",
    ),
    (
        "plan",
        "Plan, and why",
        "Which neighbouring units are optimised jointly, and why: a large difference in capacity between "
        "neighbours is where the error jumps.",
    ),
    (
        "tradeoff",
        "Accuracy against cost",
        "Every configuration by what it costs and what it reaches. No configuration beats one on the dotted "
        "front in both.",
    ),
    (
        "shares",
        "Inherited, added, repaired",
        "The error at the end of each group: what it inherits from the units before it (and would have in "
        "full precision, too), what its own quantization adds, or what its optimisation repaired.",
    ),
    (
        "sensitivity",
        "Sensitivity",
        "What quantizing the weights or the activations of one unit alone does to the predictions, while all "
        "else is in full precision, on held-out calibration images.",
    ),
    (
        "ranges",
        "Values at the ends of their grids",
        "How many weights and activations of each unit stand on the lowest or highest value that their bits "
        "can say, and how many lay beyond it and were clipped.",
    ),
    (
        "ablation",
        "What the runs vary in",
        "Top-1, error into the head and largest loss against each setting: means over seeds, with the least "
        "and the largest.",
    ),
    (
        "search",
        "Settings that matter",
        "Every configuration as a line over the settings that were varied, and how much of the spread of the "
        "results each of these settings explains.",
    ),
    (
        "decisions",
        "Changed decisions",
        "Equal accuracies can hide other decisions: which classes lose, and how many images flip, both ways.",
    ),
    (
        "curves",
        "Loss curves",
        "The optimisation of every group of units, by the unit at its end, one method at a time: "
        "QDrop's losses are measured with half of the activations unquantized, and compare with no other's.",
    ),
    (
        "provenance",
        "Settings and commands",
        "Settings, environments, and the commands that repeat the runs and this page.",
    ),
)
"""Parts of the page: id, title, and what a reader should know before reading. The script of the same name
draws the part: it sets ``panels.NAME`` (templates/js/NAME.js)."""

MUCH_TEXT = 5_000_000
"""Characters of a block from which on it is packed in less time."""
STYLES = ("base", "parts", "print")
SCRIPTS = (
    *(
        "dom",
        "data",
        "state",
        "theme",
        "chart",
        "table",
        "controls",
        "filters",
        "units",
        "pair",
        "heat",
        "axes",
    ),
    *(name for name, _, _ in SECTIONS),
    "main",
)
"""In this order they are one script; what runs at once uses only what stands above it."""


def write_report(folders: Sequence[Path], out: Path, *, light: bool = False) -> Path:
    """Write the page.

    Args:
        folders: Run folders, or folders that hold some at any depth.
        out: The HTML file to write; its folder is made.
        light: Whether to write the small page of a job: without scripts, pictures drawn beforehand, and the
            command that makes the full page.

    Raises:
        DataError: There is no run, or one that is broken.
    """
    found = find_runs(folders)
    with Reader(folders, found) as read:
        runs = load_runs(found, read=read)
        return write_light(runs, folders, out) if light else write_page(runs, folders, out, read=read)


def write_page(
    runs: Sequence[Run], folders: Sequence[Path], out: Path, *, read: Read = read_regular, named: bool = False
) -> Path:
    """Write the full page of runs that are loaded.

    Args:
        folders: The folders that were named.
        out: The HTML file to write; its folder is made.
        read: How the runs' files are read.
        named: Whether the user has named this very file, see `write_durably`.

    Raises:
        DataError: A run's decisions are broken.
    """
    return write_text(Path(out), page_of(runs, folders, read=read), named=named)


def page_of(runs: Sequence[Run], folders: Sequence[Path], *, read: Read = read_regular) -> str:
    """Make the full page of runs that are loaded.

    Args:
        folders: The folders that were named.
        read: How the runs' files are read.

    Returns:
        HTML.

    Raises:
        BrokenRunsError: Decisions of some runs are broken.
    """
    command = shlex.join(["mrecg", "report", *map(str, folders)])
    values = document(runs, command=command, version=version("mrecg"), read=read, folders=folders)
    return render(values, curves(runs))


def render(values: Mapping[str, Any], lines: Mapping[str, Any]) -> str:
    """Assemble the page.

    Args:
        values: What `document` made.
        lines: What `curves` made.

    Returns:
        HTML with everything in it: style, script, plotting library, data.
    """
    script = _script()
    library, packed = _library()
    blocks = {
        # The palette travels with the data: the page's colours are those of the figures for papers.
        "document": _pack(_json({**values, "palette": palette()})),
        "curves": _pack(_json(lines)),
        "plotly": packed,
    }
    return template("page.html.j2").render(
        document=values,
        facts=_facts(values),
        sections=SECTIONS,
        policy=_policy(script, library),
        style=Markup("\n".join(asset(f"css/{name}.css") for name in STYLES)),
        script=Markup(script),
        blocks=blocks,
    )


@cache
def _library() -> tuple[str, str]:
    """Plotly's script, as it is and packed: 3 MB less a page, and the headline stands before it is read."""
    from plotly.offline import get_plotlyjs  # here, because it costs every other verb a fifth of a second

    script = str(get_plotlyjs())
    return script, _pack(script)


def _policy(*scripts: str) -> str:
    """A Content-Security-Policy by which nothing leaves the page and no other script runs in it."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script() -> str:
    parts = "\n".join(asset(f"js/{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _pack(text: str) -> str:
    """Gzip without a time, so that equal runs give equal pages; base64 has no character that HTML minds."""
    # At the highest level a page of 10,000 runs would be 3 % smaller, and take three times as long to pack.
    level = 9 if len(text) < MUCH_TEXT else 6
    return base64.b64encode(gzip.compress(text.encode(errors="replace"), level, mtime=0)).decode("ascii")


def _facts(values: Mapping[str, Any]) -> list[str]:
    """What the page is about, in a few words."""
    runs, configurations = values["runs"], values["configurations"]
    failed = sum(run["configuration"] is None for run in runs)
    facts = [
        _plural(len(runs), "run"),
        _plural(len(configurations), "configuration"),
        ", ".join(dict.fromkeys(values["methods"][one["method"]] for one in configurations)),
        ", ".join(dict.fromkeys(one["bits"] for one in configurations)),
    ]
    seeds = {run["seed"] for run in runs if run["configuration"] is not None}
    facts += [_plural(len(seeds), "seed") if seeds else "", f"{failed} not completed" if failed else ""]
    return [fact for fact in facts if fact]


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
