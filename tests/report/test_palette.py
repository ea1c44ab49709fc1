"""Configurations that can be told apart, also by readers who see two of three colours and on grey prints."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from mrecg.report.compare import panels
from mrecg.report.palette import (
    COLOURS_DARK,
    COLOURS_LIGHT,
    DASHES,
    HUES,
    MARKERS,
    MAX_VARIANTS,
    colour_rule,
    looks,
    looks_by_panel,
    ramp,
)
from mrecg.runs.load import load_run

# How those see who lack a kind of cone, in linear light (Machado and others, 2009, full severity).
VISION = {
    "all cones": np.eye(3),
    "no long": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no medium": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "no short": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_CONES = [
    [0.4122215, 0.5363325, 0.0514460],
    [0.2119035, 0.6806995, 0.1073970],
    [0.0883025, 0.2817188, 0.6299787],
]
TO_LAB = [
    [0.2104543, 0.7936178, -0.0040720],
    [1.9779985, -2.4285922, 0.4505937],
    [0.0259040, 0.7827718, -0.8086758],
]


def seen(colour, vision):
    """Place of a colour in Oklab, where distances are as they appear."""
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return TO_LAB @ np.cbrt(TO_CONES @ np.clip(vision @ linear, 0, None))


def shown(tmp_path, folders, *configurations):
    for i, values in enumerate(configurations):
        folders.write_run(tmp_path / str(i), **values)
    return panels([load_run(tmp_path / str(i)) for i in range(len(configurations))])


@pytest.mark.parametrize("colours", [COLOURS_LIGHT, COLOURS_DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", VISION)
def test_hues_differ_for_every_reader(colours, name):
    assert len(colours) == 2 * HUES
    vision = np.array(VISION[name])
    # The wine of unknown methods is close to grey for some; dash and marker must do there.
    for one, other in combinations(colours[: HUES - 1], 2):
        assert np.linalg.norm(seen(one, vision) - seen(other, vision)) > 0.055, (one, other)


def test_the_second_shade_stands_out_more():
    for colours, sign in ((COLOURS_LIGHT, -1), (COLOURS_DARK, 1)):
        for base, strong in zip(colours[:HUES], colours[HUES:], strict=True):
            assert sign * (seen(strong, np.eye(3))[0] - seen(base, np.eye(3))[0]) > 0.04


def test_one_method_has_a_hue_for_each_kind_and_baselines_are_hollow(tmp_path, folders):
    kinds = [
        {"merged": folders.merged, "planner": planner} for planner in ("loss", "modcap", "error", "budget")
    ]
    found = shown(tmp_path, folders, {}, *kinds)
    assert colour_rule(found) == "kind"
    chosen = looks(found)
    assert len({look.colour_index for look in chosen.values()}) == 5
    assert len({(look.dash, look.marker) for look in chosen.values()}) == 5
    assert [label for label, look in chosen.items() if look.marker.endswith("-open")] == ["QDrop"]


def test_several_methods_have_a_hue_each(tmp_path, folders):
    both = [
        {"method": m, **more} for m in ("brecq", "qdrop", "mine") for more in ({}, {"merged": folders.merged})
    ]
    found = shown(tmp_path, folders, *both)
    assert colour_rule(found) == "method"
    hues = {label: look.colour_index % HUES for label, look in looks(found).items()}
    assert hues["BRECQ"] == hues["MRECG + BRECQ"]
    assert len(set(hues.values())) == 3


def test_a_run_that_is_added_leaves_the_others_as_they_were(tmp_path, folders):
    merged = {"merged": folders.merged, "planner": "loss"}
    before = looks(shown(tmp_path / "a", folders, {}, merged))
    more = [{**merged, "planner": "modcap"}, {"granularity": "layer"}, {"seed": 1}]
    after = looks(shown(tmp_path / "b", folders, {}, merged, *more))
    assert after["QDrop"] == before["QDrop"]
    assert after["MRECG + QDrop, by loss"] == before["MRECG + QDrop"]


def test_many_configurations_of_one_kind_all_differ(tmp_path, folders):
    pairs = [((folders.units[i], folders.units[i + 1]),) for i in range(2, 16, 2)]
    counts = [{"merged": sum(pairs[: i + 1], ()), "planner": "loss"} for i in range(7)]
    few = shown(tmp_path / "few", folders, *counts[:MAX_VARIANTS])
    many = shown(tmp_path / "many", folders, {}, *counts)
    assert (colour_rule(few), colour_rule(many)) == ("kind", "configuration")
    for found, number in ((few, MAX_VARIANTS), (many, 8)):
        chosen = looks(found).values()
        assert len(set(chosen)) == number
        assert {look.dash for look in chosen} <= set(DASHES)
        assert {look.marker.removesuffix("-open") for look in chosen} <= set(MARKERS)
    assert len({look.colour_index for look in looks(many).values()}) == 8


def test_networks_do_not_bind_each_other(tmp_path, folders):
    runs = [{}, {"bits": (4, 4)}, {"model": "other"}, {"model": "other", "method": "brecq"}]
    found = shown(tmp_path, folders, *runs)
    assert {panel.title: rule for panel, (_, rule) in zip(found, looks_by_panel(found), strict=True)} == {
        "mobilenet_v2_digits on digits, W4A4": "kind",
        "mobilenet_v2_digits on digits, W2A4": "kind",
        "other on digits, W2A4": "method",
    }


@pytest.mark.parametrize("count", [2, 5, 9, 16])
@pytest.mark.parametrize("vision", VISION)
def test_a_sequence_gets_darker_step_by_step_for_every_eye(count, vision):
    lightness = [seen(colour, np.array(VISION[vision]))[0] for colour in ramp(count)]
    falls = [a - b for a, b in pairwise(lightness)]
    assert min(falls) > 0.4 / (count - 1) * 0.7
    assert lightness[0] < 0.82, "the lightest one must be seen on white"
