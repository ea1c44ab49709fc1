"""Names that people know."""

import pytest

from mrecg.methods.registry import METHODS
from mrecg.runs.names import METHOD_NAMES, can_merge, known_as, short_name


def test_every_method_of_the_package_has_a_name() -> None:
    assert set(METHODS.names()) - set(METHODS.others()) == set(METHOD_NAMES)


@pytest.mark.parametrize("method", ["brecq", "brecq_joint", "qdrop", "adaround", "pd_quant", "genie_m"])
@pytest.mark.parametrize("granularity", ["mixed", "fixed"])
def test_merging_is_what_makes_it_mrecg(method: str, granularity: str) -> None:
    alone = known_as(method, "block", merged=False)
    assert known_as(method, granularity, merged=True) == f"MRECG + {alone}"
    assert known_as(method, granularity, merged=False) == alone  # a plan without merges is block-wise


@pytest.mark.parametrize("method", ["rtn", "closed_form"])
@pytest.mark.parametrize("granularity", ["block", "mixed", "fixed", "stage", "network"])
def test_what_optimises_no_group_is_not_merged(method: str, granularity: str) -> None:
    assert known_as(method, granularity, merged=True) == METHOD_NAMES[method]


def test_which_methods_can_merge() -> None:
    assert [method for method in METHOD_NAMES if not can_merge(method)] == ["rtn", "closed_form"]
    assert can_merge("mine")


def test_other_granularities_are_not_mrecg() -> None:
    assert known_as("brecq", "stage", merged=True) == "BRECQ by stage"
    assert known_as("brecq", "network", merged=True) == "BRECQ, whole network"
    assert known_as("brecq", "stage", merged=False) == "BRECQ"
    assert known_as("adaround", "layer", merged=False) == "AdaRound by layer"


def test_another_packages_method_keeps_its_name() -> None:
    assert known_as("mine", "mixed", merged=True) == "MRECG + mine"


def test_a_short_name_has_what_tells_runs_apart() -> None:
    assert short_name("QDrop", widths="W3A3", seed=7) == "QDrop W3A3 s7"
    assert short_name("QDrop", widths="W3A32", seed=7, differs="x") == "QDrop, x W3A32 s7"
