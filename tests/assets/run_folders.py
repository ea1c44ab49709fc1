"""Synthetic run folders: a saw-tooth of errors that merging flattens."""

import csv
import json
import random
from itertools import pairwise
from pathlib import Path

from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.planner.capacity import differences
from mrecg.planner.schedule import Criterion, Merge, Plan, chain, named_pairs

UNITS = (*(f"features.{i}" for i in range(19)), "classifier")
MERGED = (
    ("features.3", "features.4"),
    ("features.6", "features.7"),
    ("features.10", "features.11", "features.12"),
)
SPIKES = (4, 7, 11, 14)


def errors_of(units, pairs, seed, level):
    """Errors that grow, with spikes that a merge halves."""
    noise = random.Random(seed)
    errors = []
    for i in range(len(units)):
        spike = 0.45 if i in SPIKES and i < len(units) else 0.0
        if i - 1 in pairs:
            spike *= 0.3
        errors.append(level * (0.08 + 0.018 * i + spike + noise.uniform(0, 0.03)))
    return errors


def index_of(curve):
    """The oscillation index."""
    return sum(abs(b - a) for a, b in pairwise(curve)) - abs(curve[-1] - curve[0])


def make_plan(units, groups, granularity, planner, errors, losses):
    """A plan with every criterion."""
    pairs = named_pairs(units, groups)
    modcap = tuple(float((i + 1) ** 3 * 2e4 * (1.6 if i % 4 == 0 else 1.0)) for i in range(len(units)))
    columns = {("error", "rise"): errors, ("loss", "squared"): losses}
    columns |= {("modcap", "squared"): modcap, ("modcap", "log_ratio"): modcap}
    criteria = tuple(
        Criterion(name=n, difference=d, capacities=tuple(v), differences=tuple(differences(d, v)))
        for (n, d), v in columns.items()
    )
    merges = tuple(
        Merge(
            left=units[i],
            right=units[i + 1],
            left_capacity=errors[i] if planner == "error" else None,
            right_capacity=errors[i + 1] if planner == "error" else None,
            difference=abs(errors[i + 1] - errors[i]) if planner == "error" else None,
            not_comparable="stride",
        )
        for i in pairs
    )
    return Plan(
        granularity=granularity,
        planner=planner,
        merge_count=len(pairs),
        units=tuple(units),
        groups=tuple(tuple(units[i] for i in group) for group in chain(len(units), pairs)),
        merges=merges,
        criteria=criteria,
        note="Probe: a block-wise run of 200 steps per unit." if planner else "",
        facts=tuple(facts_of(name, i) for i, name in enumerate(units)),
    )


def facts_of(name, i):
    """A block of three layers; every fifth halves the resolution."""
    kinds = (("dense", (1, 1), 1), ("depthwise", (3, 3), 2 if i % 5 == 0 else 1), ("dense", (1, 1), 1))
    layers = tuple(
        LayerFacts(
            name=f"{name}.{k}", weights=100 * (i + 1), stride=stride, kernel=kernel, kind=kind, macs=1000
        )
        for k, (kind, kernel, stride) in enumerate(kinds)
    )
    return UnitFacts(name=name, layers=layers, residual=i % 5 != 0, stage=i // 5)


def write_curve(file, start, steps, noise):
    """A loss that falls."""
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["step", "reconstruction", "rounding", "total", "beta"])
        for step in range(0, steps, 10):
            loss = start * (0.25 + 0.75 * 0.99 ** (step / 4)) * noise.uniform(0.9, 1.1)
            warm = step < steps * 0.2
            rounding = 0.5 * loss
            total = loss if warm else loss + rounding
            rows.writerow([step, loss, "" if warm else rounding, total, "" if warm else 20.0])


