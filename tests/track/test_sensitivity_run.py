"""Sensitivities as a W&B run of their own, read back from its file; as a picture, and on the terminal."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun
from rich.console import Console

from mrecg.cli.sensitivity_view import SensitivityView
from mrecg.config.schema import RunConfig
from mrecg.errors import DataError
from mrecg.report import sensitivity_figure
from mrecg.runs.sensitivity import Sensitive, Sensitivity
from mrecg.track.trackers import commands, log_sensitivity
from mrecg.track.wandb_logger import sensitivity_run

NAMES = ("stem", "body.conv1", "body.conv2", "head")


def row(name: str, quantized: str, kl: float, of: str = "layer") -> Sensitive:
    error = None if name == "head" else kl / 2
    unit = name.partition(".")[0]
    return Sensitive(
        of=of, name=name, unit=unit, quantized=quantized, bits=3, parameters=1200, kl=kl, error=error
    )


UNITS = zip(("stem", "body", "head"), (0.1, 2.0, 0.0), strict=True)
FOUND = Sensitivity(
    model="tiny",
    images=24,
    rows=(
        *(row(name, what, kl, "unit") for name, kl in UNITS for what in ("weights", "activations")),
        *(row(name, "weights", kl) for name, kl in zip(NAMES, (0.01, 0.4, 1.7, 0.0), strict=True)),
        row("body.conv1", "activations", 0.3),
    ),
)  # fmt: skip


def test_wandb_has_table_and_picture(
    tmp_path: Path, tiny_config: Callable[..., RunConfig], settled: Callable[[Path], OfflineRun]
) -> None:
    config = tiny_config(logger={"wandb": "offline", "project": "mine"})
    for _ in range(2):  # again in the same folder
        log_sensitivity(config, tmp_path, FOUND)
    (local,) = tmp_path.glob("wandb/offline-run-*")
    read = settled(tmp_path / "wandb")
    assert (read.job_type, read.project, read.exit_code) == ("sensitivity", "mine", 0)
    assert read.summary["worst_layer"] == "body.conv2" and read.summary["worst_unit"] == "body"
    (logged,) = read.history
    table = json.loads((local / "files" / logged[f"{sensitivity_run.TABLE}.path"]).read_text())
    assert len(table["data"]) == len(FOUND.rows) and "kl" in table["columns"]
    picture = local / "files" / logged[f"{sensitivity_run.PICTURE}.path"]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    (line,) = commands(tmp_path, runs=False)  # there is no run to make a dashboard of
    assert line.startswith("W&B: wandb sync ") and "dashboard" not in line


def test_wandb_is_left_alone_where_it_is_disabled(
    tmp_path: Path, tiny_config: Callable[..., RunConfig]
) -> None:
    log_sensitivity(tiny_config(logger={"wandb": "disabled"}), tmp_path, FOUND)
    assert not (tmp_path / "wandb").exists()


def test_the_picture_names_the_layers_that_harm_most(tmp_path: Path) -> None:
    drawn = sensitivity_figure(FOUND, tmp_path / "a.svg").read_text()
    assert "tiny: quantized alone" in drawn and "KL divergence, nats" in drawn
    assert drawn.index("body.conv2") < drawn.index("body.conv1")
    with pytest.raises(DataError, match="gif"):
        sensitivity_figure(FOUND, tmp_path / "a.gif")


def test_outputs_that_are_no_class_scores_have_no_divergence(tmp_path: Path) -> None:
    found = replace(FOUND, measure="relative_error")
    drawn = sensitivity_figure(found, tmp_path / "a.svg").read_text()
    assert "relative error of the outputs" in drawn and "KL" not in drawn
    file = io.StringIO()
    Console(file=file, width=120).print(SensitivityView(found), highlight=False)
    assert "relative error from the full-precision outputs" in file.getvalue() and "KL" not in file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_units_in_order_and_the_worst_layers_first(width: int) -> None:
    file = io.StringIO()
    Console(file=file, width=width).print(SensitivityView(FOUND), highlight=False)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    first = [line.split()[0] for line in lines if line.endswith(("0", "5", "0.850")) or "weights " in line]
    units: list[Any] = [name for name in first if name in ("stem", "body", "head")]
    assert units[:1] == ["stem"] and units.index("body") < units.index("head")
    begin = next(i for i, line in enumerate(lines) if line.startswith("Layers that harm most"))
    layers = [line.split()[0] for line in lines[begin + 3 :] if line]
    assert layers == ["body.conv2", "body.conv1", "body.conv1", "stem", "head"]
