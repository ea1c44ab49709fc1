import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from mrecg.config.inputs import ModelConfig
from mrecg.config.paths import CONF
from mrecg.errors import CheckpointError
from mrecg.models import regnet
from mrecg.models.build import build

Save = Callable[..., Path]


def config(checkpoint: Path, **values: Any) -> ModelConfig:
    own = {"checkpoint_match": "order", **values}
    return ModelConfig(
        source="target",
        target="mrecg.models.regnet.regnet_x_600mf",
        input_shape=(3, 224, 224),
        checkpoint=str(checkpoint),
        **own,
    )


def advised_names() -> dict[str, str]:
    """What the comment of the YAML file tells its reader to set."""
    lines = (CONF / "model" / "regnet_x_600mf.yaml").read_text().splitlines()
    comment = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    rename: dict[str, str] = yaml.safe_load("\n".join(comment[comment.index("rename:") :]))["rename"]
    return rename


@pytest.fixture(scope="module")
def timms() -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    return timm.create_model("regnetx_006").eval()


def in_the_published_order(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names and the order of the authors' code: the projection of a block comes before its branch."""

    def place(name: str) -> tuple[int, ...]:
        if found := re.match(r"s(\d)\.b(\d+)\.(downsample)?", name):
            return 1, int(found[1]), int(found[2]), not found[3]
        return (0,) if name.startswith("stem") else (2,)

    return {name: state[name] for name in sorted(state, key=place)}


def test_it_is_the_published_network() -> None:
    model = regnet.regnet_x_600mf()
    assert sum(value.numel() for value in model.parameters()) == 6_196_040
    stages = [list(stage.children()) for stage in model.trunk_output.children()]
    assert [len(stage) for stage in stages] == [1, 3, 5, 7]
    assert [stage[0].proj[0].out_channels for stage in stages] == [48, 96, 240, 528]
    assert {
        part.in_channels // part.groups for part in model.modules() if getattr(part, "groups", 1) > 1
    } == {24}
    assert regnet.regnet_x_600mf(num_classes=3).fc.out_features == 3


@pytest.mark.parametrize("match", ["order", "name"])
@torch.no_grad()
def test_with_timms_weights_it_computes_what_timms_does(
    match: str, timms: nn.Module, saved: Save, randomised: Callable[[nn.Module], nn.Module]
) -> None:
    state = randomised(timms).state_dict()
    if match == "order":
        built = build(config(saved(in_the_published_order(state))), seed=0)
    else:
        built = build(config(saved(state), checkpoint_match="name", rename=advised_names()), seed=0)
    assert built.weights.match == match and built.weights.renamed == built.weights.tensors
    assert sum(p.numel() for p in timms.parameters()) == sum(p.numel() for p in built.model.parameters())
    images = torch.randn(2, 3, 96, 96)
    expected = timms(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(built.model(images), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_timms_own_order_is_refused(timms: nn.Module, saved: Save) -> None:
    with pytest.raises(CheckpointError, match=r"in order: first difference: s1\.b1\.conv2\.conv\.weight of"):
        build(config(saved(timms.state_dict())), seed=0)
