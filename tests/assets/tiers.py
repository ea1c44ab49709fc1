"""What stays in the fast tier where a test takes many values, each for seconds."""

from collections.abc import Iterable
from typing import Any

import pytest


def first_fast(values: Iterable[Any], *, keep: int = 1) -> list[Any]:
    """Mark all values but the first as slow.

    Args:
        values: Of one parameter, or tuples of several.
        keep: How many stay in the fast tier.

    Returns:
        Parameters for ``pytest.mark.parametrize``.
    """
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=[pytest.mark.slow] * (i >= keep)
        )
        for i, value in enumerate(values)
    ]
