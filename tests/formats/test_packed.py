"""The packed file: every bit where the specification says, nothing taken on trust."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

import mrecg
from mrecg.errors import CheckpointError, ConfigError
from mrecg.formats import checkpoint, packed
from mrecg.quant.size import quantized_bytes
from mrecg.reconstruct.calibrate import calibrate

Make = Callable[..., mrecg.Result]


def reference(integers: list[int], bits: int) -> bytes:
    """docs/reference/format.md in Python's whole numbers: one long number, value i at bit i x bits."""
    number = sum(value << (i * bits) for i, value in enumerate(integers))
    return number.to_bytes((len(integers) * bits + 7) // 8, "little")


@given(bits=st.integers(1, 8), data=st.data())
def test_integers_are_packed_as_specified_and_come_back(bits: int, data: st.DataObject) -> None:
    integers = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=70))
    found = packed.pack(torch.tensor(integers, dtype=torch.uint8), bits)
    assert found.numpy().tobytes() == reference(integers, bits)
    assert packed.unpack(found, bits, len(integers)).tolist() == integers


def test_long_tensors_are_packed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_AT_ONCE", 16)
    integers = torch.randint(0, 8, (77,), dtype=torch.uint8)
    found = packed.pack(integers, 3)
    assert found.numpy().tobytes() == reference(integers.tolist(), 3)
    assert torch.equal(packed.unpack(found, 3, 77), integers)


@pytest.mark.parametrize("weight", [2, 3, 4, 8, 32])
def test_a_file_alone_gives_the_network(
    make: Make, images: Tensor, kinds: nn.Module, weight: int, tmp_path: Path
) -> None:
    result = make(weight, 4, per_tensor_weights=weight == 3, symmetric_weights=weight == 8)
    file = tmp_path / "any name.safetensors"
    mrecg.export(result, file, images=images)
    found = mrecg.load(file, model=kinds)
    assert torch.equal(found.model(images), result.model(images))
    with pytest.raises(CheckpointError, match=r"passed from Python; call load\(file, model=\.\.\.\)"):
        mrecg.load(file)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_file_takes_what_its_bits_take(traced_of: Callable[[str], torch.fx.GraphModule], bits: int) -> None:
    from mrecg.config.validate import run_config
    from mrecg.graph.partition import partition
    from mrecg.quant.quantized_network import QuantizedNetwork

    config = run_config({"bits": {"weight": bits}})
    traced = traced_of("embedded")
    network = QuantizedNetwork(traced, partition(traced), config.bits)
    # Counted here once more, from the layers alone.
    total = 0.0
    for path, part in network.model.named_modules():
        if hasattr(part, "integers"):
            width = network.policy.layers[path]
            total += (part.integers.numel() + part.zero_point.numel()) * width / 8 + 4 * part.scale.numel()
            total += 0 if part.layer.bias is None else 4 * part.layer.bias.numel()
        elif hasattr(part, "bounds"):
            total += 4 + part.bits / 8
    size = len(checkpoint.dump(network, config, None))
    assert total < size < 1.03 * total
    assert abs(quantized_bytes(network)["quantized"] - total) < 0.001 * total


