"""Files of version 0.1.0 are read: constants stood beside their layers, and groups shared their grids."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mrecg
from mrecg.config.schema import CalibrationConfig
from mrecg.formats import checkpoint, packed
from mrecg.quant.modules import layers_of
from mrecg.reconstruct.calibrate import calibrate
from mrecg.runs import layout


class Net(nn.Module):
    """A layer scale after a convolution, and a transposed convolution of two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, groups=2)
        self.gamma, self.head = nn.Parameter(torch.rand(4, 1, 1) + 0.5), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up((self.conv(x) * self.gamma).relu()).relu().mean((2, 3)))


def test_constants_and_grids_of_an_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, images = Net().eval(), torch.randn(8, 3, 8, 8)
    result = mrecg.quantize(model, images, method="rtn", granularity="block", steps=1, progress=False)
    config = result.config
    old = checkpoint.rebuild(model, config.bits, config.granularity, (3, 8, 8), about={}, what="old")
    list(calibrate(old, images, CalibrationConfig(bins=64, candidates=4), batch=8))
    (up,) = (layer for layer in layers_of(old.model) if isinstance(layer.layer, nn.ConvTranspose2d))
    with torch.no_grad():
        up.scale.copy_(up.scale[:1].expand_as(up.scale))
        up.zero_point.copy_(up.zero_point[:1].expand_as(up.zero_point))
    up.refresh()

    write = packed.dump

    def dump(state: dict[str, Tensor], widths: dict[str, int], about: dict[str, Any]) -> bytes:
        """Write what 0.1.0 wrote."""
        state = {**state, "up.scale": state["up.scale"][:1], "up.zero_point": state["up.zero_point"][:1]}
        kept = {key: value for key, value in about.items() if key not in (checkpoint.AFFINE, "input_shape")}
        return write(state, widths, kept)

    folder = result.save(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(packed, "dump", dump)
        (folder / layout.WEIGHTS).write_bytes(checkpoint.dump(old, config, None))
    expected = old.model(images)
    for again in (mrecg.load(folder, model=Net()), mrecg.load(folder / layout.WEIGHTS, model=Net())):
        assert torch.equal(again.model(images), expected)
    # What is written now has the constants inside.
    result.save(tmp_path / "new")
    new = mrecg.load(tmp_path / "new" / layout.WEIGHTS, model=Net())
    assert torch.equal(new.model(images), result.model(images))
    assert not any("gamma" in name or "constants" in name for name in new.network.state())
