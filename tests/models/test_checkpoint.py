from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_net
import torch
from safetensors.torch import save_file
from torch import Tensor

from mrecg.config.inputs import ModelConfig
from mrecg.config.validate import run_config
from mrecg.errors import CheckpointError, ConfigError
from mrecg.models.build import Built, build
from mrecg.models.checkpoint import load_checkpoint
from mrecg.models.checkpoint_file import HOLDERS
from mrecg.models.fetch import digest

State = dict[str, Tensor]
Save = Callable[..., Path]
Tiny = Callable[..., ModelConfig]
Load = Callable[..., Built]


@pytest.fixture
def load(tiny_model: Tiny) -> Load:
    """Build the tiny network with a checkpoint."""
    return lambda path, **values: build(tiny_model(checkpoint=path, **values), seed=0)


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def loaded(state: State) -> State:
    """The tensors that inference depends on."""
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def numbered(state: State) -> State:
    """The same in order, with other names; the modules that one has are still apart."""
    return {
        f"m{place:02d}.{name.rpartition('.')[2]}": value for place, (name, value) in enumerate(state.items())
    }


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".pth.tar"])
@pytest.mark.parametrize("holder", [None, *HOLDERS])
def test_every_layout_of_a_file_is_loaded(
    suffix: str, holder: str | None, state: State, saved: Save, load: Load
) -> None:
    path = saved({holder: state, "epoch": 3} if holder else state, f"weights{suffix}")
    built = load(path)
    assert same(built.model.state_dict(), state) and not built.model.training
    assert built.weights.key == holder and built.weights.origin == str(path)
    assert built.weights.sha256 == digest(path) and built.weights.match == "name"


def test_safetensors_are_loaded(state: State, tmp_path: Path, load: Load) -> None:
    save_file(state, path := tmp_path / "weights.safetensors")
    assert same(load(path).model.state_dict(), state)


def test_files_of_old_torch_are_loaded(state: State, tmp_path: Path, load: Load) -> None:
    path = tmp_path / "weights.th"
    torch.save({"state_dict": loaded(state)}, path, _use_new_zipfile_serialization=False)
    found = load(path)
    assert same(loaded(found.model.state_dict()), loaded(state))
    assert found.weights.tensors == len(loaded(state)) == len(found.weights.mapping)