def test_bundled_models_need_no_checkpoint_and_others_consent(
    tmp_path: Path, tiny_config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrecg.pipeline.run import run

    result = run(tiny_config(granularity={"name": "block"}), tmp_path / "run")
    file = tmp_path / "run" / "quantized.safetensors"
    with pytest.raises(
        ConfigError, match=r"would import and run model\.target=tiny_net\.build; .*allow_import=true"
    ):
        mrecg.load(file)
    with pytest.raises(ConfigError, match=r"would import and run model\.target=tiny_net\.build"):
        mrecg.load(tmp_path / "run")
    found = mrecg.load(file, allow_import=True)
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(found.model(x), result.model(x))
    assert found.preprocessing == result.preprocessing and found.preprocessing.input_shape == (3, 16, 16)
    folder = mrecg.load(tmp_path / "run", allow_import=True)
    assert isinstance(folder, mrecg.Result) and torch.equal(folder.model(x), result.model(x))


def test_a_file_says_itself_what_is_quantized(
    make: Make, images: Tensor, kinds: nn.Module, tmp_path: Path
) -> None:
    """A file stays right when the rules for where quantizers stand change after it was written."""
    from mrecg.config.schema import CalibrationConfig
    from mrecg.quant.bit_widths import Policy
    from mrecg.quant.quantized_network import QuantizedNetwork

    result = make(4, 4)
    now = result.network.policy
    source = next(
        node.all_input_nodes[0]
        for node in result.network.traced.graph.nodes
        if node.name == list(now.activations)[1]
    )
    other = Policy(
        dict(list(now.layers.items())[1:]), {source.name: 3} | dict(list(now.activations.items())[2:])
    )
    assert source.name not in now.activations
    network = QuantizedNetwork(result.network.traced, result.network.units, result.network.bits, chosen=other)
    assert list(calibrate(network, images, CalibrationConfig(bins=64, candidates=4), batch=8))
    file = tmp_path / "old.safetensors"
    file.write_bytes(checkpoint.dump(network, result.config, None))
    found = mrecg.load(file, model=kinds)
    assert found.network.policy == other
    assert torch.equal(found.model(images), network.model(images))
    assert not torch.equal(found.model(images), result.model(images))
    result.save(tmp_path / "run")
    (tmp_path / "run" / "quantized.safetensors").write_bytes(file.read_bytes())
    assert torch.equal(mrecg.load(tmp_path / "run", model=kinds).model(images), network.model(images))


def test_runs_of_the_first_version_still_load(tmp_path: Path, tiny_config) -> None:
    from mrecg.pipeline.run import run

    result = run(tiny_config(granularity={"name": "block"}), tmp_path / "run")
    file = tmp_path / "run" / "quantized.safetensors"
    file.write_bytes(save(result.network.state()))  # as version 1 was written
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(mrecg.load(tmp_path / "run", allow_import=True).model(x), result.model(x))
    with pytest.raises(CheckpointError, match="version 1, which needs its run folder"):
        mrecg.load(file)


def retold(content: bytes, change: Callable[[dict], None], metadata: dict[str, str] | None = None) -> bytes:
    """Change what a file says of itself."""
    tensors = load(content)
    about = json.loads(zlib.decompress(tensors["description"].numpy().tobytes()))
    change(about)
    text = zlib.compress(json.dumps(about).encode())
    tensors["description"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return save(tensors, metadata or {packed.FORMAT: "2"})


def entry(about: dict, name: str) -> list:
    return next(one for one in about["tensors"] if one[0].endswith(name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: entry(about, "integers").__setitem__(3, 9), "of 9 bits"),
        (lambda about: entry(about, "integers").__setitem__(3, True), "of True bits"),
        (lambda about: entry(about, "integers").__setitem__(2, [10**9, 10**9]), "packed has .* entries"),
        (lambda about: entry(about, "integers").__setitem__(2, [-1, 3]), r"of shape \[-1, 3\]"),
        (lambda about: entry(about, "integers").__setitem__(2, "many"), "of shape"),
        (lambda about: entry(about, "integers").__setitem__(0, 3), "3 of shape"),
        (lambda about: entry(about, "scale").__setitem__(1, "float99"), "float99"),
        (lambda about: entry(about, "scale").__setitem__(1, "int64"), "int64"),
        (lambda about: about["tensors"].pop(), r"values.float32 has \d+ entries, \d+ are described"),
        (lambda about: about["tensors"].append(["more", "float32", [1], None]), "values.float32 has"),
        (lambda about: about.pop("tensors"), "tensors"),
        (lambda about: about.__setitem__("tensors", 5), "does not fit"),
        (lambda about: about["model"].__setitem__("source", "nowhere"), "its description is not right"),
        (lambda about: about["bits"].__setitem__("weight", 77), "its description is not right"),
        (lambda about: about.__setitem__("max_unit_layers", "x"), "its description is not right"),
        (lambda about: about.__setitem__("preprocessing", {"mean": 3}), "its description is not right"),
        (lambda about: about["activation_bits"].popitem(), "weights do not fit the model"),
        (lambda about: about["activation_bits"].__setitem__("nowhere", 4), "description does not fit"),
        (lambda about: about["weight_bits"].__setitem__("nowhere", 4), "description does not fit"),
        (lambda about: about["weight_bits"].update(dict.fromkeys(about["weight_bits"], 77)), "77 bits"),
    ],
)  # fmt: skip
def test_what_a_file_says_of_itself_is_checked(
    make: Make, kinds: nn.Module, tmp_path: Path, change, said: str
) -> None:
    file = tmp_path / "q.safetensors"
    result = make()
    file.write_bytes(retold(checkpoint.dump(result.network, result.config, None), change))
    with pytest.raises(CheckpointError, match=said) as found:
        mrecg.load(file, model=kinds)
    assert str(file) in str(found.value) and "\n" not in str(found.value)


def test_damaged_and_newer_files_are_refused(make: Make, kinds: nn.Module, tmp_path: Path) -> None:
    result, file = make(), tmp_path / "q.safetensors"
    content = checkpoint.dump(result.network, result.config, None)
    newer = retold(content, lambda about: None, {packed.FORMAT: "3"})
    tensors = load(content)
    bomb = zlib.compress(b" " * (1 << 25))
    huge = save(
        {**tensors, "description": torch.frombuffer(bytearray(bomb), dtype=torch.uint8)}, {packed.FORMAT: "2"}
    )
    short = save({**tensors, "description": tensors["description"][:-9]}, {packed.FORMAT: "2"})
    for damaged, said in (
        (content[: len(content) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (newer, r"version 3, this mrecg reads 2; pip install --upgrade mrecg"),
        (huge, "ends early, or is longer"),
        (short, "ends early, or is longer"),
        (save({"description": torch.zeros(3)}, {packed.FORMAT: "2"}), "does not fit its content"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=said):
            mrecg.load(file, model=kinds)
    with pytest.raises(CheckpointError, match="is no finished run"):
        mrecg.load(tmp_path / "nothing.safetensors")
