"""Bits of single layers through a whole run: result, folder, reuse, exports."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import mrecg
from mrecg.config.schema import BitsConfig, RunConfig
from mrecg.config.validate import plain, saved_config
from mrecg.errors import ConfigError
from mrecg.pipeline.result import Result
from mrecg.quant.modules import QuantizedLayer
from mrecg.runs.identity import _decisive, differences, identity_of
from mrecg.runs.load import load_run

LAYERS = {"kind:depthwise": 6, "first.conv2": 4}
BITS: dict[str, Any] = {"layers": LAYERS, "activations": {"third": 6}, "exclude": ["second"]}


def quantized(model: nn.Module, x: Tensor, bits: dict[str, Any], **more: Any) -> Result:
    settings: dict[str, Any] = {
        "method": "rtn", "granularity": "block", "progress": False, "steps": 2,
        "trainer": {"threads": 1, "batch_size": 8}, "calibration": {"candidates": 4, "bins": 64},
    }  # fmt: skip
    return mrecg.quantize(model, x, bits=bits, **{**settings, **more})


@pytest.mark.parametrize("method", ["rtn", "qdrop", "closed_form", "adaround"])
def test_each_layer_has_its_bits_whatever_learns(network: nn.Module, images: Tensor, method: str) -> None:
    found = quantized(network, images, BITS, method=method, granularity="mixed", planner={"name": "safe"})
    layers = {
        name: part.bits for name, part in found.model.named_modules() if isinstance(part, QuantizedLayer)
    }
    assert layers == {
        "stem.0": 8, "first.conv1": 2, "first.conv2": 4,
        "third.expand": 2, "third.depthwise": 6, "third.project": 2, "head": 8,
    }  # fmt: skip
    second = [name for name, _ in found.model.named_parameters() if name.startswith("second.")]
    assert any(name == "second.conv1.weight" for name in second)  # in full precision, without integers
    assert found.summary["layer_bits"]["second.conv2"] == {"weight": 32, "input": 32}
    assert found.summary["layer_bits"]["third.depthwise"] == {"weight": 6, "input": 6}
    assert {part["name"] for part in found.summary["unquantized"]} == {
        "second.conv1", "second.conv2", "second.down"
    }  # fmt: skip
    assert any("stays in full precision: second.conv1" in note for note in found.summary["notes"])
    assert found.plan.layer_bits["first.conv2"].weight == 4


def test_a_folder_keeps_them(network: nn.Module, images: Tensor, tmp_path: Path) -> None:
    found = quantized(network, images, BITS, save_to=tmp_path / "run")
    expected = found.model(images)
    loaded = mrecg.load(tmp_path / "run", model=network)
    assert torch.equal(loaded.model(images), expected)
    alone = mrecg.load(tmp_path / "run" / "quantized.safetensors", model=network)
    assert torch.equal(alone.model(images), expected)
    read = load_run(tmp_path / "run")
    assert read.layer_bits == found.summary["layer_bits"]
    assert read.options["bits.exclude"] == "['second']"
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["layer_bits"]["first.conv2"] == {"weight": 4, "input": 4}
    size, usual = (run.summary["size_bytes"]["quantized"] for run in (found, quantized(network, images, {})))
    assert size > usual


def test_exports_hold_mixed_bits(network: nn.Module, images: Tensor, tmp_path: Path) -> None:
    found = quantized(network, images, BITS)
    for file in ("a.onnx", "a.pt2", "a.safetensors"):
        done = mrecg.export(found, tmp_path / file, images=images)
        assert (tmp_path / file).exists() and done
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    (out,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    # A value between two integers may round to either side: rarely, and by a step.
    assert (torch.from_numpy(out) - found.model(images)).abs().median() < 1e-4


@pytest.mark.parametrize(("bits", "says"), [({"layers": {"first.conv1": 4}}, "first.conv1 has 4 bits")])
def test_integer_kernels_refuse_other_bits_before_any_work(
    network: nn.Module, images: Tensor, tmp_path: Path, bits: dict[str, Any], says: str
) -> None:
    found = quantized(network, images, {**bits, "symmetric_weights": True}, weight_bits=8, activation_bits=8)
    with pytest.raises(ConfigError, match=f"onnx_int8: {says}"):
        mrecg.export(found, tmp_path / "a.onnx", images=images, format="onnx_int8")
    assert not any(tmp_path.iterdir())


def test_integer_kernels_take_a_network_with_layers_in_full_precision(
    network: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    bits = {"exclude": ["second.conv2"], "symmetric_weights": True}
    found = quantized(network, images, bits, weight_bits=8, activation_bits=8)
    assert mrecg.export(found, tmp_path / "a.onnx", images=images, format="onnx_int8")


def test_a_changed_width_is_another_run(
    network: nn.Module, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {"shared": {"folder": str(tmp_path)}}
    reused = [
        quantized(network, images, bits, method="qdrop", **shared).summary["group_results"][1]["reused"]
        for bits in ({}, {}, {"layers": {"first.conv1": 3}}, {"layers": {"first.conv1": 3}}, BITS)
    ]
    assert reused == [False, True, False, True, False]


def config(**bits: Any) -> RunConfig:
    return replace(RunConfig(), bits=BitsConfig(**bits))


def test_folders_without_these_keys_are_the_same_run() -> None:
    usual = config()
    assert set(_decisive(usual)["bits"]) == {
        "weight", "activation", "boundary", "stem_output", "input", "symmetric_weights", "per_tensor_weights"
    }  # fmt: skip
    values = plain(usual)
    for key in ("layers", "activations", "exclude"):
        del values["bits"][key]
    assert identity_of(saved_config(values)) == identity_of(usual)


@pytest.mark.parametrize(
    "change",
    [
        lambda: config(layers={"a": 3, "b": 4}),
        lambda: config(layers={"b": 4, "a": 4}),
        lambda: config(layers={"b": 4, "a": 3}),
        lambda: config(activations={"b": 4}),
        lambda: config(exclude=["a"]),
        config,
    ],
)
def test_widths_belong_to_a_runs_identity(change: Callable[[], RunConfig]) -> None:
    first, other = config(layers={"a": 4, "b": 4}), change()
    assert identity_of(first) != identity_of(other) and differences(first, other)
    assert identity_of(saved_config(plain(other))) == identity_of(other)
