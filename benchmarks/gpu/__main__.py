"""The command: ``python -m benchmarks.gpu``."""

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import gpu, machine
from benchmarks.gpu.needs import missing, versions
from benchmarks.gpu.options import Options
from benchmarks.gpu.parts import PARTS, START, Part, fitted
from benchmarks.gpu.record import Record

TAIL = 1500
"""Characters of a failed part's last words that are kept."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, or one part in this process.

    Args:
        arguments: Of the command line.

    Returns:
        0: everything there was time for holds; 1: something does not; 2: something is missing.
    """
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=gpu.__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything (default 8)")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), help="folder of the JSON files")
    parser.add_argument("--images", type=Path, help="folder with train and val, for accuracy")
    parser.add_argument("--part", action="append", choices=names, help="only this one; repeatable")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: a rehearsal, tiny")
    parser.add_argument("--here", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.here is not None:
        measure(chosen.part[0], chosen, chosen.here)
        return 0
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lacking = missing(chosen.device)
    for line in lacking:
        console.print(f"missing: {line}", markup=False)
    if lacking:
        return 2
    console.print(f"all is here: {versions()}", markup=False)
    return everything(chosen, console)


def everything(chosen: argparse.Namespace, console: Console) -> int:
    """Measure the parts one after the other, each in a process of its own.

    Args:
        chosen: The command line.
        console: Shows progress.

    Returns:
        0: all holds; 1: something does not.
    """
    end, wrong = time.monotonic() + 60 * chosen.minutes, False
    wanted = [part for part in PARTS if not chosen.part or part.name in chosen.part]
    if chosen.images is None and "accuracy" not in (chosen.part or ()):
        wanted = [part for part in wanted if part.name != "accuracy"]
        console.print("accuracy: left out; it needs --images FOLDER")
    for i, part in enumerate(wanted):
        limits = fitted(wanted[i:], end - time.monotonic())  # again: others may have taken less
        if not limits:
            console.print(f"{part.name}: left out; no time is left")
            continue
        limit = limits[0][1]
        console.print(f"{part.name}: {part.says}; {limit:.0f} s at most ...")
        found = apart(part, chosen, limit)
        wrong |= found["status"] != "done"
        said = found.get("headline") or found.get("error", "")
        console.print(f"{part.name}: {found['status']}, {found['seconds']:.0f} s: {said}", markup=False)
    return int(wrong)


def apart(part: Part, chosen: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Measure a part in a process of its own, and see to it that its file says how it ended.

    Args:
        part: The part.
        chosen: The command line.
        limit: Seconds that it has, besides those of its start.

    Returns:
        What its file holds.
    """
    file = chosen.out / f"{part.name}.json"
    file.unlink(missing_ok=True)
    words = [sys.executable, "-m", "benchmarks.gpu", "--part", part.name, "--here", str(limit)]
    words += ["--out", str(chosen.out), "--device", chosen.device]
    words += ["--images", str(chosen.images)] if chosen.images else []
    begin = time.monotonic()
    with (chosen.out / f"{part.name}.log").open("w+") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
        try:
            code: int | None = process.wait(limit + START)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        last = log.read()[-TAIL:]
    found: dict[str, Any] = {"items": {}, "seconds": 0.0}
    if file.is_file():
        found = json.loads(file.read_text())
    if code != 0:
        found["seconds"] = max(found["seconds"], round(time.monotonic() - begin, 1))
        found["status"] = "out of time" if code is None else "failed"
        found["error"] = f"ended after {limit:.0f} s" if code is None else f"exit code {code}: {last}"
        machine.write(found, file)
    return found


def measure(name: str, chosen: argparse.Namespace, seconds: float) -> None:
    """Measure one part in this process."""
    device = torch.device(chosen.device)
    record = Record(chosen.out / f"{name}.json", machine.describe(device), seconds)
    importlib.import_module(f"benchmarks.gpu.{name}").measure(record, Options(device, chosen.images))


if __name__ == "__main__":
    sys.exit(main())
