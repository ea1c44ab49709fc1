"""Plans as the page gets them: groups, criteria, and why each merge was made."""

from typing import Any

from mrecg.planner.criteria import described
from mrecg.planner.schedule import Plan
from mrecg.report.page.curves import significant
from mrecg.report.reasons import criterion_title, reason, verdict_line


def plan_values(plan: Plan) -> dict[str, Any]:
    """Describe a plan; units by their place."""
    place = {name: i for i, name in enumerate(plan.units)}
    by = f", planned by {plan.planner}" if plan.planner else ""
    return {
        "heading": f"{plan.granularity}{by}",
        "groups": [[place[name] for name in group] for group in plan.groups],
        "merges": [{"left": place[merge.left], "reason": reason(plan, merge)} for merge in plan.merges],
        "criteria": [
            {
                "name": criterion.name,
                "difference": criterion.difference,
                "title": criterion_title(criterion),
                "short": described(criterion).short,
                "capacities": [significant(value) for value in criterion.capacities],
                "differences": [significant(value) for value in criterion.differences],
            }
            for criterion in plan.criteria
        ],
        "not_comparable": list(plan.not_comparable),
        "note": " ".join([plan.note, *(f"{verdict_line(verdict)}." for verdict in plan.verdicts)]).strip(),
    }