def test_counters_in_a_file_are_not_needed_and_not_taken(state: State, saved: Save, load: Load) -> None:
    counted = {
        name: value + 7 if name.endswith("num_batches_tracked") else value for name, value in state.items()
    }
    assert same(load(saved(counted)).model.state_dict(), state)
    assert same(load(saved(loaded(state))).model.state_dict(), state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_do_not_matter(prefix: str, state: State, saved: Save, load: Load) -> None:
    built = load(saved({"model": {f"{prefix}{name}": value for name, value in state.items()}}))
    assert same(built.model.state_dict(), state)
    assert built.weights.renamed == 0 and built.weights.note() is None


def test_half_precision_is_widened(state: State, saved: Save, load: Load) -> None:
    model = load(saved({name: value.half() for name, value in loaded(state).items()})).model
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert torch.equal(model.state_dict()["head.weight"], state["head.weight"].half().float())


def test_one_of_two_state_dicts_has_to_be_chosen(state: State, saved: Save, load: Load) -> None:
    path = saved({"model": {name: value + 1 for name, value in state.items()}, "model_ema": state})
    with pytest.raises(CheckpointError, match=r"several.* by model\.checkpoint_key from model, model_ema$"):
        load(path)
    built = load(path, checkpoint_key="model_ema")
    assert same(built.model.state_dict(), state) and built.weights.key == "model_ema"
    with pytest.raises(CheckpointError, match=r"^model\.checkpoint_key: 'ema' is not a choice"):
        load(path, checkpoint_key="ema")
    deep = load(saved({"models": {"best": state}, "epoch": 3}), checkpoint_key="models.best")
    assert same(deep.model.state_dict(), state) and deep.weights.key == "models.best"


def test_names_are_changed_before_they_are_matched(state: State, saved: Save, load: Load) -> None:
    other = {f"module.net.{name.replace('head.', 'fc.')}": value for name, value in state.items()}
    built = load(saved(other), rename={r"^net\.": "", r"^fc\.": "head."})
    assert same(built.model.state_dict(), state)
    mapping = built.weights.as_dict()["mapping"]
    assert mapping["net.fc.bias"] == "head.bias" and mapping["net.stem.0.weight"] == "stem.0.weight"
    assert list(mapping.values()) == list(loaded(state)) and built.weights.renamed == len(mapping)
    assert built.weights.note() == (
        f"weights: {len(mapping)} tensors by name, renamed, from {built.weights.origin} "
        "(net.stem.0.weight -> stem.0.weight, net.stem.0.bias -> stem.0.bias, "
        "net.stem.1.weight -> stem.1.weight, ...)"
    )


@pytest.mark.parametrize(
    ("rename", "error", "message"),
    [
        ({"backbone": ""}, CheckpointError, "is in no name of the file"),
        ({"conv1": "conv2"}, CheckpointError, "both become first.conv2.weight"),
        ({"[": ""}, ConfigError, "is not a regular expression"),
        ({"head": "fc"}, CheckpointError,
         r"2 missing \(first head\.bias\); 2 not the model's \(first fc\.bias\); .* fit in order"),
    ],
)  # fmt: skip
def test_a_wrong_change_of_names_is_an_error(
    rename: dict[str, str], error: type[Exception], message: str, state: State, saved: Save, load: Load
) -> None:
    with pytest.raises(error, match=message):
        load(saved(state), rename=rename)


def test_other_names_are_matched_by_order(state: State, saved: Save, load: Load) -> None:
    path = saved({"state_dict": numbered(state)})
    with pytest.raises(CheckpointError, match=r"fit in order: set model\.checkpoint_match=order$"):
        load(path)
    built = load(path, checkpoint_match="order")
    assert same(loaded(built.model.state_dict()), loaded(state))
    assert built.weights.match == "order" and built.weights.renamed == len(loaded(state))
    assert [own for _, own in built.weights.mapping] == list(loaded(state))
    assert built.weights.note() == (
        f"weights: {len(loaded(state))} tensors by order from {path} "
        "(m00.weight -> stem.0.weight, m01.bias -> stem.0.bias, m02.weight -> stem.1.weight, ...)"
    )


def test_in_order_a_weight_never_becomes_a_bias(state: State, saved: Save, load: Load) -> None:
    items = list(numbered(loaded(state)).items())
    place = next(i for i, (name, _) in enumerate(items) if name == "m02.weight")
    items[place], items[place + 1] = items[place + 1], items[place]
    with pytest.raises(CheckpointError) as error:
        load(path := saved(dict(items)), checkpoint_match="order")
    assert str(error.value) == (
        f"model.checkpoint: {path} does not fit the model in order: "
        "first difference: m03.bias of shape (4,) meets stem.1.weight of shape (4,)"
    )


def test_safetensors_have_no_order(state: State, tmp_path: Path, load: Load) -> None:
    save_file(numbered(state), path := tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match=r"^model\.checkpoint_match: order needs a file that keeps its"):
        load(path, checkpoint_match="order")
    with pytest.raises(
        CheckpointError, match=r"does not fit the model: .*not the model's \(first m00"
    ) as error:
        load(path)
    assert "checkpoint_match" not in str(error.value)


@pytest.mark.parametrize("how", ["name", "order"])
def test_another_number_of_classes_is_named(how: str, saved: Save, load: Load) -> None:
    path = saved(tiny_net.build(classes=7).state_dict())
    with pytest.raises(CheckpointError, match=r"7 outputs, the model's .*\{num_classes: 7\}'$"):
        load(path, checkpoint_match=how)


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_the_pinned_checksum_is_accepted(
    case: Callable[[str], str], state: State, saved: Save, load: Load
) -> None:
    path = saved(state)
    assert load(path, sha256=case(digest(path))).weights.sha256 == digest(path)


def test_another_checksum_than_the_pinned_is_an_error(state: State, saved: Save, load: Load) -> None:
    path = saved(state)
    with pytest.raises(CheckpointError) as error:
        load(path, sha256="AB" * 32)
    assert str(error.value) == f"model.sha256: {path} has {digest(path)}, not the pinned {'ab' * 32}"
    assert path.is_file()


def test_a_checkpoint_of_another_model_changes_nothing(state: State, saved: Save, tiny_model: Tiny) -> None:
    wrong = dict(state)
    del wrong["head.bias"]
    wrong["extra.a"] = wrong["extra.b"] = torch.zeros(1)
    wrong["head.weight"] = torch.zeros(3, 3)
    model = tiny_net.build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, tiny_model(checkpoint=(path := saved(wrong))))
    assert str(error.value) == (
        f"model.checkpoint: {path} does not fit the model: 1 missing (first head.bias); "
        "2 not the model's (first extra.a); 1 of another shape (first head.weight)"
    )
    assert same(model.state_dict(), before)


