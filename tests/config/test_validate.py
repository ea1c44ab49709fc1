from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import pytest

from mrecg.config.keys import keys_of, unknown_key
from mrecg.config.schema import BitsConfig, RunConfig
from mrecg.config.validate import existing, imported, plain, run_config
from mrecg.errors import ConfigError, MrecgError, one_of
from mrecg.methods.brecq import Brecq
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import METHODS

WRONG: list[tuple[dict[str, Any], str]] = [
    # Unknown keys, with the nearest one and the siblings.
    (
        {"bits": {"weigth": 3}},
        r"^bits\.weigth: unknown key \(did you mean bits\.weight\?\); bits has weight, activa",
    ),
    ({"bit": {}}, r"^bit: unknown key \(did you mean bits\?\); the top level has model, data, bits"),
    (
        {"method": {"name": "qdrop", "lr": 3}},
        r"^method\.lr: unknown key \(did you mean method\.lr_rounding",
    ),
    ({"trainer": {"zzz": 1}}, r"^trainer\.zzz: unknown key; trainer has steps, lr_factor, steps_per"),
    # Wrong types.
    (
        {"trainer": {"steps": "many"}},
        r"^trainer\.steps: 'many' is not right: input should be a valid integer",
    ),
    (
        {"trainer": {"steps": {"a": 1}}},
        r"^trainer\.steps: \{'a': 1\} is not right: input should be a valid integer",
    ),
    ({"bits": 3}, r"^bits: 3 is not right: input should be a dictionary"),
    ({"model": {"input_shape": [3, 32]}}, r"^model\.input_shape\.2: .*field required"),
    ({"granularity": {"name": "fixed", "groups": [["a", 3]]}}, r"^granularity\.groups\.0\.1: 3 is not right"),
    # Out of range.
    (
        {"trainer": {"steps": 0}},
        r"^trainer\.steps: 0 is not right: input should be greater than or equal to 1",
    ),
    ({"bits": {"weight": 1}}, r"^bits\.weight: 1 is not right: .*greater than or equal to 2"),
    (
        {"bits": {"activation": 16}},
        r"^bits\.activation: 16 is not right: must be 2 to 8, or 32 for not quantized",
    ),
    ({"seed": -1}, r"^seed: -1 is not right"),
    ({"cache": {"budget_mb": -1}}, r"^cache\.budget_mb: -1 is not right: .*greater than or equal to 0"),
    (
        {"trainer": {"device": "gpu"}},
        r"^trainer\.device: 'gpu' is not right: choose from auto, cpu, cuda, cuda:N",
    ),
    # Names that are no choice.
    (
        {"planner": {"name": "los"}},
        r"^planner\.name: 'los' is not a choice \(did you mean 'loss'\?\); .*modcap, loss, ",
    ),
    ({"cache": {"dtype": "int8"}}, r"^cache\.dtype: 'int8' is not a choice.*float32, bfloat16, uint8-exact$"),
    ({"bits": {"stem_output": "mid"}}, r"^bits\.stem_output: 'mid' is not .*choose from low, high, 8$"),
    (
        {"data": {"resize": "small"}},
        r"^data\.resize: 'small' is not right: wants a valid integer, .*, or model or none$",
    ),
    (
        {"data": {"resize": 0}},
        r"^data\.resize: 0 is not right: wants a number greater than or equal to 1, or model or none$",
    ),
    ({"data": {"seed": 2**40}}, r"^data\.seed: 1099511627776 is not right: .*less than 2147483648"),
    ({"granularity": {"name": "stages"}}, r"^granularity\.name: .*mixed, fixed, stage, network$"),
    # Methods.
    (
        {"method": {"name": "qdorp"}},
        r"^method\.name: 'qdorp' .*mean 'qdrop'.*rtn, closed_form, adaround, .*qdrop, pd_quant, genie_m$",
    ),
    ({"method": {"lr_rounding": 0.1}}, r"^method\.name: is missing; choose from rtn, closed_form, adaround"),
    (
        {"method": {"name": "qdrop", "learn_rounding": False}},
        r"^method\.learn_rounding: without it the weights have nothing to learn; set method\.learn_biases or",
    ),
    (
        {"method": {"name": "adaround", "settle_steps": 1}},
        r"^method\.settle_steps: nothing is left to learn once the rounding is fixed; set method\.learn",
    ),
    (
        {"method": {"name": "qdrop", "settle_steps": 1, "learn_rounding": False, "learn_biases": True}},
        r"^method\.settle_steps: with learn_rounding=false all steps are of this kind; raise trainer\.steps",
    ),
    ({"method": {"name": "rtn", "lr_rounding": 0.1}}, r"^method\.lr_rounding: unknown key; method has name$"),
    (
        {"method": {"name": "adaround", "keep_probability": 0.5}},
        r"^method\.keep_probability: unknown key.*method has name, learn_rounding, .*beta_decay, .*loss$",
    ),
    ({"method": {"name": "qdrop", "keep_probability": 2}}, r"^method\.keep_probability: 2 is not right"),
    (
        {"method": {"name": "brecq", "beta_decay": "exp"}},
        r"^method\.beta_decay: 'exp' is not a choice.*linear, cosine$",
    ),
    # Rules across fields: the key first, and the value that asks for it.
    ({"model": {"source": "target"}}, r"^model\.target\b.*model\.source=target"),
    ({"model": {"target": "a.b"}}, r"^model\.target\b.*model\.source=target"),
    ({"model": {"weights": "DEFAULT"}}, r"^model\.weights\b.*model\.source=torchvision"),
    (
        {"model": {"source": "torchvision", "weights": "DEFAULT", "checkpoint": "x.pt"}},
        r"^model\.weights\b.*model\.checkpoint",
    ),
    ({"data": {"source": "cifar10"}}, r"^data\.calibration_path\b.*data\.source=cifar10"),
    ({"granularity": {"name": "fixed"}}, r"^granularity\.groups\b.*granularity=fixed"),
    ({"granularity": {"name": "mixed", "groups": [["a"]]}}, r"^granularity\.groups\b.*granularity=fixed"),
    # Several at once: the first, and how many more.
    ({"bits": {"weight": 1, "activation": 1}}, r"^bits\.weight: .* \(and 1 more\)$"),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=lambda value: str(value)[:50])
