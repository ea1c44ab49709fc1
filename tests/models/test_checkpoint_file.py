import argparse
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrecg.errors import CheckpointError
from mrecg.models import checkpoint_file

Save = Callable[..., Path]
A, B = {"w": torch.ones(2)}, {"w": torch.zeros(3)}


@pytest.mark.parametrize(
    ("content", "key", "expected", "place"),
    [
        (A, None, A, None),
        (OrderedDict(A), None, A, None),
        ({"epoch": 3, "state_dict": A, "optimizer": B}, None, A, "state_dict"),
        ({"model": {"epoch": 3, "net": A}}, None, A, "model.net"),
        ({"model": A, "model_ema": B}, "model_ema", B, "model_ema"),
        ({"model": {"state_dict": A, "ema": B}}, "model.ema", B, "model.ema"),
        ({"model": {"state_dict": A}, "ema": B}, "model", A, "model.state_dict"),
        ({"epoch": 3, "mine": {"best": A}}, "mine.best", A, "mine.best"),
        ({"my.best": A, "epoch": 3}, "my.best", A, "my.best"),
        ({"epoch": 3, "optimizer": B}, "optimizer", B, "optimizer"),
    ],
)
def test_the_state_dict_is_found(content: Any, key: str | None, expected: Any, place: str | None) -> None:
    found, where = checkpoint_file.locate(content, key, "a.pth")
    assert found["w"] is expected["w"] and where == place


@pytest.mark.parametrize("holder", checkpoint_file.HOLDERS)
def test_every_known_holder_is_looked_into(holder: str) -> None:
    assert checkpoint_file.locate({holder: A, "epoch": 3}, None, "a.pth") == (A, holder)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"model": A, "model_ema": B}, None,
         "model.checkpoint: a.pth holds several state dicts: choose one by model.checkpoint_key from "
         "model, model_ema"),
        ({"model": {"net": A, "ema": B}}, None,
         "model.checkpoint: a.pth holds several state dicts: choose one by model.checkpoint_key from "
         "model.net, model.ema"),
        ({"model": {"net": A, "ema": B}}, "model",
         "model.checkpoint: a.pth holds several state dicts: choose one by model.checkpoint_key from "
         "model.net, model.ema"),
        ({"model": A, "mine": B, "epoch": 3}, "modle",
         "model.checkpoint_key: 'modle' is not a choice (did you mean 'model'?); choose from model, mine"),
        ({"model": A, "epoch": 3}, "epoch", "model.checkpoint_key: 'epoch' is not a choice; "
         "choose from model"),
        ({"epoch": 3}, "model", "model.checkpoint_key: 'model' is not a choice; choose from nothing"),
        (A, "model",
         "model.checkpoint_key: model is not in a.pth, whose tensors are at the top; leave it null"),
        ({"epoch": 3, "best": A}, None,
         "model.checkpoint: a.pth holds no state dict; looked for it at the top, "
         f"{', '.join(checkpoint_file.HOLDERS)}; "
         "found epoch, best; model.checkpoint_key names another place"),
        ([1, 2], None,
         "model.checkpoint: a.pth holds no state dict; looked for it at the top, "
         f"{', '.join(checkpoint_file.HOLDERS)}; found list; model.checkpoint_key names another place"),
        ({}, None,
         "model.checkpoint: a.pth holds no state dict; looked for it at the top, "
         f"{', '.join(checkpoint_file.HOLDERS)}; found dict; model.checkpoint_key names another place"),
    ],
)  # fmt: skip
def test_what_is_not_found_is_an_error(content: Any, key: str | None, message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        checkpoint_file.locate(content, key, "a.pth")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("names", "own", "expected"),
    [
        (["a", "b.c"], ["a", "b.c"], ["a", "b.c"]),
        (["module.a", "module.b.c"], ["a", "b.c"], ["a", "b.c"]),
        (["_orig_mod.a"], ["a"], ["a"]),
        (["_orig_mod.module.b", "module._orig_mod.a"], ["a", "b"], ["b", "a"]),
        (["a.module.b", "module.a.module.c"], ["x"], ["a.module.b", "a.module.c"]),
        (["module.a", "_orig_mod.module.b"], ["module.a", "module.b"], ["module.a", "module.b"]),
        (["modules.a"], ["a"], ["modules.a"]),
    ],
)
def test_prefixes_of_wrappers_are_dropped(names: list[str], own: list[str], expected: list[str]) -> None:
    values = [torch.tensor(float(i)) for i in range(len(names))]
    given = dict(zip(names, values, strict=True))
    found = checkpoint_file.unwrapped(given, dict.fromkeys(own, values[0]), "a.pth")
    assert list(found) == expected
    assert all(value is other for value, other in zip(found.values(), values, strict=True))


def test_two_names_that_become_one_are_an_error() -> None:
    tensors = {"a": torch.ones(1), "module.a": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"^model\.checkpoint: a\.pth holds a twice, with and without"):
        checkpoint_file.unwrapped(tensors, {"b": torch.ones(1)}, "a.pth")


class Code:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(("function", "named"), [(os.mkdir, "mkdir"), (os.system, "system"), (eval, "eval")])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_named_and_not_run(
    function: Any, named: str, zipped: bool, state: dict[str, Tensor], tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    argument = {"mkdir": f"{proof}", "system": f"touch {proof}", "eval": f"open('{proof}', 'w')"}[named]
    path = tmp_path / "weights.pth"
    content = {"state_dict": state, "more": Code(function, argument)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=rf"without running its code: it needs (\w+\.)?{named}; where"):
        checkpoint_file.read(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("more", "named"), [(argparse.Namespace(lr=1), "argparse.Namespace"), (nn.ReLU(), "torch.nn.modules.")]
)
def test_a_file_with_objects_is_refused_with_the_reason(
    more: Any, named: str, state: dict[str, Tensor], saved: Save
) -> None:
    with pytest.raises(CheckpointError) as error:
        checkpoint_file.read(saved({"model": state, "args": more}))
    assert f"it needs {named}" in str(error.value) and "save its state dict alone" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""),
        ("text.pth", b"hello"),
        ("page.pth", b"<!DOCTYPE html><html>404</html>"),
        ("binary.pt", bytes(range(256))),
        ("empty.safetensors", b""),
        ("text.safetensors", b"hello" * 9),
    ],
)
def test_what_is_no_checkpoint_is_an_error(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^model\.checkpoint: .*{name} cannot be loaded: ") as error:
        checkpoint_file.read(path)
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_breaks_off_is_an_error(
    zipped: bool, part: float, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError, match=r"^model\.checkpoint: .*weights\.pth cannot be loaded: "):
        checkpoint_file.read(path)


def test_an_archive_on_several_disks_is_an_error(tmp_path: Path) -> None:
    """What fuzzing has found: Python's zipfile raises where it only asks whether it is one."""
    path = tmp_path / "w.pth"
    path.write_bytes(b"PK\x06\x07" + bytes(12) + (2).to_bytes(4, "little") + b"PK\x05\x06" + bytes(18))
    with pytest.raises(CheckpointError, match=r"its archive is damaged: .*multiple disks"):
        checkpoint_file.read(path)
