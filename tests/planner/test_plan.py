from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import fx

from mrecg.config.merging import PlannerConfig, differences_of
from mrecg.config.schema import BitsConfig, GranularityConfig
from mrecg.config.validate import run_config
from mrecg.errors import ConfigError, PlanError
from mrecg.graph.partition import partition
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.planner.plan import Probe, make_plan, needs_probe
from mrecg.planner.published import PUBLISHED
from mrecg.planner.schedule import Plan
from mrecg.quant.bit_widths import policy

NAMES = ("u0", "u1", "u2", "u3", "u4")
WEIGHTS = (10, 40, 20, 90, 90)
UNITS = tuple(
    UnitFacts(
        name=name,
        layers=(LayerFacts(name=f"{name}.conv", weights=weights, stride=1, kernel=(1, 1), kind="dense"),),
        residual=False,
    )
    for name, weights in zip(NAMES, WEIGHTS, strict=True)
)
BITS = {f"{name}.conv": 2 for name in NAMES}
PROBE = Probe(losses=(1.0, 9.0, 2.0, 2.5, 3.0), errors=(0.1, 0.2, 0.8, 0.5, 0.55), steps=7)


def plan(granularity: str = "mixed", *, groups: Any = (), probe: Probe | None = None, **planner: Any) -> Plan:
    return make_plan(
        UNITS,
        BITS,
        granularity=GranularityConfig(**{"name": granularity, "groups": groups}),
        planner=PlannerConfig(**{"merge_boundary": True, **planner}),
        model="tiny",
        probe=probe,
    )


@pytest.mark.parametrize(
    ("planner", "merged"),
    [
        ({"name": "modcap", "merge_count": 1}, (("u2", "u3"),)),
        ({"name": "modcap", "merge_count": 2}, (("u2", "u3"), ("u0", "u1"))),
        ({"name": "modcap", "difference": "log_ratio", "merge_count": 1}, (("u2", "u3"),)),
        ({"name": "loss", "merge_count": 2}, (("u1", "u2"),)),
        ({"name": "loss", "difference": "squared", "merge_count": 2}, (("u0", "u1", "u2"),)),
        ({"name": "error", "merge_count": 1}, (("u1", "u2"),)),
        ({"name": "error", "merge_count": 2}, (("u0", "u1", "u2"),)),
    ],
)
def test_every_planner_merges_its_largest_differences(
    planner: dict[str, Any], merged: tuple[tuple[str, ...], ...]
) -> None:
    found = plan(probe=PROBE, **planner)
    assert set(found.merged) == set(merged)
    assert found.planner == planner["name"] and found.merge_count == planner["merge_count"]
    assert found.criteria[0].name == planner["name"]
    assert found.criteria[0].difference == planner.get(
        "difference", {"modcap": "squared", "loss": "fall", "error": "rise"}[planner["name"]]
    )
    assert {(c.name, c.difference) for c in found.criteria} == {
        (name, kind) for name in ("modcap", "loss", "error") for kind in differences_of(name)
    }
    for merge in found.merges:
        pair = NAMES.index(merge.left)
        assert (merge.left_capacity, merge.right_capacity) == found.criteria[0].capacities[pair : pair + 2]
        assert merge.difference == found.criteria[0].differences[pair] and merge.right == NAMES[pair + 1]
    assert "Probe: a block-wise run of 7 steps" in found.note


def test_first_and_last_unit_stay_alone_unless_asked() -> None:
    # By ModCap the pairs rank u2-u3, u0-u1, u1-u2; u3-u4 has no difference.
    assert plan(name="modcap", merge_count=2, merge_boundary=False).groups == (
        ("u0",),
        ("u1", "u2", "u3"),
        ("u4",),
    )
    assert plan(name="modcap", merge_count=4, merge_boundary=False).groups == (
        ("u0",),
        ("u1", "u2", "u3"),
        ("u4",),
    )


