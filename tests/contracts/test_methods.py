"""What every method must do; a new one is in here by its place in the registry."""

from collections.abc import Callable
from importlib import import_module

import pytest

from mrecg.methods import METHODS, LearnedRounding, passes_of
from mrecg.testing import METHOD_CHECKS


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_method(name: str, check: Callable[[str], None]) -> None:
    check(name)


@pytest.mark.parametrize("name", list(METHODS))
def test_it_has_a_file_of_its_name(name: str) -> None:
    assert import_module(f"mrecg.methods.{name}").__doc__


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize(("depthwise", "usual"), [(True, 0.1), (False, 0.01)])
def test_its_regulariser_is_the_published_one(name: str, depthwise: bool, usual: float) -> None:
    settings = METHODS.get(name).settings
    if issubclass(settings, LearnedRounding):
        roundings = [found.rounding for found in passes_of(settings(), depthwise=depthwise) if found.rounding]
        expected = 1.0 if name == "genie_m" else usual  # as its paper has it, for all networks
        assert [rounding.regulariser for rounding in roundings] == [expected]
