"""Networks with several outputs, and without a classifier, from quantization to a loaded file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from several_outputs import Branches, Sharpen, branches, images
from torch import Tensor, nn

import mrecg
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError, DataError, ExportError
from mrecg.graph.structure import tensors_of
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.outputs import output_errors
from mrecg.runs.identity import differences, identity_of

QUICK: dict[str, Any] = {
    "weight_bits": 4,
    "activation_bits": 8,
    "steps": 2,
    "progress": False,
    "trainer": {"batch_size": 4},
    "finish": {"name": "network", "steps": 2, "batch_size": 4},
    "planner": {"accept": "all", "name": "modcap"},
}


def labelled(count: int = 12) -> Any:
    return [(image, i % 3) for i, image in enumerate(images(count))]


def quantize(model: nn.Module, **more: Any) -> mrecg.Result:
    return mrecg.quantize(model, images(), **{**QUICK, **more})


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for mine, wanted in zip(tensors_of(found), tensors_of(expected), strict=True):
        assert torch.equal(mine, wanted)


@pytest.mark.parametrize("form", ["dict", "classed"])
def test_a_network_with_several_outputs_is_quantized_saved_and_loaded(form: str, tmp_path: Path) -> None:
    model, x = branches(form), images(3)
    result = quantize(model, evaluation=labelled(), save_to=tmp_path / "run")
    names = {"dict": ["out", "aux"], "classed": ["logits", "aux"]}[form]
    errors = result.summary["output_error"]
    assert f"relative error of {names[0]} " in repr(result)
    assert list(errors) == names
    assert all(0 < error < 0.05 for error in errors.values())
    assert result.summary["finish"]["measure"] == "relative_error"
    assert "fp" not in result.summary or result.summary["fp"] is None
    assert "model.output=NAME chooses one output" in result.summary["notes"][-1]
    assert_same(mrecg.load(tmp_path / "run", model=model).model(x), result.model(x))
    assert_same(mrecg.load(tmp_path / "run" / "quantized.safetensors", model=model).model(x), result.model(x))


def test_every_output_learns_in_finishing() -> None:
    """All outputs are in its loss, also those that leave the chain of units early."""
    steps = {"name": "network", "steps": 40, "batch_size": 8, "held_out": 0.1, "lr": 1e-2}
    model, low = branches("dict"), {"weight_bits": 2, "activation_bits": 4}
    before, after = (
        quantize(model, evaluation=labelled(), method="rtn", finish=finish, **low).summary["output_error"]
        for finish in ({"name": "none"}, steps)
    )
    assert after["aux"] < 0.9 * before["aux"]


def test_errors_are_relative_and_of_indices_the_fraction_that_differs() -> None:
    class Gives(nn.Module):
        def __init__(self, factor: float, classes: list[int]) -> None:
            super().__init__()
            self.factor, self.classes = factor, torch.tensor(classes)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"y": x * self.factor, "k": self.classes[: len(x)]}

    batches = [(images(2), torch.zeros(2))] * 2
    found = output_errors(
        Gives(1, [1, 2]), Gives(1.1, [1, 3]), batches, device=torch.device("cpu"), progress=None
    )
    assert found["y"] == pytest.approx(0.01, rel=1e-3)
    assert found["k"] == 0.5


def test_a_chosen_output_is_a_classifier_with_top1_and_is_remembered(tmp_path: Path) -> None:
    model, x = branches("dict"), images(3)
    more: dict[str, Any] = {"model": {"output": "out"}, "save_to": tmp_path / "run"}
    result = mrecg.quantize(model, images(), evaluation=labelled(), **QUICK, **more)
    assert result.model(x).shape == (3, 10)
    assert result.summary["quantized"]["top1"] is not None
    assert "output_error" not in result.summary
    assert_same(mrecg.load(tmp_path / "run", model=model).model(x), result.model(x))


def test_the_chosen_output_makes_another_run(tmp_path: Path) -> None:
    values: list[Any] = [{"output": "out"}, {"output": "aux"}, {}]
    configs = [run_config({"model": {"source": "python", "name": "net", **one}}) for one in values]
    assert len({identity_of(config) for config in configs}) == 3
    assert differences(configs[2], configs[0]) == ["model.output: nothing there, out here"]


def test_a_network_without_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Sharpen().eval()
    result = quantize(model, evaluation=labelled(), save_to=tmp_path / "run")
    assert 0 < result.summary["output_error"]["output"] < 0.05
    assert "no accuracy is counted, but the relative error of the output" in result.summary["notes"][-1]
    with pytest.raises(DataError, match=r"the model gives \(12, 3, 32, 32\), and accuracy is counted"):
        mrecg.evaluate(result.model, labelled())


def test_accuracy_of_several_outputs_names_them() -> None:
    with pytest.raises(DataError, match=r"gives out \(12, 10\), aux .*choose one output by model.output"):
        mrecg.evaluate(branches("dict"), labelled())
    only = Branches(lambda **v: {"logits": v["logits"]}).eval()
    assert mrecg.evaluate(only, labelled()).images == 12


@pytest.mark.parametrize(
    ("more", "form", "said"),
    [
        ({"method": {"name": "pd_quant"}}, "heads", r"method=pd_quant .* 0 \(1, 10\), 1 \(1, 5\); choose"),
        ({"method": {"name": "brecq", "loss": "fisher_diag"}}, "pyramid", "method.loss=fisher_diag compares"),
        ({"planner": {"name": "pack"}}, "heads", "planner=pack compares class probabilities"),
    ],
)
def test_what_needs_class_scores_is_refused_before_work(
    more: dict[str, Any], form: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(pipeline, "calibrate", refuse)
    with pytest.raises(ConfigError, match=said):
        quantize(branches(form), **more)


def test_predictions_are_those_of_the_only_output_with_class_scores() -> None:
    result = quantize(branches("dict"), method={"name": "pd_quant"}, finish={"name": "none"})
    assert list(result.model(images(2))) == ["out", "aux"]


@pytest.mark.slow
def test_two_processes_do_what_one_does() -> None:
    one, two = (
        quantize(branches("dict"), trainer={"batch_size": 4, "devices": devices, "device": "cpu"})
        for devices in (1, 2)
    )
    for name, value in one.model(images(3)).items():
        torch.testing.assert_close(two.model(images(3))[name], value, rtol=0.05, atol=0.05)


def test_exported_files_have_all_outputs_by_name(tmp_path: Path) -> None:
    x = images()
    result = quantize(branches("dict"), finish={"name": "none"})
    for suffix in ("onnx", "pt2", "safetensors"):
        found = mrecg.export(result, tmp_path / f"net.{suffix}", images=x, labels=torch.zeros(12).long())
        assert all(agreement.images == 12 and agreement.labels == 0 for agreement in found.agreements)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert [output.name for output in session.get_outputs()] == ["out", "aux"]
    program = torch.export.load(tmp_path / "net.pt2").module()(x)
    for name, value in result.model(x).items():
        (of_file,) = session.run([name], {"image": x.numpy()})
        assert float((torch.from_numpy(of_file) - value).abs().max()) < 0.1 * float(value.abs().max())
        torch.testing.assert_close(program[name], value, rtol=0.1, atol=0.1 * float(value.abs().max()))


def test_a_class_of_the_users_becomes_a_dict_in_a_program(tmp_path: Path) -> None:
    x = images()
    result = quantize(branches("classed"), finish={"name": "none"})
    mrecg.export(result, tmp_path / "net.pt2", images=x)
    assert list(torch.export.load(tmp_path / "net.pt2").module()(x)) == ["logits", "aux"]


@pytest.mark.parametrize("form", ["constant", "twice", "indices"])
def test_odd_outputs_are_exported(form: str, tmp_path: Path) -> None:
    result = quantize(branches(form), finish={"name": "none"})
    assert mrecg.export(result, tmp_path / "net.onnx", images=images()).agreements[0].images == 12


def test_a_file_with_another_second_output_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check looks at every output, each against its own largest value."""
    from mrecg.formats import subjects

    run: Callable[..., Any] = subjects.TorchSubject.logits

    def wrong(self: Any, x: Tensor) -> Any:
        found = dict(run(self, x))
        return found | {"aux": found["aux"] * 1.01}

    monkeypatch.setattr(subjects.TorchSubject, "logits", wrong)
    result = quantize(branches("dict"), finish={"name": "none"})
    with pytest.raises(ExportError, match="has other logits though every grid gives the same"):
        mrecg.export(result, tmp_path / "net.pt2", images=images())
    assert not (tmp_path / "net.pt2").exists()
