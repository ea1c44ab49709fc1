"""The errors that docs/how-to/troubleshooting.md shows are those of today."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mrecg.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "troubleshooting.md"
CASES = re.findall(r"^```text\n\$ mrecg (.+)\n(mrecg: .+)\n```$", PAGE.read_text(), re.MULTILINE)
QUICK = 5
"""Number of cases that the fast tests try: the first ones of the page are refused before any work."""
REST = """
model=target model.target=my_package.MyNet model.input_shape=[3,32,32] data=image_folder
data.calibration_path=train data.evaluation_path=val data.calibration_images=all
trainer.batch_size=4 logger=csv shared.folder=null hydra.run.dir=run
"""
"""What stands for the three dots in a command."""
PACKAGE = """
from torch import nn

class MyNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        self.classifier = nn.Linear(8, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))

class TwoInputs(MyNet):
    def forward(self, x, y):
        return super().forward(x) + y

class Branches(MyNet):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a package, its weights in several files, and images of four classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    sys.modules.pop("my_package", None)
    (tmp_path / "my_package.py").write_text(PACKAGE)
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        for part in ("train", "val"):
            folder = tmp_path / part / "abcd"[number % 4]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    import my_package  # type: ignore[import-not-found, unused-ignore]

    net = my_package.MyNet()
    torch.save(net, "whole.pt")
    torch.save({f"{k}".replace("features", "body"): v for k, v in net.state_dict().items()}, "renamed.pt")
    torch.save(my_package.MyNet(7).state_dict(), "seven.pt")
    yield tmp_path
    sys.modules.pop("my_package", None)


def test_the_page_has_examples() -> None:
    assert len(CASES) > 15


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (i >= QUICK), id=case[0])
        for i, case in enumerate(CASES)
    ],
)
def test_the_message_is_as_printed(
    command: str, message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "0 GPUs" in message and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = shlex.split(command)
    rest = shlex.split(REST)
    words = [new for word in words for new in (rest if word == "..." else [word])]
    named = [word.split("=")[0] for word in words]
    with pytest.raises(SystemExit) as ended:
        main([word for i, word in enumerate(words) if named[i] not in named[i + 1 :]])  # the last counts
    assert ended.value.code in (1, 2)
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(".+".join(map(re.escape, message.split("..."))), said), said
