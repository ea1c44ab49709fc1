"""float32 means what a run asks for, in every part of it, and the process keeps what it had chosen."""

import json
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.backends import cuda, cudnn, mkldnn
from torch.utils.data import TensorDataset

import mrecg
from mrecg.config.schema import RunConfig
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError
from mrecg.pipeline import evaluate, evaluation, reuse
from mrecg.pipeline import run as pipeline
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import computing
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.system.tf32 import FLAGS, float32_as, float32_flags, refuse_precision
from mrecg.track.terminal import Quiet

IEEE = dict.fromkeys(FLAGS, "ieee")
TF32 = {flag: "ieee" if flag.startswith("mkldnn") else "tf32" for flag in FLAGS}
CPU = torch.device("cpu")


def older() -> list[Any]:
    """What the older flags of torch say; "contradiction" where it finds that they cannot be read."""
    found: list[Any] = []
    for read in (
        torch.get_float32_matmul_precision,
        lambda: cuda.matmul.allow_tf32,
        lambda: cudnn.allow_tf32,
    ):
        try:
            found.append(read())
        except RuntimeError:
            found.append("contradiction")
    return found


@pytest.fixture(autouse=True)
def _flags_as_they_are_by_default() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = True
    mkldnn.conv.fp32_precision = "none"  # type: ignore[attr-defined]


CHOICES: dict[str, Callable[[], Any]] = {
    "default": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "cuda": lambda: setattr(cuda.matmul, "allow_tf32", True),
    "no cudnn": lambda: setattr(cudnn, "allow_tf32", False),
    "newer": lambda: setattr(cuda.matmul, "fp32_precision", "tf32"),
    "newer conv": lambda: setattr(cudnn.conv, "fp32_precision", "ieee"),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(
    ("precision", "expected", "said"),
    [(32, IEEE, ["highest", False, False]), ("bf16", IEEE, None), ("tf32", TF32, ["high", True, True])],
)
def test_float32_is_set_and_put_back(choice: str, precision: Any, expected: Any, said: Any) -> None:
    CHOICES[choice]()
    before = float32_flags(), older()
    with pytest.raises(ZeroDivisionError), float32_as(precision):
        assert float32_flags() == expected
        assert said is None or older() == said  # Lightning reads them
        raise ZeroDivisionError
    after = float32_flags(), older()
    assert after == before or ("contradiction" in before[1] and after[0] == before[0])


def test_matrices_are_multiplied_with_all_bits_whatever_the_process_has_chosen() -> None:
    x = torch.randn(64, 64)
    exact = x.double() @ x.double()
    torch.set_float32_matmul_precision("medium")
    with float32_as(32):
        assert torch.allclose((x @ x).double(), exact, atol=1e-4)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, str]]]:
    """The flags in every part of a run."""
    found: dict[str, list[dict[str, str]]] = {}

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        @wraps(real)
        def watched(*arguments: Any, **more: Any) -> Any:
            found.setdefault(name, []).append(float32_flags())
            return real(*arguments, **more)

        monkeypatch.setattr(owner, name, watched)

    watch(pipeline, "calibrate")
    watch(GroupReconstruction, "training_step")
    watch(evaluation, "accuracy")
    watch(nn.Conv2d, "_conv_forward")  # targets, ranges, accuracies in full precision
    return found


@pytest.mark.parametrize(("precision", "expected"), [(32, IEEE), ("bf16", IEEE), ("tf32", TF32)])
def test_every_part_of_a_run_computes_alike(
    precision: Any,
    expected: Any,
    seen: dict[str, list[dict[str, str]]],
    tiny: nn.Module,
    tiny_images: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(computing, "refuse_precision", lambda *_: None)  # no GPU here
    result = mrecg.quantize(
        tiny,
        tiny_images,
        evaluation=TensorDataset(tiny_images, torch.arange(16) % 10),
        precision=precision,
        method="qdrop",
        steps=2,
        trainer={"batch_size": 4, "device": "cpu"},
        calibration={"bins": 64, "candidates": 4},
        progress=False,
        save_to=tmp_path,
    )
    assert set(seen) == {"calibrate", "training_step", "accuracy", "_conv_forward"}
    assert len(seen["accuracy"]) == 2  # FP and quantized
    assert all(flags == expected for part in seen.values() for flags in part)
    assert result.summary["precision"] == precision
    assert json.loads((tmp_path / "environment.json").read_text())["float32"] == expected


def test_whoever_measures_a_model_alone_has_all_bits(tiny: nn.Module, tiny_images: Tensor) -> None:
    seen: list[dict[str, str]] = []
    tiny.register_forward_hook(lambda *_: seen.append(float32_flags()))
    mrecg.evaluate(tiny, TensorDataset(tiny_images, torch.arange(16) % 10), device="cpu")
    assert seen and all(flags == IEEE for flags in seen)


def test_shared_results_depend_on_it(tiny_config: Callable[..., RunConfig]) -> None:
    network, keys = tiny_network_of(tiny_config), set()
    images = torch.zeros(4, 3, 16, 16)
    for precision in (32, "tf32"):
        with float32_as(precision):  # type: ignore[arg-type]
            keys.add(reuse._base(tiny_config(), network, images))
    assert len(keys) == 2


def tiny_network_of(tiny_config: Callable[..., RunConfig]) -> QuantizedNetwork:
    from mrecg.models.build import build
    from mrecg.pipeline import planning

    config = tiny_config()
    return planning.cut(build(config.model, seed=0).model, config, (3, 16, 16))


def test_tf32_is_refused_where_there_is_none(
    tiny_config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"^precision: cpu has no tf32 .*; take precision=32$"):
        pipeline.run(tiny_config(precision="tf32"), tmp_path)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(ConfigError, match="precision: cuda has no tf32"):
        refuse_precision("tf32", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    refuse_precision("tf32", torch.device("cuda"))
    for precision in (32, "bf16"):
        refuse_precision(precision, CPU)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="precision: 16 is not a choice"):
        run_config({"precision": 16})


def test_a_run_made_in_tf32_is_measured_elsewhere_too(
    tiny_config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(computing, "refuse_precision", lambda *_: None)  # no GPU here
        result = pipeline.run(tiny_config(precision="tf32"), tmp_path)
    notes: list[str] = []
    monkeypatch.setattr(Quiet, "note", lambda _, text: notes.append(text))
    _, found = evaluate.evaluate(tiny_config(run=str(tmp_path), allow_import=True))
    assert result.summary["quantized"] == {"top1": found.top1, "top5": found.top5}
    assert f"{tmp_path} was made in tf32, which cpu does not have: measured in float32" in notes
