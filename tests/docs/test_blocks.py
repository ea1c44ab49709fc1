"""Every block of Python in the documents runs, with small stand-ins for networks, images and files."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mrecg

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"docs/how-to/python.md", "docs/how-to/extending.md", "docs/getting-started/quick-start.md"}
"""Pages whose code other tests run: test_python.py, cli/test_extending.py, test_getting_started.py."""
LONG = {"docs/concepts/recipe.md"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in (*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "sweeps" / "README.md")
    if BLOCK.search(page.read_text()) and page.name != "CHANGELOG.md"
]


class Net(nn.Module):
    """A stand-in for a network of the reader's own."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        second = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
        third = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU())
        self.features = nn.Sequential(first, second, third)
        self.classifier = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, classes)."""
        out: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return out


def made(count: int) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    draw = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, 32, 32, generator=draw), torch.randint(10, (count,), generator=draw)


def quickly(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the API with as few steps as it can make."""

    def quick(*arguments: Any, **named: Any) -> Any:
        small: dict[str, Any] = {"steps": 2, "progress": False, "finish": {"name": "none"}}
        return real(*arguments, **{**small, "calibration": {"candidates": 4, "bins": 64}, **named})

    return quick


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[mrecg.Result, Path]:
    """A run of the stand-in, and its folder."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    torch.manual_seed(0)
    small: dict[str, Any] = {"method": "rtn", "granularity": "block", "progress": False, "activation_bits": 8}
    return mrecg.quantize(Net().eval(), made(32)[0], save_to=folder, **small), folder


@pytest.fixture
def names(
    finished: tuple[mrecg.Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What a page's code may count on: it names a network, images, a result, files and a package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(mrecg, "quantize", quickly(mrecg.quantize))
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights=None: Net())
    package = ModuleType("my_package")
    vars(package).update(MyNet=Net, TestImages=lambda: TensorDataset(*made(16)))
    monkeypatch.setitem(sys.modules, "my_package", package)
    result, folder = finished
    torch.save(made(40)[0], "calibration.pt")
    torch.save(Net().state_dict(), "my_net.pt")
    (tmp_path / "quantized.safetensors").write_bytes((folder / "quantized.safetensors").read_bytes())
    net = Net().eval()
    given = {"net": net, "model": net, "images": made(40)[0], "result": result, "mrecg": mrecg}
    return given | {"torch": torch, "part": b"\x1b", "b": 2, "count": 4, "__name__": "__main__"}


RUN = [
    pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in PAGES if page not in ELSEWHERE
]


@pytest.mark.parametrize("page", RUN)
def test_every_block_runs(page: str, names: dict[str, Any]) -> None:
    for found in BLOCK.finditer(text := (ROOT / page).read_text()):
        lines = "\n" * (text.count("\n", 0, found.start()) + 1)  # so that an error names the page's line
        exec(compile(lines + found[1], page, "exec"), names)
    if page.endswith("format.md"):
        assert names["values"] == [3, 2, 1, 0]
    if page.endswith("own-network.md"):
        assert isinstance(names["result"], mrecg.Result) and "not measured" not in repr(names["result"])
        assert Path("runs/my_net/report.html").is_file() and names["plan"].groups
    if page == "README.md":
        assert Path("runs/mine/quantized.onnx").stat().st_size > 1000


def test_no_page_is_forgotten() -> None:
    assert set(PAGES) >= {*ELSEWHERE, "README.md", "docs/how-to/own-network.md", "docs/how-to/export.md"}
