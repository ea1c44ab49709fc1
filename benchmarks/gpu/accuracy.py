"""EfficientNet-Lite0 with its real weights: methods, bits, blocks alone and merged."""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.options import Options
from benchmarks.gpu.record import Record
from mrecg.config import hydra_compose
from mrecg.config.schema import RunConfig
from mrecg.pipeline import run as pipeline
from mrecg.reconstruct import computing

BITS, METHODS, KINDS = ("w2a4", "w3a3", "w4a4"), ("brecq_joint", "qdrop"), ("block", "mixed")
BEST = "best"
"""In the place of a method: the recipe of experiment=best, which merges and finishes."""
ITEMS = [
    *((bits, BEST, "mixed") for bits in BITS),
    *((bits, method, kind) for bits in BITS for method in METHODS for kind in KINDS),
]
FULL, LEAST, TRIAL = 20_000, 500, 100
"""Steps a unit: of the published schedule, the fewest that say anything, and of the run that is timed."""
SPARE = 0.85
"""Part of the time that is planned for: a mixed run has a probe, and a step of a pair costs about two."""
COST = {"block": 1.0, "mixed": 2.2}
"""What a run costs in runs of blocks alone: its probe is another one."""


def measure(record: Record, options: Options) -> None:
    """Time a short run, choose the steps that fit, and make as many runs as there is time for.

    Args:
        record: Takes what is found.
        options: The device, and where the images are.

    Raises:
        ValueError: There are no images.
    """
    if options.images is None:
        raise ValueError("accuracy: images are needed; give --images FOLDER with the folders train and val")
    with tempfile.TemporaryDirectory() as place:
        trial = 2 if options.rehearsal else TRIAL
        begin = time.monotonic()
        run(options, Path(place, "trial"), (BITS[0], METHODS[0], "block"), steps=trial)
        # What does not grow with the steps (images, ranges, accuracies) is counted as steps: a bound.
        a_step = (time.monotonic() - begin) / trial
        steps = trial if options.rehearsal else fitting(record.left, a_step)
        record.content["steps"] = steps
        for item in ITEMS[: 2 if options.rehearsal else None]:
            name = " ".join(item)
            if record.has_time(name, a_step * steps * COST[item[2]]):
                record.put(name, run(options, Path(place, name), item, steps=steps))
    items = record.content["items"]
    said = [f"{name} {100 * found['top1']:.1f}" for name, found in items.items()]
    record.end(f"{steps} steps a unit; top-1 %: " + ", ".join(said), holds=bool(items))


def fitting(seconds: float, a_step: float) -> int:
    """Choose the steps with which all items fit, or the fewest that say anything.

    Args:
        seconds: For all.
        a_step: Seconds of a step of all units, blocks alone.

    Returns:
        Steps a unit.
    """
    whole = sum(COST[kind] for *_, kind in ITEMS)
    return max(LEAST, min(FULL, int(SPARE * seconds / (a_step * whole))))


def config_of(options: Options, item: tuple[str, str, str], steps: int) -> RunConfig:
    """What the command line of docs/results/accuracy.md composes, on this device."""
    bits, method, kind = item
    chosen = (
        ["experiment=best"]
        if method == BEST
        else [f"method={method}", f"granularity={kind}", "planner=modcap", "planner.merge_count=3"]
    )
    assert options.images is not None
    train, val = options.images / "train", options.images / "val"
    words = [
        *("model=efficientnet_lite0", "data=imagenet", "data.resize=160", "model.input_shape=[3,160,160]"),
        *(f"data.calibration_path={train}", f"data.evaluation_path={val}", f"data.classes_path={train}"),
        *(f"bits={bits}", *chosen, f"trainer.steps={steps}", f"trainer.device={options.device.type}"),
        *("shared.folder=null", "logger=csv", "checkpoint.every_steps=0"),
    ]
    if options.rehearsal:
        words += ["data.calibration_images=8", "data.evaluation_images=16", "trainer.batch_size=4"]
        words += ["finish.steps=2"] if method == BEST else []
    (config,) = hydra_compose.check(words).configs
    return config


def run(options: Options, folder: Path, item: tuple[str, str, str], *, steps: int) -> dict[str, Any]:
    """Make a run.

    Args:
        options: The device and the images.
        folder: New.
        item: Bits, method and granularity.
        steps: Steps a unit.

    Returns:
        ``top1`` and ``top1_fp``; ``images``; ``seconds``; ``merged`` groups; ``errors`` of the units.
    """
    config = config_of(options, item, steps)
    begin = time.monotonic()
    with computing.computing_as(config):
        result = pipeline.run(config, folder, light=True)
    summary = result.summary
    return {
        "top1": summary["quantized"]["top1"],
        "top1_fp": summary["fp"]["top1"],
        "images": summary["evaluation_images"],
        "seconds": time.monotonic() - begin,
        "merged": [list(group) for group in result.plan.merged],
        "errors": [unit.error for unit in result.units],
        "oscillation": summary["oscillation"],
    }
