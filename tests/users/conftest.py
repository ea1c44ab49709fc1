"""What users do: little programs, each a process outside of the repository, with the installed package."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = """
import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(0)
        first = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        super().__init__(*first, nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), Head())


class Head(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


class Images(torch.utils.data.Dataset):
    def __init__(self, count: int = 12) -> None:
        self.images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.images[i], i % 3
"""
SWEEP = """
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper: {params: {seed: '0,1'}}
"""
EXPERIMENT = """
# @package _global_
defaults:
  - override /method: adaround
  - override /data: dataset
  - override /planner: modcap
model: {source: target, name: net, target: mine.Net, input_shape: [3, 8, 8]}
data: {calibration_dataset: mine.Images, evaluation_dataset: mine.Images, calibration_images: 8}
trainer: {steps: 2, batch_size: 4, threads: 1}
planner: {merge_count: 0}
logger: {wandb: disabled}
shared: {folder: null}
"""


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str


class Home:
    """A user's folder with a package, configurations and programs of the user's own."""

    def __init__(self, folder: Path, installed: Path) -> None:
        self.folder, self._paths = folder, [str(installed)]

    def run(self, *words: str) -> Ended:
        """Run a program to its end."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(self._paths),
            "WANDB_MODE": "offline",
            "COLUMNS": "160",
        }
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=800
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def mrecg(self, *words: str) -> Ended:
        """Call the command line as its script does, which has no current folder in its path."""
        return self.run(sys.executable, "-P", "-c", "from mrecg.cli.main import main; main()", *words)

    def python(self, text: str) -> Ended:
        """Run a script of the user's."""
        (self.folder / "script.py").write_text(dedent(text))
        return self.run(sys.executable, "script.py")

    def install(self, folder: Path) -> None:
        """Add a folder to those that packages are found in."""
        self._paths.append(str(folder))

    def summary(self, run: str) -> dict[str, object]:
        """Read a run's summary."""
        found: dict[str, object] = json.loads((self.folder / run / "summary.json").read_text())
        return found


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the wheel, where pyproject.toml says that they are to be."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    target = tmp_path_factory.mktemp("site-packages")
    skip = shutil.ignore_patterns("__pycache__")
    for package in wheel["packages"]:
        shutil.copytree(ROOT / package, target / Path(package).name, ignore=skip)
    for source, place in wheel["force-include"].items():
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, target / place)
    return target


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Home:
    """A folder with the package ``mine``, and ``settings`` with an experiment and a sweep."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text(PACKAGE)
    for group, name, text in (
        ("experiment", "mine", EXPERIMENT),
        (
            "sweep",
            "two",
            SWEEP,
        ),
    ):
        (folder / "settings" / group).mkdir(parents=True)
        (folder / "settings" / group / f"{name}.yaml").write_text(text.lstrip())
    return Home(folder, installed)
