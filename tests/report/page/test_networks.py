"""Names of units at an axis: short, and never ambiguous."""

import pytest

from mrecg.report.page.networks import short_names


@pytest.mark.parametrize(
    ("names", "short", "left_out"),
    [
        (["features.0", "features.1", "classifier"], ["0", "1", "classifier"], "features."),
        (["stem", "blocks.0", "blocks.1.0", "blocks.1.1"], ["stem", "0", "1.0", "1.1"], "blocks."),
        (["net.body.0", "net.body.1", "net.head"], ["0", "1", "net.head"], "net.body."),
        (["layer1.0", "layer2.0", "layer3.0"], ["layer1.0", "layer2.0", "layer3.0"], ""),
        (["a.0", "a.1", "0"], ["a.0", "a.1", "0"], ""),  # two would be called 0
        (["conv", "fc"], ["conv", "fc"], ""),
        (["only"], ["only"], ""),
        ([], [], ""),
    ],
)
def test_what_most_units_share_is_left_out(names, short, left_out):
    assert short_names(names) == (short, left_out)
