"""Cost of reports and ``sweep status`` by the number of runs: ``python -m benchmarks.scale --runs 10000``.

Writes synthetic run folders and times each call in a process of its own: wall and processor time, peak memory
(as Linux tells it), and how many files below the folder it opened.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.run_grid import write_grid
from mrecg.runs.index import INDEX

SECONDS, MEMORY_MB, PAGE_MB = 30.0, 1000.0, 15.0
"""Limits of a call over 10,000 runs: time, and size of its page."""

# The hook counts all that the command opens below the folder; what it makes there (the page) and
# the index are not counted.
_COUNTED = """
import os, sys
folder, index = sys.argv[1:3]
opened = 0
def count(event, arguments):
    global opened
    if event == "open":
        path, _, flags = arguments
        path = str(path)
        opened += path.startswith(folder + "/") and index not in path and not flags & os.O_CREAT
sys.addaudithook(count)
from mrecg.cli.main import main
try:
    main(sys.argv[3:])
finally:
    # Not ru_maxrss, which begins with what the parent had.
    lines = open("/proc/self/status").read().splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    sys.stderr.write(f"MEASURED {opened} {peak}")
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """Measurements of one call.

    Attributes:
        name: Which call.
        seconds: From its start to its end.
        memory_mb: Most that it had in memory.
        opened: Files below the folder that it opened.
        file_mb: Size of what it wrote: the page or the index; 0: nothing.
    """

    name: str
    seconds: float
    processor_s: float
    memory_mb: float
    opened: int
    file_mb: float = 0.0


def measure(name: str, folder: Path, arguments: Sequence[str], *, out: Path | None = None) -> Call:
    """Run the command in a process of its own.

    Args:
        name: What to call it.
        folder: The folder whose opened files count.
        arguments: Words after ``mrecg``.
        out: What it writes.

    Returns:
        What it took.

    Raises:
        RuntimeError: It failed.
    """
    import time

    words = [sys.executable, "-c", _COUNTED, str(folder), INDEX, *arguments]
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode()
    if process.returncode != 0:
        raise RuntimeError(f"{name} failed: {text}")
    opened, peak_kib = text.rsplit("MEASURED", 1)[1].split()
    return Call(
        name=name,
        seconds=round(seconds, 2),
        processor_s=round(used.ru_utime + used.ru_stime, 2),
        memory_mb=round(int(peak_kib) * 1024 / 1e6, 1),
        opened=int(opened),
        file_mb=round(out.stat().st_size / 1e6, 3) if out is not None else 0.0,
    )


def calls(folder: Path) -> list[Call]:
    """Measure a first and a second report, and a first and a second status.

    Args:
        folder: A sweep without an index.

    Returns:
        The four.
    """
    page = folder / "report.html"
    report = ["report", str(folder), "-o", str(page)]
    status = ["sweep", "status", str(folder)]
    (folder / INDEX).unlink(missing_ok=True)
    found = [measure("first sweep status", folder, status)]
    found.append(measure("second sweep status", folder, status))
    (folder / INDEX).unlink(missing_ok=True)
    found.append(measure("first report", folder, report, out=page))
    found.append(measure("second report", folder, report, out=page))
    return found


def bytes_of(folder: Path) -> tuple[float, float, int]:
    """Size of the run folders: MB of content, MB on the disk, and files."""
    stats = [file.stat() for file in folder.rglob("*") if file.is_file() and file.name != INDEX]
    return sum(s.st_size for s in stats) / 1e6, sum(s.st_blocks * 512 for s in stats) / 1e6, len(stats)


def table(runs: int, found: Sequence[Call]) -> Table:
    """The numbers as a table."""
    made = Table(title=f"{runs:,} runs")
    for title in ("call", "wall s", "processor s", "peak MB", "files opened", "page MB"):
        made.add_column(title, justify="left" if title == "call" else "right")
    for call in found:
        numbers = (f"{call.seconds:.2f}", f"{call.processor_s:.2f}", f"{call.memory_mb:.0f}")
        made.add_row(call.name, *numbers, f"{call.opened:,}", f"{call.file_mb:.1f}" if call.file_mb else "–")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: Of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000, 10_000], help="how many")
    parser.add_argument(
        "--folder", type=Path, help="keep the run folders below this one, or take those there"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parsed = parser.parse_args(arguments)
    console, content = Console(), []
    for runs in parsed.runs:
        with tempfile.TemporaryDirectory() as passing:
            folder = (parsed.folder or Path(passing)) / str(runs)
            if not folder.exists():
                write_grid(folder, runs)
            kept, disk, files = bytes_of(folder)
            found = calls(folder)
            index = folder / INDEX
            index_mb = index.stat().st_size / 1e6 if index.exists() else 0.0
            console.print(table(runs, found))
            console.print(
                f"{files:,} files of {kept:.0f} MB ({disk:.0f} MB on the disk), index {index_mb:.1f} MB"
            )
            sizes = {
                "files": files,
                "content_mb": round(kept),
                "disk_mb": round(disk),
                "index_mb": round(index_mb, 1),
            }
            content.append({"runs": runs, **sizes, "calls": [asdict(call) for call in found]})
    if parsed.json:
        parsed.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