def test_granularities_that_need_no_planner() -> None:
    for name in ("layer", "block"):
        assert plan(name).groups == tuple((unit,) for unit in NAMES)
    assert plan("network").groups == (NAMES,)
    fixed = plan("fixed", groups=(("u1", "u2"),))
    assert fixed.merged == (("u1", "u2"),) and fixed.planner == "" and fixed.merge_count == 0
    assert fixed.merges[0].difference is None
    assert {c.name for c in fixed.criteria} == {"modcap"}


@pytest.mark.parametrize(
    ("planner", "merged"),
    [
        # The losses are 1, 9, 2, 2.5, 3: rises of 9, falls of 7, index 14. Without u1's: monotone.
        ({"name": "loss"}, (("u1", "u2"),)),
        # The same curve and ModCap's pairs: u2-u3 (index 13), u0-u1 (13), and u1-u2, which hides u1's.
        ({"name": "modcap"}, (("u0", "u1", "u2", "u3"),)),
        ({"name": "modcap", "oscillation_threshold": 0.93}, (("u2", "u3"),)),
        # The errors are 0.1, 0.2, 0.8, 0.5, 0.55: index 0.6; the rise from u1 to u2 is the largest.
        ({"name": "error", "oscillation_threshold": 1.0}, ()),
    ],
)
def test_the_number_of_merges_can_be_found(
    planner: dict[str, Any], merged: tuple[tuple[str, ...], ...]
) -> None:
    found = plan(probe=PROBE, merge_count="auto", **planner)
    assert set(found.merged) == set(merged)
    count = sum(len(group) - 1 for group in merged)
    assert found.merge_count == len(found.merges) == count
    assert found.groups == plan(probe=PROBE, **{**planner, "merge_count": count}).groups
    assert f"merge_count=auto merges {count} pair" in found.note


def test_the_note_says_how_many_merges_were_chosen_and_why() -> None:
    assert plan(probe=PROBE, merge_count="auto", name="loss").note == (
        "merge_count=auto merges 1 pair: predicted oscillation index of the loss 14 -> 0, wanted: 7. "
        "Probe: a block-wise run of 7 steps per unit."
    )
    # A pair of u1 and u2 lies at their mean, and the fall behind it stays; u0 does not fit into the group.
    probe = replace(PROBE, errors=(0.1, 0.2, 0.9, 0.1, 0.1))
    stuck = plan(probe=probe, merge_count="auto", name="error", oscillation_threshold=0.1, max_group_size=2)
    assert stuck.merged == (("u1", "u2"),)
    assert "1 pair: predicted oscillation index of the error 1.6 -> 0.9, out of reach: 0.16." in stuck.note


@pytest.mark.parametrize("name", ["modcap", "loss", "error"])
def test_a_monotone_curve_is_left_alone(name: str) -> None:
    calm = Probe(losses=(5.0, 4.0, 3.0, 2.0, 1.0), errors=(0.1, 0.2, 0.3, 0.4, 0.5), steps=7)
    found = plan(probe=calm, merge_count="auto", name=name)
    assert found.merged == () and found.merge_count == 0
    assert "merge_count=auto merges nothing: the" in found.note and "does not oscillate" in found.note


def test_an_open_number_of_merges_needs_a_probe() -> None:
    mixed = GranularityConfig(name="mixed")
    for name in ("modcap", "loss", "error"):
        planner: dict[str, Any] = {"name": name, "merge_count": "auto"}
        assert needs_probe(mixed, PlannerConfig(**planner))
        assert not needs_probe(GranularityConfig(name="block"), PlannerConfig(**planner))
    with pytest.raises(PlanError, match=r"planner\.merge_count=auto needs a probe run"):
        plan(name="modcap", merge_count="auto")
    assert not needs_probe(mixed, PlannerConfig(name="published", merge_count="auto"))


def test_an_open_number_of_merges_changes_nothing_where_it_is_not_used() -> None:
    assert plan("block", merge_count="auto").merge_count == 0
    assert plan("fixed", groups=(("u1", "u2"),), merge_count="auto").merged == (("u1", "u2"),)


@pytest.mark.parametrize("wrong", [-1, "all", 1.5])
def test_a_number_of_merges_is_a_number_or_auto(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"planner\.merge_count: .* is not right: wants .*, or auto"):
        run_config({"planner": {"merge_count": wrong}})
    assert run_config({"planner": {"merge_count": "auto"}}).planner.merge_count == "auto"


@pytest.mark.parametrize("name", ["loss", "error"])
def test_a_missing_probe_is_an_error_unless_nothing_is_merged(name: str) -> None:
    with pytest.raises(PlanError, match=f"planner={name} needs a probe run"):
        plan(name=name, merge_count=1)
    assert plan(name=name, merge_count=0).merged == ()
    mixed = GranularityConfig(name="mixed")
    for count in (0, 1):
        planner: dict[str, Any] = {"name": name, "merge_count": count}
        assert needs_probe(mixed, PlannerConfig(**planner)) == (count > 0)


def test_needs_probe_only_for_mixed_by_loss_or_error() -> None:
    assert not needs_probe(GranularityConfig(name="block"), PlannerConfig(name="loss"))
    assert not needs_probe(GranularityConfig(name="mixed"), PlannerConfig(name="modcap"))


def test_a_probe_of_another_graph_is_refused() -> None:
    with pytest.raises(PlanError, match=r"the probe holds 2 numbers \(errors\) for 5 units"):
        plan(probe=Probe(losses=(1.0, 2.0), errors=(0.1, 0.2), steps=1))
    for numbers in ("reach", "pairs"):
        wrong: dict[str, Any] = {numbers: (0.1, 0.2, 0.3)}
        with pytest.raises(PlanError, match=rf"the probe holds 3 numbers \({numbers}\) for 5 units"):
            plan(probe=replace(PROBE, **wrong))


def test_fewer_merges_than_asked_for_are_noted() -> None:
    few = plan(name="modcap", merge_count=4)
    assert len(few.merges) == 3 and few.note.startswith("3 of planner.merge_count=4 merges were made: ")
    assert plan(name="modcap", merge_count=2).note == ""
    with pytest.raises(PlanError, match=r"merge_count: 5 is not right: 5 units have 4 pairs of neighbours"):
        plan(name="modcap", merge_count=5)


EXPECTED = {"resnet18": (10, 8), "resnet50": (18, 14), "mobilenet_v2": (19, 12)}
"""Units and groups; MobileNetV2's stem is a unit of its own here, so both are one more than as published."""


@pytest.mark.parametrize("name", EXPECTED)
def test_published_schedules_resolve_on_the_graph(
    name: str, skeleton_of: Callable[[str], fx.GraphModule]
) -> None:
    traced = skeleton_of(name)
    found = make_plan(
        [unit.facts for unit in partition(traced)],
        policy(traced.graph, BitsConfig()).layers,
        granularity=GranularityConfig(name="mixed"),
        planner=PlannerConfig(name="published"),
        model=name,
    )
    assert (len(found.units), len(found.groups)) == EXPECTED[name]
    assert found.merged == PUBLISHED[name] and found.merge_count == len(found.merges)
    assert all(merge.difference is None for merge in found.merges)


def test_published_schedules_are_those_of_the_paper() -> None:
    assert PUBLISHED["resnet18"] == (("layer1.1", "layer2.0"), ("layer2.1", "layer3.0"))
    assert PUBLISHED["resnet50"][1] == ("layer2.3", "layer3.0", "layer3.1")
    numbers = [[int(name.split(".")[1]) for name in group] for group in PUBLISHED["mobilenet_v2"]]
    assert numbers == [[3, 4], [6, 7], [9, 10, 11], [12, 13, 14], [16, 17]]


def test_published_errors() -> None:
    with pytest.raises(PlanError, match=r"planner\.schedule: 'tiny' is not a choice; choose from resnet18"):
        plan(name="published")
    with pytest.raises(PlanError, match=r"planner\.schedule=resnet18: 'layer1\.1' is not a choice"):
        plan(name="published", schedule="resnet18")


STRIDED = tuple(
    replace(unit, stage=stage, layers=(replace(unit.layers[0], stride=stride),))
    for unit, stage, stride in zip(UNITS, (0, 1, 1, 2, 3), (1, 1, 1, 2, 1), strict=True)
)


def strided(**planner: Any) -> Plan:
    return make_plan(
        STRIDED,
        BITS,
        granularity=GranularityConfig(name="mixed"),
        planner=PlannerConfig(name="modcap", merge_boundary=True, **planner),
        model="tiny",
        probe=PROBE,
    )


def test_pairs_that_are_not_comparable_are_marked() -> None:
    assert strided(merge_count=1).not_comparable == ("", "", "stride", "stride")
    assert plan("block").not_comparable == ("",) * 4


def test_pairs_that_are_not_comparable_can_be_left_out() -> None:
    # ModCap: 20, 80, 40, 288, 180; the largest differences are u2-u3 and u3-u4, which differ in stride.
    assert set(strided(merge_count=2).merged) == {("u2", "u3", "u4")}
    left_out = strided(merge_count=4, not_comparable="exclude")
    assert left_out.merged == (("u0", "u1", "u2"),) and "planner.not_comparable=include" in left_out.note


def test_pairs_that_are_not_comparable_can_be_ranked_by_the_loss() -> None:
    # The losses fall from u1 to u2 only, so the pairs that differ in stride have nothing to merge for.
    found = strided(merge_count=4, not_comparable="loss")
    assert found.merged == (("u0", "u1", "u2"),)
    decider = found.criteria[0]
    assert (decider.name, decider.difference) == ("modcap", "rank")
    assert decider.differences == (0.5, 0.25, 0.0, 0.0)
    assert [merge.difference for merge in found.merges] == [0.5, 0.25]


def test_ranking_by_the_loss_needs_a_probe_and_modcap() -> None:
    planner = PlannerConfig(name="modcap", not_comparable="loss")
    assert needs_probe(GranularityConfig(name="mixed"), planner)
    with pytest.raises(PlanError, match="not_comparable=loss needs a probe run"):
        plan(name="modcap", merge_count=1, not_comparable="loss")
    with pytest.raises(ConfigError, match=r"planner\.not_comparable: loss goes with planner=modcap; error"):
        run_config({"planner": {"name": "error", "not_comparable": "loss"}})


def test_a_stage_is_one_group() -> None:
    found = make_plan(
        STRIDED, BITS, granularity=GranularityConfig(name="stage"), planner=PlannerConfig(), model="tiny"
    )
    assert found.groups == (("u0",), ("u1", "u2"), ("u3",), ("u4",)) and found.planner == ""


def test_notes_on_the_graph_travel_with_the_plan() -> None:
    found = make_plan(
        UNITS,
        BITS,
        granularity=GranularityConfig(name="block"),
        planner=PlannerConfig(),
        model="tiny",
    )
    found = replace(found, graph_notes=("a dense block was cut",))
    assert Plan.from_dict(found.as_dict()) == found and found.graph_notes == ("a dense block was cut",)
    old = {k: v for k, v in found.as_dict().items() if k not in ("graph_notes", "not_comparable")}
    assert Plan.from_dict(old).not_comparable == ()


def test_a_plan_with_fewer_merges_says_what_to_change() -> None:
    inner = plan(name="modcap", merge_boundary=False)
    assert inner.note.startswith(
        "2 of planner.merge_count=3 merges were made: 2 of 4 pairs of neighbours may be merged (the first and "  # noqa: E501
        "the last unit stay alone). To merge more, set planner.merge_boundary=true."
    )
    short = plan(name="modcap", max_group_size=2)
    assert "a group has at most planner.max_group_size=2 units" in short.note
    assert "a larger planner.max_group_size" in short.note


def test_a_network_that_is_merged_as_a_whole_is_noted() -> None:
    assert "there was nothing to choose" in plan(name="modcap", merge_boundary=False).note
    assert "nothing to choose" not in plan(name="modcap", merge_count=1, merge_boundary=False).note
