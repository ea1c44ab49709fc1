"""What every criterion of the planner must do; a new one is in here by its place in the registry."""

from collections.abc import Callable

import pytest

from mrecg.registry import CRITERIA
from mrecg.testing import CRITERION_CHECKS


@pytest.mark.parametrize("name", list(CRITERIA))
@pytest.mark.parametrize("check", CRITERION_CHECKS, ids=lambda check: check.__name__)
def test_criterion(name: str, check: Callable[[str], None]) -> None:
    check(name)