def test_the_embedded_model_takes_other_weights(tmp_path: Path) -> None:
    state = build(ModelConfig(), seed=0).model.state_dict()
    changed = {key: value + (not key.endswith("num_batches_tracked")) for key, value in state.items()}
    save_file(changed, path := tmp_path / "weights.safetensors")
    built = build(ModelConfig(checkpoint=str(path)), seed=0)
    assert same(loaded(built.model.state_dict()), loaded(changed)) and built.weights.origin == str(path)


@pytest.mark.parametrize(
    "values",
    [
        {"checkpoint_key": "model"},
        {"checkpoint_match": "order"},
        {"rename": {"a": "b"}},
        {"sha256": "0" * 64},
    ],
)
def test_settings_of_a_checkpoint_need_one(values: dict[str, Any]) -> None:
    (key,) = values
    with pytest.raises(ConfigError, match=rf"^model\.{key}: goes with model\.checkpoint only$"):
        run_config({"model": values})


HEAD = "head.weight"
UNUSUAL: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sparse": (Tensor.to_sparse, r"head\.weight is sparse \(sparse_coo\); give"),
    "csr": (Tensor.to_sparse_csr, r"head\.weight is sparse \(sparse_csr\); give"),
    "quantized": (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "is quantized already; give"),
    "meta": (lambda w: w.to("meta"), r"head\.weight has no values"),
    "complex": (lambda w: w.to(torch.complex64), "has complex numbers"),
    "int8": (lambda w: (100 * w).to(torch.int8), "holds int8, the model has float32; a network that is"),
    "int64": (lambda w: (100 * w).long(), r"head\.weight holds int64, the model has float32"),
    "uint16": (lambda w: w.abs().to(torch.uint16), r"head\.weight holds uint16, the model has float32"),
    "bool": (lambda w: w > 0, r"head\.weight holds bool, the model has float32"),
    "float8": (lambda w: w.to(torch.float8_e4m3fn), "holds float8_e4m3fn, whose scale is not in it"),
    "too large": (lambda w: w.double() * 1e300, r"holds \d+ values of \d+ that are NaN or inf"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_is_no_plain_weight_is_one_line(kind: str, state: State, saved: Save, load: Load) -> None:
    change, message = UNUSUAL[kind]
    path = saved({**state, HEAD: change(state[HEAD])})
    with pytest.raises(CheckpointError, match=rf"^model\.checkpoint: .*{message}") as error:
        load(path)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_a_negative_variance_is_named(state: State, saved: Save, load: Load) -> None:
    name = next(name for name in state if name.endswith("running_var"))
    path = saved({**state, name: -state[name]})
    with pytest.raises(
        CheckpointError, match=r"running_var holds \d+ values of \d+ below 0, and it is a variance"
    ):
        load(path)


@pytest.mark.parametrize("kind", ["itself", "tuples", "numbers", "long names", "long state"])
def test_a_message_does_not_grow_with_the_file(kind: str, saved: Save, load: Load) -> None:
    itself: dict[str, Any] = {"epoch": 1}
    itself["model"] = itself
    contents: dict[str, Any] = {
        "itself": itself,
        "tuples": {(i, "x" * 20): torch.zeros(1) for i in range(300)},
        "numbers": {i: torch.zeros(1) for i in range(5000)},
        "long names": {f"{i}" * 5000: 1 for i in range(9)},
        "long state": {f"{i}" * 5000: torch.zeros(1) for i in range(9)},
    }
    with pytest.raises(CheckpointError, match=r"^model\.checkpoint: ") as error:
        load(saved(contents[kind]))
    assert len(str(error.value).replace(str(saved({})), "")) < 420
