import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import pytest
import torch
from torch import Tensor
from torchvision import models

from mrecg.config.inputs import ModelConfig
from mrecg.errors import CheckpointError, ConfigError
from mrecg.models import embedded
from mrecg.models.build import build
from mrecg.models.fetch import digest
from mrecg.models.weights_record import Weights

Tiny = Callable[..., ModelConfig]
TIMM = "mobilenetv2_050"
"""Of timm's networks with published weights, one that is built fast."""


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def squeezenet(**values: Any) -> ModelConfig:
    return ModelConfig(source="torchvision", name="squeezenet1_1", **values)


def test_the_default_is_the_embedded_model() -> None:
    built = build(ModelConfig(), seed=0)
    assert not built.model.training and built.model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert same(built.model.state_dict(), embedded.load().state_dict())
    facts = built.weights.facts()
    assert facts["origin"] == "embedded" and facts["sha256"] == digest(embedded.WEIGHTS)
    assert facts["tensors"] == len(built.weights.mapping) > 100 and facts["renamed"] == 0


def test_random_weights_are_those_of_the_seed(tiny_model: Tiny) -> None:
    before = torch.get_rng_state()
    one, again, other = (build(tiny_model(), seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert same(one, again) and not same(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_are_called_random(tiny_model: Tiny) -> None:
    built = build(tiny_model(), seed=3)
    counted = [name for name in built.model.state_dict() if "num_batches_tracked" not in name]
    assert built.weights == Weights(
        origin="random, seed 3", sha256=None, key=None, match=None, tensors=len(counted), mapping=()
    )
    assert not built.model.training
    assert built.weights.note() == (
        "weights: random, seed 3; model.checkpoint=FILE or model.weights=DEFAULT gives trained ones"
    )


def test_a_target_gets_its_arguments(tiny_model: Tiny) -> None:
    model = build(tiny_model(arguments={"classes": 4}), seed=0).model
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


def test_torchvision_models_are_built_by_name() -> None:
    model = build(squeezenet(arguments={"num_classes": 7}), seed=0).model
    assert type(model).__name__ == "SqueezeNet" and not model.training
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_no_warning_of_torchvisions_is_seen(name: str) -> None:
    with torch.device("meta"), warnings.catch_warnings(action="error"):
        build(ModelConfig(source="torchvision", name=name), seed=0)


def test_timm_models_are_built_by_name() -> None:
    pytest.importorskip("timm")
    built = build(ModelConfig(source="timm", name=TIMM, arguments={"num_classes": 7}), seed=0)
    assert not built.model.training and built.model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert built.weights.origin == "random, seed 0"


WRONG = [
    ({"source": "torchvision", "name": "resnet81"},
     r"^model\.name: 'resnet81' is not a choice \(did you mean 'resnet18'\?\); choose from alexnet, "),
    ({"source": "torchvision", "name": "resnet18", "arguments": {"depth": 3}},
     r"^model\.arguments: resnet18 refuses .*depth"),
    ({"source": "torchvision", "name": "resnet18", "weights": "IMAGENET1K_V2"},
     r"^model\.weights: 'IMAGENET1K_V2' is not a choice .*; choose from IMAGENET1K_V1, DEFAULT$"),
    ({"source": "torchvision", "name": "resnet18", "weights": "ResNet50_Weights.DEFAULT"},
     r"^model\.weights: 'ResNet50_Weights\.DEFAULT' is not a choice"),
    ({"source": "torchvision", "name": "resnet18", "arguments": {"weights": "DEFAULT"}},
     r"^model\.arguments: weights is not for arguments; give model\.weights=DEFAULT$"),
    ({"source": "torchvision", "name": "resnet18", "arguments": {"pretrained": True}},
     r"^model\.arguments: pretrained is not for arguments"),
    ({"source": "target", "target": "tiny_net.build", "arguments": {"depth": 3}},
     r"^model\.arguments: tiny_net\.build refuses \{'depth': 3\}: .*depth"),
    ({"source": "target", "target": "tiny_net.nothing"}, r"^tiny_net\.nothing: cannot be imported"),
    ({"source": "target", "target": "no_such_package.x"}, r"^no_such_package\.x: cannot be imported"),
    ({"source": "target", "target": "tiny_net.not_a_model"},
     r"^model\.target: tiny_net\.not_a_model returns int, not"),
    ({"source": "python"}, r"^model\.source: python is for a model passed to"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_what_is_wrong_is_named(values: dict[str, Any], message: str, no_network: None) -> None:
    with pytest.raises(ConfigError, match=message):
        build(ModelConfig(input_shape=(3, 8, 8), **values), seed=0)


def test_the_missing_package_timm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs the package timm: pip install 'mrecg\[timm\]'$"):
        build(ModelConfig(source="timm", name=TIMM), seed=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "mobilenetv2_50"},
         r"^model\.name: 'mobilenetv2_50' is not a choice \(did you mean 'mobilenetv2_050'\?\); choose from "
         r"mobilenetv2_050, (\w+, ){7}\d+ more of timm\.list_models\(\)$"),
        ({"weights": "none_such"},
         r"^model\.weights: 'none_such' is not a choice; choose from DEFAULT, \w*in1k"),
        ({"name": "mobilenetv2_035", "weights": "DEFAULT"},
         r"^model\.weights: timm publishes none for mobilenetv2_035; give model\.checkpoint=FILE$"),
        ({"arguments": {"depth": 3}}, r"^model\.arguments: mobilenetv2_050 refuses .*depth"),
        ({"arguments": {"pretrained": True}}, r"^model\.arguments: pretrained is not for arguments"),
        ({"weights": "DEFAULT", "arguments": {"num_classes": 3}},
         r"^model\.arguments: num_classes=3, and timm mobilenetv2_050\.\w+ has 1000"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_timm_model_is_named(
    values: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = pytest.importorskip("timm.models._builder")
    monkeypatch.setattr(builder, "load_pretrained", lambda *_, **__: None)  # nothing is to be downloaded
    with pytest.raises(ConfigError, match=message):
        build(ModelConfig(source="timm", **{"name": TIMM, **values}), seed=0)


@pytest.fixture
def squeezenet_file(hub: Path) -> Path:
    """Where torchvision keeps the published weights of `squeezenet`."""
    hub.mkdir(parents=True)
    return hub / PurePosixPath(urlparse(models.SqueezeNet1_1_Weights.DEFAULT.url).path).name


@pytest.mark.parametrize("name", ["DEFAULT", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.IMAGENET1K_V1"])
def test_weights_that_torchvision_publishes_are_loaded(
    name: str, squeezenet_file: Path, no_network: None
) -> None:
    published = models.squeezenet1_1().state_dict()
    torch.save(published, squeezenet_file)
    built = build(squeezenet(weights=name), seed=0)
    assert same(built.model.state_dict(), published) and not built.model.training
    assert built.weights.origin == "torchvision SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert built.weights.sha256 == digest(squeezenet_file) and built.weights.tensors == len(published)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>", b"PK\x03\x04 cut off"])
def test_a_damaged_file_of_torchvision_is_named(
    content: bytes, squeezenet_file: Path, no_network: None
) -> None:
    squeezenet_file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^model\.weights: .* loaded from .*{squeezenet_file.name}: "):
        build(squeezenet(weights="DEFAULT"), seed=0)


class Code:
    """Leaves a file where its code runs."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_a_published_file_that_needs_code_is_refused(
    squeezenet_file: Path, no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    torch.save({"classifier": Code(tmp_path / "ran")}, squeezenet_file)
    with pytest.raises(CheckpointError, match=r"^model\.weights: .* loaded from "):
        build(squeezenet(weights="DEFAULT"), seed=0)
    assert not (tmp_path / "ran").exists() and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_torchvision_without_a_network_is_an_error_in_one_line(hub: Path, no_network: None) -> None:
    with pytest.raises(CheckpointError) as error:
        build(squeezenet(weights="DEFAULT"), seed=0)
    assert str(error.value) == (
        "model.weights: SqueezeNet1_1_Weights.IMAGENET1K_V1 cannot be downloaded: "
        "<urlopen error no network in tests>; offline, give model.checkpoint=FILE instead"
    )
    assert list(hub.iterdir()) == []


def test_weights_that_timm_publishes_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = pytest.importorskip("timm.models._builder")
    loaded = []
    monkeypatch.setattr(builder, "load_pretrained", lambda model, *_, **__: loaded.append(model))
    built = build(ModelConfig(source="timm", name=TIMM, weights="DEFAULT"), seed=0)
    assert loaded == [built.model] and not built.model.training
    assert built.weights.origin == built.preprocessing.origin
    assert built.weights.origin.startswith(f"timm {TIMM}.") and built.weights.match == "name"


def test_timm_without_a_network_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = pytest.importorskip("timm.models._builder")

    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("no network\nin tests")

    monkeypatch.setattr(builder, "load_pretrained", refuse)
    with pytest.raises(CheckpointError) as error:
        build(ModelConfig(source="timm", name=TIMM, weights="DEFAULT"), seed=0)
    assert str(error.value).startswith(f"model.weights: timm {TIMM}.")
    assert str(error.value).endswith(
        "cannot be downloaded: URLError <urlopen error no network in tests>; "
        "offline, give model.checkpoint=FILE instead"
    )
