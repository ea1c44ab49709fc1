import math

import pytest

from mrecg.errors import ConfigError
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.planner.capacity import (
    comparable,
    differences,
    falls,
    log_ratios,
    module_capacity,
    rises,
    squared_differences,
)


def layer(
    name: str = "a", *, weights: int = 10, stride: int = 1, kind: str = "dense", kernel: int = 3
) -> LayerFacts:
    return LayerFacts(name=name, weights=weights, stride=stride, kernel=(kernel, kernel), kind=kind)


def unit(*layers: LayerFacts, residual: bool = False) -> UnitFacts:
    return UnitFacts(name="u", layers=layers, residual=residual)


def test_module_capacity_by_hand() -> None:
    facts = unit(layer("a", weights=100), layer("b", weights=50, stride=2), layer("c", weights=7))
    bits = {"a": 2, "b": 4}  # c is not quantized
    assert module_capacity(facts, bits) == pytest.approx(100 * 2 + 50 * 4 * 1.6 + 7 * 32)
    assert module_capacity(facts, bits, stride_factor=1.0) == 100 * 2 + 50 * 4 + 7 * 32
    assert module_capacity(facts, bits, stride_factor=3.0) == 100 * 2 + 50 * 4 * 3 + 7 * 32


def test_differences_of_neighbours() -> None:
    capacities = [4.0, 1.0, 3.0, 3.0]
    assert squared_differences(capacities) == [9, 4, 0]
    assert log_ratios(capacities) == pytest.approx([math.log(4), math.log(3), 0])
    assert rises(capacities) == [0, 2, 0]
    assert falls(capacities) == [9, 0, 0]
    assert squared_differences([5.0]) == log_ratios([5.0]) == rises([5.0]) == []


def test_differences_by_name() -> None:
    assert differences("squared", [1.0, 3.0]) == [4]
    assert differences("log_ratio", [2.0, 1.0]) == pytest.approx([math.log(2)])
    assert differences("rise", [1.0, 3.0]) == [2]
    with pytest.raises(
        ConfigError, match=r"'square' is not a choice .*'squared'.*squared, log_ratio, fall, rise"
    ):
        differences("square", [1.0])


def test_comparable_units_differ_in_width_and_kernel_only() -> None:
    assert comparable(unit(layer(weights=9, kernel=1)), unit(layer("b", weights=900, kernel=5))) == ""
    assert comparable(unit(layer()), unit(layer(), layer())) == "number of layers"
    assert comparable(unit(layer()), unit(layer(stride=2))) == "stride"
    assert comparable(unit(layer()), unit(layer(kind="depthwise"))) == "kind of layer"
    assert comparable(unit(layer()), unit(layer(), residual=True)) == "shortcut"