def write_run(
    folder: Path,
    *,
    name="run",
    method="qdrop",
    merged=(),
    planner="error",
    granularity=None,
    bits=(2, 4),
    seed=0,
    units=UNITS,
    level=1.0,
    status="completed",
    model="mobilenet_v2_digits",
    fp=0.981,
    evaluated=True,
    kept=0,
    seconds=80.0,
    summary_extra=None,
):
    """Write a run folder as a run would."""
    granularity = granularity or ("mixed" if merged else "block")
    planner = planner if granularity == "mixed" else ""
    noise = random.Random(f"{seed}{method}{granularity}")
    pairs = named_pairs(units, merged)
    errors = errors_of(units, pairs, f"{seed}{method}{granularity}", level)
    losses = [60 * e * (1.5 if i in SPIKES else 1.0) for i, e in enumerate(errors)]
    plan = make_plan(units, merged, granularity, planner, errors, losses)
    top1 = max(0.05, fp - 0.06 * max(errors) - 0.01 * index_of(errors))
    folder.mkdir(parents=True)
    curves = folder / "curves"
    curves.mkdir()
    if method != "rtn":
        for group in plan.groups:
            start = losses[units.index(group[-1])] * 2
            write_curve(curves / f"{'+'.join(group)}.csv", start, 200 * len(group), noise)
            if method == "brecq":
                write_curve(curves / f"{'+'.join(group)}.scales.csv", start / 2, 100, noise)
    records = [
        {"name": u, "group": plan.group_of(u), "error": e, "loss": v}
        for u, e, v in zip(units, errors, losses, strict=True)
    ]
    with (folder / "units.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["index", "name", "group", "error", "loss"])
        rows.writerows([i, *record.values()] for i, record in enumerate(records))
    summary = {
        "schema_version": 1,
        "status": status,
        "run_name": name,
        "model": model,
        "data": "digits",
        "bits": {"weight": bits[0], "activation": bits[1]},
        "stem_output": "low",
        "method": method,
        "granularity": granularity,
        "planner": planner,
        "merge_count": len(pairs),
        "groups": [list(group) for group in plan.groups],
        "seed": seed,
        "steps": 200,
        "steps_per": "unit",
        "device": "cpu",
        "calibration_images": 512,
        "fp": {"top1": fp, "top5": 0.999} if evaluated else None,
        "quantized": {"top1": top1, "top5": 0.99} if evaluated else None,
        "evaluation_images": (kept or 4488) if evaluated else 0,
        "oscillation": {
            "error_index": index_of(errors),
            "error_peak": max(errors),
            "loss_index": index_of(losses),
            "loss_peak": max(losses),
        },
        "units": records,
        "group_results": [
            {"name": "+".join(g), "pass": "rounding", "floor": losses[units.index(g[-1])] * 0.2}
            for g in plan.groups
        ],
        "timing_s": {
            "plan": 1.5,
            "calibrate": 3.25,
            "reconstruct": seconds + seed,
            "evaluate": 4.0,
        },
        "peak_memory_mb": 900,
        "size_bytes": {"fp": 1_650_000, "quantized": 71_000 * bits[0]},
        **(summary_extra or {}),
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "plan.json").write_text(json.dumps(plan.as_dict()))
    (folder / "config.yaml").write_text(f"name: {name}\nmethod:\n  name: {method}\nseed: {seed}\n")
    (folder / "environment.json").write_text(
        json.dumps({"python": "3.12.3", "torch": "2.11.0", "device": "cpu"})
    )
    if kept:
        write_decisions(folder, kept, noise)
    return folder


def write_decisions(folder, images, noise):
    """One line an image: ten classes, of which the quantized network loses some and gains a few."""
    rows = ["label,fp,quantized"]
    for i in range(images):
        label = i % 10
        full = label if noise.random() < 0.95 else (label + 1) % 10
        low = full if noise.random() < 0.9 - 0.02 * label else noise.randrange(10)
        rows.append(f"{label},{full},{low}")
    (folder / "decisions.csv").write_text("\n".join(rows) + "\n")


def write_failed(folder: Path, *, name="broken", **extra):
    """Write what a run leaves that stopped early."""
    folder.mkdir(parents=True)
    summary = {"status": "failed", "run_name": name, "model": "mobilenet_v2_digits", "data": "digits"}
    summary |= {
        "method": "qdrop",
        "granularity": "block",
        "bits": {"weight": 2, "activation": 4},
        "seed": 7,
        "steps": 200,
    }
    (folder / "summary.json").write_text(json.dumps(summary | extra))
    return folder
