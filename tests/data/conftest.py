from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mrecg.config.inputs import DataConfig
from mrecg.config.schema import RunConfig
from mrecg.data.images import Images, load
from mrecg.data.preprocessing import Preprocessing

Load = Callable[..., Images]


@pytest.fixture
def config(tiny_config: Callable[..., RunConfig]) -> DataConfig:
    """The 16 x 16 pictures: 12 of 18 for calibration, classes b and c of a, b, c for evaluation."""
    return tiny_config().data


@pytest.fixture
def preprocessing() -> Preprocessing:
    """16 x 16 pixels in colour, a mean and deviation a channel."""
    return Preprocessing(input_shape=(3, 16, 16), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture
def images(config: DataConfig, preprocessing: Preprocessing) -> Load:
    """Load with some keys of the data group, or of the preprocessing, changed."""

    def make(base: DataConfig = config, *, wants: dict[str, Any] | None = None, **changes: Any) -> Images:
        return load(replace(base, **changes), preprocessing=replace(preprocessing, **(wants or {})))

    return make