def test_an_error_is_one_line_with_key_value_and_choices(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        run_config(values)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_defaults_need_no_values() -> None:
    config = run_config({})
    assert config == RunConfig()
    assert config.method == QDrop() and config.planner.name == "safe" and config.bits == BitsConfig()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_chosen_by_its_name(name: str) -> None:
    assert type(run_config({"method": {"name": name}}).method) is METHODS.get(name).settings
    assert plain(METHODS.get(name).settings())["name"] == name


def test_numbers_may_come_as_text() -> None:
    # YAML reads 1e-3 as text.
    method = run_config({"method": {"name": "brecq", "lr_scale": "4e-4"}}).method
    assert isinstance(method, Brecq) and method.lr_scale == 4e-4


def test_the_configuration_is_frozen() -> None:
    config = run_config({})
    for owner, key in ((config, "seed"), (config.bits, "weight"), (config.method, "lr_rounding")):
        with pytest.raises(FrozenInstanceError):
            setattr(owner, key, 1)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"method": {"name": "brecq", "regulariser": 0.1, "beta_decay": "cosine"}, "seed": 3},
        {
            "model": {
                "source": "target",
                "target": "a.b",
                "arguments": {"depth": 3, "x": [1, 2]},
                "input_shape": [3, 8, 8],
                "checkpoint": "a.pth",
                "rename": {"^a": "b"},
                "preprocessing": {"mean": [0.5], "interpolation": "bicubic"},
            },
            "data": {"source": "image_folder", "calibration_path": "some/where", "resize": 8},
            "granularity": {"name": "fixed", "groups": [["a", "b"], ["c", "d"]]},
            "bits": {"boundary": None, "weight": 32},
            "run": "outputs/x",
        },
    ],
)
def test_plain_round_trips(values: dict[str, Any]) -> None:
    config = run_config(values)
    flat = plain(config)
    assert run_config(flat) == config
    assert _is_plain(flat) and list(flat) == list(asdict(config))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    return (
        all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, str | int | float | None)
    )


def test_plain_takes_a_group() -> None:
    assert plain(BitsConfig(weight=3))["weight"] == 3


def test_keys_of() -> None:
    assert keys_of(["bits"]) == list(plain(BitsConfig()))
    assert keys_of(["method"], "rtn") == ["name"]
    assert keys_of(["nothing"]) == keys_of(["bits", "weight"]) == []


def test_imported() -> None:
    assert imported("pathlib.Path") is Path
    for wrong in ("nothing.here", "pathlib.Nothing", "Path", "pathlib.", "..x", ""):
        with pytest.raises(ConfigError, match="cannot be imported") as error:
            imported(wrong)
        assert "\n" not in str(error.value)


def test_existing(tmp_path: Path) -> None:
    assert existing(tmp_path, "model.checkpoint") == tmp_path
    with pytest.raises(ConfigError, match=r"^model\.checkpoint: .*nowhere does not exist$"):
        existing(tmp_path / "nowhere", "model.checkpoint")


def test_one_of_makes_the_error_it_is_asked_for() -> None:
    class SpecialError(MrecgError):
        pass

    error = one_of("key", 3, (1, 2), error=SpecialError)
    assert isinstance(error, SpecialError) and str(error) == "key: 3 is not a choice; choose from 1, 2"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("weight_bits", "bits.weight"),
        ("weights_bits", "bits.weight"),
        ("device", "trainer.device or cache.device"),
        ("batch_size", "data.batch_size or trainer.batch_size or finish.batch_size"),
        ("calibration_images", "data.calibration_images"),
        ("seeds", "seed"),
        ("bits.weigth", "bits.weight"),
        ("bits.steps", "trainer.steps or finish.steps"),
    ],
)
def test_a_key_of_another_group_is_found(key: str, meant: str) -> None:
    assert f"{key}: unknown key (did you mean {meant}?)" in unknown_key(key)


def test_a_word_that_is_near_to_no_key_gets_no_guess() -> None:
    assert "did you mean" not in unknown_key("epochs")
