"""The plan on the terminal: bars, brackets, stages, reasons, tables, and the pictures beside it."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mrecg.cli.plan_table import plan_tables
from mrecg.cli.plan_view import PlanReasons, PlanView
from mrecg.config.merging import PlannerConfig
from mrecg.graph.unit_facts import UnitFacts
from mrecg.planner.schedule import Criterion, Merge, Plan

Call = Callable[..., Any]
UNITS = ("stem", "stages.0.blocks.0", "stages.0.blocks.1", "stages.1.blocks.0", "stages.1.blocks.1", "head")
PLANNER = PlannerConfig(name="loss", difference="squared", merge_count=2)
LOSSES = (0.5, 4.0, 8.0, 2.0, 3.0, 1.0)


def plan(**more: Any) -> Plan:
    names = {"a": UNITS[2], "b": UNITS[3], "c": UNITS[4], "d": UNITS[5]}
    merges = (
        Merge(
            left=names["a"], right=names["b"], left_capacity=8.0, right_capacity=2.0, difference=36.0,
            not_comparable="stride",
        ),
        Merge(
            left=names["b"], right=names["c"], left_capacity=2.0, right_capacity=3.0, difference=1.0,
            not_comparable="",
        ),
    )  # fmt: skip
    values: dict[str, Any] = {
        "granularity": "mixed",
        "planner": "loss",
        "merge_count": 2,
        "units": UNITS,
        "groups": (UNITS[:1], UNITS[1:2], UNITS[2:5], UNITS[5:]),
        "merges": merges,
        "criteria": (
            Criterion(
                name="loss", difference="squared", capacities=LOSSES, differences=(12.25, 16, 36, 1, 4)
            ),
            Criterion(
                name="modcap",
                difference="log_ratio",
                capacities=(10.0, 1e3, 1e3, 2e5, 3e6, 123456789.0),
                differences=(1.0, 0.0, 2.0, 3.0, 1.0),
            ),
            Criterion(name="error", difference="rise", capacities=(0.1,) * 6, differences=(0.0,) * 5),
        ),
        "not_comparable": ("number of layers", "", "stride", "", "shortcut"),
        "facts": tuple(
            UnitFacts(name=name, layers=(), residual=True, stage=stage)
            for name, stage in zip(UNITS, (0, 1, 1, 2, 2, 3), strict=True)
        ),
    }
    return Plan(**{**values, **more})


def lines(*what: RenderableType, width: int = 80) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width)
    for each in what:
        console.print(each, highlight=False)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_bars_brackets_stages_and_reasons() -> None:
    shown = lines(PlanView(plan(), title="tiny"), PlanReasons(plan(), PLANNER))
    assert all(len(line.rstrip()) <= 80 for line in shown)
    assert shown[:2] == ["tiny", "6 units in 4 groups, mixed by loss: 2 pairs merged"]
    words = " ".join(shown[2:4])
    assert "Reconstruction loss" in words and "linear scale from 0 to 8.000" in words
    rows = {
        line[2:].split()[0]: line
        for line in shown
        if line[:2] in ("  ", "┐ ", "│ ", "┘ ") and "  " in line[2:]
    }
    assert [rows[name][0] for name in UNITS] == [" ", " ", "┐", "│", "┘", " "]
    bars = [rows[name].count("█") for name in UNITS]
    assert bars[2] == max(bars) and abs(bars[1] - bars[2] / 2) <= 1 and abs(bars[3] - bars[2] / 4) <= 1
    assert rows[UNITS[2]].split()[-2:] == ["8.000", "36.00"] and rows["head"].split()[-1] == "1.000"
    stages = [line for line in shown if "╌" in line]
    assert [line.split("stage ")[1][0] for line in stages] == ["1", "2", "3"]
    assert [line[0] for line in stages] == [" ", "│", " "]  # a bracket goes on through a border
    assert shown.index(stages[1]) == shown.index(rows[UNITS[3]]) - 1
    why = " ".join(" ".join(shown[shown.index("Merged, and why") :]).split())
    assert "loss falls from 8 to 2 (rank 1 of 5 pairs); the two differ in stride" in why
    assert "loss rises from 2 to 3 (rank 5 of 5 pairs)" in why


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_it_fits(width: int) -> None:
    long = tuple(f"backbone.features.{name}.inverted_residual_block" for name in UNITS)
    rename = dict(zip(UNITS, long, strict=True))
    merges = tuple(replace(m, left=rename[m.left], right=rename[m.right]) for m in plan().merges)
    made = plan(units=long, groups=(long[:1], long[1:2], long[2:5], long[5:]), merges=merges)
    shown = lines(PlanView(made, title="tiny"), *plan_tables(made, width=width), width=width)
    assert all(len(line) <= width for line in shown)
    assert sum("…" in line for line in shown) >= 6


def test_small_capacities_show_on_a_logarithmic_scale() -> None:
    first, second, third = plan().criteria
    shown = lines(PlanView(plan(criteria=(second, first, third)), title="tiny"))
    assert "log scale from 5.000 to 1.23e8" in " ".join(shown[2:5])
    stem, head = (next(line for line in shown if line[2:].startswith(name)) for name in ("stem", "head"))
    assert 0 < stem.count("█") < head.count("█") / 5


def test_plans_without_criteria_merges_or_facts() -> None:
    bare = plan(granularity="block", planner="", merge_count=0, groups=tuple((u,) for u in UNITS), merges=(),
                criteria=(), facts=(), not_comparable=())  # fmt: skip
    shown = lines(PlanView(bare, title="tiny"))
    assert "block: nothing merged" in shown[1] and not any("why" in line or "╌" in line for line in shown)
    assert all(any(name in line for line in shown) for name in UNITS)
    assert list(plan_tables(bare, width=80)) == []
    given = tuple(replace(m, left_capacity=None, right_capacity=None, difference=None) for m in plan().merges)
    shown = lines(PlanReasons(plan(granularity="stage", planner="", merges=given), PLANNER))
    assert lines(PlanReasons(bare, PLANNER)) == []
    said = [line for line in shown[1:] if line]
    assert (
        shown[0] == "Merged, and why"
        and len(said) == 2
        and "blocks.1 + " in said[0]
        and said[1].strip() == "given by the stage schedule"
    )


@pytest.mark.parametrize(
    ("settings", "differences", "said"),
    [
        ({}, (99.0, 0.0, 36.0, 1.0, 0.0), {"stem + stages.0.blocks.0": "planner.merge_boundary=false"}),
        (
            {"max_group_size": 3},
            (0.0, 16.0, 36.0, 1.0, 4.0),
            {
                "stages.0.blocks.0 + stages.0.blocks.1": "planner.max_group_size=3",
                "stages.1.blocks.1 + head": "planner.merge_boundary=false",
            },
        ),
        (
            {"not_comparable": "exclude", "merge_boundary": True},
            (0.0, 16.0, 36.0, 1.0, 0.0),
            {"stages.0.blocks.0 + stages.0.blocks.1": "planner.not_comparable=exclude"},
        ),
        ({}, (0.0, 0.5, 36.0, 1.0, 1.0), {}),  # none differs more than what is merged
    ],
)
def test_what_differs_more_and_is_not_merged_is_said_with_what_forbids_it(
    settings: dict[str, Any], differences: tuple[float, ...], said: dict[str, str]
) -> None:
    decider, *others = plan().criteria
    facts = tuple(replace(unit, residual=i > 1) for i, unit in enumerate(plan().facts))
    made = plan(criteria=(replace(decider, differences=differences), *others), facts=facts)
    shown = " ".join(" ".join(lines(PlanReasons(made, replace(PLANNER, **settings)), width=120)).split())
    assert shown.count("not merged:") == len(said)
    for pair, why in said.items():
        after = shown.partition(f"not merged: {pair} ")[2]
        assert f"; but {after.partition('; but ')[2]}" in shown and why in after.partition("not merged:")[0]


def test_of_many_pairs_that_are_not_merged_few_have_a_line() -> None:
    decider, *others = plan().criteria
    one = plan().merges[1:]
    made = plan(merges=one, criteria=(replace(decider, differences=(9.0, 8.0, 7.0, 1.0, 6.0)), *others))
    shown = lines(PlanReasons(made, PLANNER), width=120)
    ranks = [line.partition("rank ")[2][0] for line in shown if "; but " in line]
    assert ranks == ["1", "2", "3"] and any("and 1 pair more" in line for line in shown)


def test_criteria_stand_side_by_side_where_they_fit() -> None:
    wide, narrow = (list(plan_tables(plan(), width=width)) for width in (160, 60))
    assert len(wide) == 1 and len(narrow) == 2
    heads = [str(column.header) for column in wide[0].columns]
    assert heads == ["", "unit", "loss", "Δ squared", "differ in", "modcap", "Δ log ratio", "error", "Δ rise"]
    for table in narrow:
        assert [str(column.header) for column in table.columns][:2] == ["", "unit"] and table.row_count == 6
    text = "\n".join(lines(*wide, width=160))
    assert "1.23e8" in text and "layers" in text and text.count("┐") == 1


def test_the_verb_prints_the_picture_and_leaves_two(mrecg: Call, small: list[str]) -> None:
    code, out, err = mrecg(
        "plan", *small, "planner=modcap", "planner.merge_count=1", "data=none", "pictures=true"
    )
    assert code == 0, err
    assert "┐ " in out and "┘ " in out and "Δ squared" in out
    assert out.index("Δ squared") < out.index("Merged, and why") < out.index("plan: ")  # why stands last
    (png,) = Path.cwd().glob("outputs/*/*/plan.png")
    svg = png.with_suffix(".svg")
    assert png.read_bytes()[:4] == b"\x89PNG" and "<svg" in svg.read_text()[:2000]
    assert out.count("picture: ") == 2 and "plan.json" in out
