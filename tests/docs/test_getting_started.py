"""What the first pages say is what happens: the quick start's commands, the recipe's settings."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mrecg
from mrecg.api import functions
from mrecg.config.best import BEST
from mrecg.config.schema import RunConfig

DOCS = Path(__file__).parents[2] / "docs"
SHORT = {"quantize": ("trainer.steps=1", "data.calibration_images=32", "data.evaluation_images=50")}
"""Words that make a command short; what is asked later counts."""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def given(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations that mrecg.quantize is called with from here on; nothing is quantized."""
    found: list[RunConfig] = []
    monkeypatch.setattr(functions, "quantize_given", lambda model, images, config, *_: found.append(config))
    return found


def test_the_recipe_in_python_is_what_its_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = given(monkeypatch)
    names: dict[str, Any] = {"mrecg": mrecg, "images": torch.randn(8, 3, 8, 8)}
    names["model"] = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    (code,) = blocks("concepts/recipe.md", "python")
    exec(compile(code, "recipe.md", "exec"), names)
    recipe, longer, published = configs
    assert [config.trainer.steps for config in configs] == [200, 2000, 20_000]
    assert [config.finish.name for config in configs] == ["network", "none", "none"]
    assert [config.rebasis.name for config in configs] == ["full", "full", "none"]
    assert longer.method == recipe.method and recipe.method != published.method


def test_the_table_of_the_recipe_names_its_settings() -> None:
    text = (DOCS / "concepts" / "recipe.md").read_text(encoding="utf-8")
    told = dict(
        re.findall(r"([a-z_.]+)=([a-z_]+)", " ".join(re.findall(r"^\| \d\. .*$", text, re.MULTILINE)))
    )
    flat = {
        key if name == "name" else f"{key}.{name}": str(value).lower() if isinstance(value, bool) else value
        for key, group in BEST.items()
        for name, value in group.items()
    }
    assert told and told.items() <= flat.items()
    untold = {"trainer.steps", "trainer.lr_factor", "finish.steps", "finish.lr", "finish.augment"}
    assert set(flat) - set(told) == untold


def test_the_words_are_defined_once() -> None:
    terms = {"Unit", "Group", "Held-out images", "Full-precision floor", "Probe", "Error after a unit"}
    headings = {
        page.relative_to(DOCS).as_posix(): re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
        for page in DOCS.rglob("*.md")
    }
    assert {page for page, found in headings.items() if terms & set(found)} == {"concepts/reconstruction.md"}
    assert terms <= set(headings["concepts/reconstruction.md"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quick_start_can_be_followed_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    first, *rest = blocks("getting-started/quick-start.md", "sh")
    *lines, last = rest
    assert "pip install" in first and "experiment=best" in last  # for one's own network and images
    names = ["plan", "quantize", "report", "export", "evaluate"]
    for block in lines:
        program, *words = shlex.split(block.replace("\\\n", " "), comments=True)
        assert (program, words[0]) == ("mrecg", names.pop(0))
        command = [sys.executable, "-m", "mrecg", *words, *SHORT.get(words[0], ())]
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
        ended = subprocess.run(
            command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=900, check=False
        )
        assert ended.returncode == 0, ended.stderr
    assert not names
    run = tmp_path / "outputs" / "first" / "1-mobilenet_v2_digits-w2a4-qdrop-mixed-s0"
    assert (run / "quantized.onnx").is_file() and (run.parent / "report.html").is_file()
    assert "top-1" in ended.stdout
    (code,) = blocks("getting-started/quick-start.md", "python")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, "quick-start.md", "exec"), found)
    result = found["result"]
    assert result.plan.granularity == "mixed"
    assert result.model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
