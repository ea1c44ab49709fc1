"""The plan as a table on the terminal: every pair of neighbours, every criterion, and what was chosen."""

from rich.table import Table

from mrecg.planner.schedule import Plan


def plan_table(plan: Plan, *, title: str) -> Table:
    """Lay a plan out, one line a unit.

    Args:
        plan: The plan.
        title: Stands above.

    Returns:
        The table; capacities are those of the unit, differences those of the unit and the next.
    """
    how = f"{plan.granularity}{f' by {plan.planner}' if plan.planner else ''}"
    table = Table(title=f"{title}: {len(plan.units)} units in {len(plan.groups)} groups, {how}")
    table.add_column("group", justify="right")
    table.add_column("unit", no_wrap=True)
    shown: set[str] = set()  # two criteria may rank the same capacities
    for criterion in plan.criteria:
        if criterion.name not in shown:
            table.add_column(criterion.name, justify="right")
        shown.add(criterion.name)
        table.add_column(f"{criterion.difference.replace('_', ' ')} to next", justify="right")
    table.add_column("merged with next")
    table.add_column("not comparable: differs in")
    merged_left = {merge.left for merge in plan.merges}
    for i, unit in enumerate(plan.units):
        cells: list[str] = []
        seen: set[str] = set()
        for criterion in plan.criteria:
            if criterion.name not in seen:
                cells.append(_short(criterion.capacities[i], 4))
            seen.add(criterion.name)
            cells.append("" if i == len(plan.units) - 1 else _short(criterion.differences[i], 3))
        merged = unit in merged_left
        reason = plan.not_comparable[i] if i < len(plan.not_comparable) else ""
        table.add_row(
            str(plan.group_of(unit)), unit, *cells, "yes" if merged else "", reason,
            style="bold" if merged or any(merge.right == unit for merge in plan.merges) else None,
        )  # fmt: skip
    return table


def _short(value: float, digits: int) -> str:
    """A number that fits a narrow column: 1.26e3 and not 1.26e+03."""
    mantissa, e, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa
