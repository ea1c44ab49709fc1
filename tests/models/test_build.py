import os
from pathlib import Path
from typing import Any

import pytest
import tiny_net
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mrecg.config.inputs import ModelConfig
from mrecg.errors import CheckpointError, ConfigError
from mrecg.models.build import build, load_checkpoint


def config(**values: Any) -> ModelConfig:
    return ModelConfig(**{"source": "target", "target": "tiny_net.build", "name": "tiny", **values})


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_the_default_is_the_embedded_model() -> None:
    model = build(ModelConfig(), seed=0)
    assert not model.training and model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_torchvision_models_are_built_by_name() -> None:
    model = build(
        ModelConfig(source="torchvision", name="squeezenet1_1", arguments={"num_classes": 7}), seed=0
    )
    assert type(model).__name__ == "SqueezeNet" and not model.training
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_random_weights_are_those_of_the_seed() -> None:
    before = torch.get_rng_state()
    one, again, other = (build(config(), seed=seed).state_dict() for seed in (3, 3, 4))
    assert same(one, again) and not same(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_target_gets_its_arguments() -> None:
    assert build(config(arguments={"classes": 4}), seed=0)(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"source": "torchvision", "target": None, "name": "resnet81"},
            r"^model\.name: 'resnet81' is not a choice \(did you mean 'resnet18'\?\); choose from alexnet, ",
        ),
        (
            {"source": "torchvision", "target": None, "name": "resnet18", "arguments": {"depth": 3}},
            r"^model\.arguments: resnet18 refuses .*depth",
        ),
        ({"arguments": {"depth": 3}}, r"^model\.arguments: tiny refuses \{'depth': 3\}: .*depth"),
        ({"target": "tiny_net.nothing"}, r"^tiny_net\.nothing: cannot be imported"),
        ({"target": "no_such_package.x"}, r"^no_such_package\.x: cannot be imported"),
        ({"target": "tiny_net.not_a_model"}, r"^model\.target: tiny_net\.not_a_model returns int, not"),
        ({"checkpoint": Path("no/where.pth")}, r"^model\.checkpoint: no/where\.pth does not exist"),
        ({"source": "python", "target": None}, r"^model\.source: python is for a model passed to"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(config(**values), seed=0)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(42)
    return tiny_net.build().state_dict()


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("holder", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_layout_of_a_checkpoint_is_read(
    suffix: str, holder: str | None, prefix: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    content: Any = {f"{prefix}{key}": value for key, value in state.items()}
    path = tmp_path / f"weights{suffix}"
    torch.save({holder: content, "epoch": 3} if holder else content, path)
    model = build(config(checkpoint=path), seed=0)
    assert same(model.state_dict(), state) and not model.training


def test_safetensors_are_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, path := tmp_path / "weights.safetensors")
    assert same(build(config(checkpoint=path), seed=0).state_dict(), state)


def test_the_embedded_model_takes_other_weights(tmp_path: Path) -> None:
    state = build(ModelConfig(), seed=0).state_dict()
    changed = {key: value + 1 for key, value in state.items()}
    save_file(changed, path := tmp_path / "weights.safetensors")
    assert same(build(ModelConfig(checkpoint=path), seed=0).state_dict(), changed)


def test_a_checkpoint_of_another_model_is_an_error(state: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = dict(state)
    del wrong["head.bias"]
    wrong["extra.a"] = wrong["extra.b"] = torch.zeros(1)
    wrong["head.weight"] = torch.zeros(3, 3)
    torch.save(wrong, path := tmp_path / "weights.pth")
    model = tiny_net.build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, path)
    assert str(error.value) == (
        f"model.checkpoint: {path} does not fit the model: 1 missing (first head.bias); "
        "2 not the model's (first extra.a); 1 of another shape (first head.weight)"
    )
    assert same(model.state_dict(), before)


class Malicious:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def test_code_in_a_checkpoint_is_not_run(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": state, "more": Malicious(tmp_path / "proof")}, path := tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="cannot be loaded without running its code"):
        load_checkpoint(tiny_net.build(), path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("empty.pth", b""), ("text.pth", b"hello"), ("text.safetensors", b"hello" * 9)]
)
def test_what_is_no_checkpoint_is_an_error(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^model\.checkpoint: .*{name}"):
        load_checkpoint(tiny_net.build(), path)


def test_a_file_without_tensors_is_an_error(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, path := tmp_path / "weights.pth")
    with pytest.raises(
        CheckpointError, match="holds no state dict; looked for it at the top, state_dict, model"
    ):
        load_checkpoint(nn.Linear(1, 1), path)
