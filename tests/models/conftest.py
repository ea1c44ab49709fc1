"""The tiny network and its weights in files, and a hub folder without a network behind it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

import pytest
import tiny_net
import torch
from torch import Tensor

from mrecg.config.inputs import ModelConfig

State = dict[str, Tensor]


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., ModelConfig]:
    """Configure the network of tests/assets/tiny_net.py."""

    def make(**values: Any) -> ModelConfig:
        if "checkpoint" in values:
            values["checkpoint"] = str(values["checkpoint"])
        own = {"source": "target", "target": "tiny_net.build", "name": "tiny", "input_shape": (3, 8, 8)}
        return ModelConfig(**{**own, **values})

    return make


@pytest.fixture(scope="session")
def state() -> State:
    """Its weights, of another seed than any that the tests build it with."""
    torch.manual_seed(42)
    return tiny_net.build().state_dict()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write what a checkpoint holds."""

    def save(content: Any, name: str = "weights.pth") -> Path:
        torch.save(content, path := tmp_path / name)
        return path

    return save


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder in which downloaded weights are kept; it is empty and does not exist yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download of torch's fail at once."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
