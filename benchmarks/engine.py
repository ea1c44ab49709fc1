"""Time of the reconstruction engine against the hardware's limit: ``python -m benchmarks.engine``.

Each unit's optimisation step is timed against the floor of the same unit: forward, backward and fused Adam on
its full-precision weights, in the faster memory order, in the same process, taking turns. Ratios are what
counts; the milliseconds belong to the machine.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.fits import STEPS, lightning_seconds, share
from benchmarks.goal import steps_to_loss
from benchmarks.networks import PIXELS, network_of, subjects
from benchmarks.passes import memory, passes
from benchmarks.report import section
from benchmarks.steps import Rounds, UnitTimes, overhead, summary, time_unit
from mrecg.system import devices

FULL = {"steps": 20, "plain": 3, "passes": 9, "fits": 3}
QUICK = {"steps": 4, "plain": 0, "passes": 1, "fits": 1}
"""Rounds of each measurement."""
SMALL, MORE = 32, 3
"""Networks for images of so few pixels get so many times the rounds: one busy second would cover all."""


def measure(name: str, *, rounds: dict[str, int], device: torch.device) -> dict[str, Any]:
    """Measure one network.

    Args:
        name: One of `PIXELS`.
        rounds: `FULL` or `QUICK`.

    Returns:
        What `benchmarks.passes` gives; ``overhead`` with its quartiles; ``lightning_share`` of the cheapest
        unit, ``lightning_share_all`` of all units together; ``steps_to_loss``; and ``units``.
    """
    network, images = network_of(name, device)
    more = MORE if PIXELS[name] <= SMALL else 1
    found: dict[str, Any] = {"pixels": PIXELS[name], "images": len(images)}
    found |= memory(network, images)
    found |= passes(network, images, rounds=more * rounds["passes"])
    times: list[Rounds] = []
    units: list[UnitTimes] = []
    for subject in subjects(network, images):
        lightning = lightning_seconds(subject, rounds=rounds["fits"])
        times.append(time_unit(subject, rounds=more * rounds["steps"], plain_rounds=rounds["plain"]))
        units.append(summary(subject.name, times[-1], lightning))
    ratio, quartiles = overhead(times)
    found |= {"overhead": ratio, "overhead_quartiles": quartiles}
    own = sum(unit.lightning_ms for unit in units)
    cheapest = min(range(len(units)), key=lambda i: units[i].step_ms)
    found |= {
        "lightning_unit": units[cheapest].name,
        "lightning_steps": STEPS,
        "lightning_share": share(
            next(islice(subjects(network, images), cheapest, None)), rounds=rounds["fits"]
        ),
        "lightning_share_all": own / (own + STEPS * sum(unit.step_ms for unit in units)),
    }
    found["steps_to_loss"] = steps_to_loss(name, device)
    return found | {"units": [asdict(unit) for unit in units]}


def kept(path: Path | None, about: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Networks and note that a file already has, if it is of the same machine and rounds."""
    if path is None or not path.is_file():
        return {}, ""
    content = json.loads(path.read_text())
    same = all(content[key] == about[key] for key in ("device", "rounds"))
    return (dict(content["networks"]), content["note"] or "") if same else ({}, "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--network", action="append", choices=list(PIXELS), help="only this one; repeatable")
    machine.add_options(parser)
    chosen = parser.parse_args(arguments)
    device = devices.resolve_device(chosen.device)
    rounds = QUICK if chosen.quick else FULL
    about: dict[str, Any] = {"device": machine.describe(device), "rounds": rounds}
    networks, note = kept(chosen.json, about)
    file = chosen.json.name if chosen.json else "FILE"
    about["note"] = chosen.note or note  # networks can come one by one
    for name in chosen.network or PIXELS:
        with machine.as_in_a_run():
            networks[name] = measure(name, rounds=rounds, device=device)
        sys.stdout.write(section(file, about | {"networks": {name: networks[name]}}))
        if chosen.json:  # after each network: an hour's work is not lost to the last one
            ordered = {each: networks[each] for each in PIXELS if each in networks}
            machine.write(about | {"networks": ordered}, chosen.json)


if __name__ == "__main__":
    main()
