"""Scales and ticks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrecg.report import svg

values = st.floats(min_value=1e-9, max_value=1e12)


@given(st.lists(values, min_size=1, max_size=30), st.booleans())
def test_every_value_lies_between_the_ends_and_larger_is_higher(numbers, log):
    scale = svg.fit(numbers, start=300.0, end=10.0, log=log)
    pixels = [scale(v) for v in sorted(numbers)]
    assert all(10 - 1e-6 <= y <= 300 + 1e-6 for y in pixels)
    assert pixels == sorted(pixels, reverse=True)


@given(st.lists(values, min_size=1, max_size=30), st.booleans())
def test_ticks_lie_on_the_scale_and_are_few(numbers, log):
    scale = svg.fit(numbers, start=300.0, end=10.0, log=log)
    assert scale.ticks == sorted(scale.ticks)
    assert all(scale.low * (1 - 1e-9) <= tick <= scale.high * (1 + 1e-9) for tick in scale.ticks)
    assert len(scale.ticks) <= 24


def test_what_has_no_place_has_none():
    scale = svg.fit([1.0, 10.0], start=0.0, end=1.0, log=True)
    assert scale(0.0) is None
    assert scale(math.nan) is None


@pytest.mark.parametrize("log", [True, False])
def test_nothing_to_show_still_has_a_scale(log):
    scale = svg.fit([math.nan], start=100.0, end=0.0, log=log)
    assert scale(1.0) == pytest.approx(0.0)


def test_a_gap_interrupts_a_path():
    assert svg.path([(0.0, 1.0), None, (2.0, 3.0), (4.0, 5.5)], "x") == '<path class="x" d="M0 1M2 3L4 5.5"/>'
    assert svg.path([None], "x") == ""


def test_text_and_attributes_are_escaped():
    assert svg.text(0, 0, "<a&b>", class_='"') == '<text x="0" y="0" class="&quot;">&lt;a&amp;b&gt;</text>'
