"""Names of folders reach Hydra as they are."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mrecg.config.grammar import hydra_quoted, in_order, literal
from mrecg.errors import ConfigError

PARTS = ["\\", "'", '"', "${", "}", "$", "{", " ", ",", "=", "é", "\n", "[", ":", "-", "x", "${oc.env:HOME}"]


@given(name=st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
@example(name="it's")
@example(name="a\\${b}\\'")
def test_a_name_is_read_back(name: str) -> None:
    value = OverridesParser.create().parse_override(f"key={hydra_quoted(name)}").value()
    for text in (value, literal(name)):
        tree = OmegaConf.create({"key": text, "b": "resolved"})
        assert OmegaConf.to_container(tree, resolve=True) == {"key": name, "b": "resolved"}


def test_flags_come_first_wherever_they_were_typed(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = str(tmp_path_factory.mktemp("conf"))
    assert in_order(["seed=1", "-cd", place, "bits=w2a4", "-m"], "name=x") == [
        *("-cd", place, "-m", "seed=1", "bits=w2a4", "name=x")
    ]
    with pytest.raises(ConfigError, match=r"^--config-dir: /nowhere is no folder; give one"):
        in_order(["-cd", "/nowhere"])
    with pytest.raises(ConfigError, match="--nothing"):
        in_order(["--nothing"])


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("hydra.run.dir=it's", r"hydra.run.dir='it\'s'"),
        ("hydra.run.dir=a,b", "hydra.run.dir='a,b'"),
        ("hydra.sweep.dir=[a]", "hydra.sweep.dir='[a]'"),
        ("hydra.run.dir=a=b", "hydra.run.dir='a=b'"),
        ("run=a,b", "run=a,b"),  # evaluate -m measures both
        ("run=it's", r"run='it\'s'"),
        ("hydra.run.dir='a b'", "hydra.run.dir='a b'"),
        ("hydra.run.dir=runs/${name}", "hydra.run.dir=runs/${name}"),
        ("hydra.run.dir=/a b/c", "hydra.run.dir=/a b/c"),
        ("data.calibration_path=/home/ann/it's", r"data.calibration_path='/home/ann/it\'s'"),
        ("name=it's", "name=it's"),
    ],
)
def test_a_folder_may_be_typed_as_it_is_called(word: str, becomes: str) -> None:
    assert in_order([word]) == [becomes]


@pytest.mark.parametrize(
    ("typed", "layers"),
    [
        ("{kind:depthwise: 8, features.0: 4}", {"kind:depthwise": 8, "features.0": 4}),
        (r"{kind\:depthwise: 8}", {"kind:depthwise": 8}),
        ("{'features.0': 8, \"*.conv\": 3}", {"features.0": 8, "*.conv": 3}),
        ("{features.[12].*: 4}", {"features.[12].*": 4}),
        ("{}", {}),
    ],
)
def test_patterns_are_typed_as_they_are(typed: str, layers: dict[str, int]) -> None:
    for key in ("bits.layers", "bits.activations"):
        (word,) = in_order([f"{key}={typed}"])
        assert OverridesParser.create().parse_override(word).value() == layers
    (word,) = in_order([f"bits.layers={typed},{{a: 2}}"])
    assert OverridesParser.create().parse_override(word).is_sweep_override()
