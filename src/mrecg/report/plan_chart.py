"""The plan of a merge schedule: a strip of units, and under it how every criterion saw the pairs."""

from collections.abc import Sequence

from mrecg.planner.schedule import Criterion, Plan
from mrecg.report import svg
from mrecg.report.columns import Columns, columns, unit_labels
from mrecg.report.records import short_group
from mrecg.report.tables import compact

LEFT, RIGHT = 44.0, 14.0
STRIP, BARS, GAP = 30.0, 64.0, 46.0
BELOW = 12.0
"""Height of a bar below the axis, at most: it says that there is a loss, not how much."""

_CRITERIA = {
    "modcap": "Module capacity (ModCap)",
    "loss": "Reconstruction loss of a block-wise probe",
    "error": "Relative error of a block-wise probe",
    "budget": "Difference that a block-wise prefix leaves in the network's predictions",
}
_DIFFERENCES = {
    "squared": "squared difference (a − b)²",
    "log_ratio": "log ratio |ln(a / b)|",
    "fall": "squared fall (a − b)², 0 where it rises",
    "rise": "rise b − a, 0 where it falls",
    "gain": "fraction of the last that merging the pair takes off, by a trial",
    "rank": "rank of the pair, by the loss where the two are not comparable",
}


def criterion_title(criterion: Criterion) -> str:
    """Name a criterion in full.

    Args:
        criterion: One of a plan's criteria.

    Returns:
        What it measures and how neighbours compare.
    """
    name = _CRITERIA.get(criterion.name, criterion.name)
    return f"{name}: {_DIFFERENCES.get(criterion.difference, criterion.difference)}"


def chosen_pairs(plan: Plan) -> list[int]:
    """Find the pairs that a plan merges.

    Args:
        plan: A plan.

    Returns:
        Indices of pairs; pair i is units i and i + 1.
    """
    place = {name: i for i, name in enumerate(plan.units)}
    return [place[name] for group in plan.groups for name in group[:-1]]


def decided(plan: Plan) -> bool:
    """Whether the plan's first criterion chose its merges."""
    return bool(plan.merges) and plan.merges[0].difference is not None


def plan_chart(plan: Plan) -> str:
    """Draw a plan.

    Args:
        plan: A plan.

    Returns:
        An SVG element.
    """
    at = columns(plan.units, left=LEFT, right=RIGHT)
    chosen = chosen_pairs(plan)
    labels, label_height = unit_labels(at, STRIP + 26)
    top = STRIP + 26 + label_height + 22
    parts = [_strip(plan, at), labels]
    bottom = top + len(plan.criteria) * (BARS + GAP)
    for pair in chosen if plan.criteria else ():
        box: dict[str, svg.Attribute] = {
            "class": "guide",
            "x": at.centre(pair + 0.5) - at.band * 0.38,
            "y": top,
            "width": at.band * 0.76,
            "height": bottom - top - 18,
        }
        parts.append(svg.element("rect", box))
    for row, criterion in enumerate(plan.criteria):
        y = top + row * (BARS + GAP)
        decides = row == 0 and decided(plan)
        # The heading stands on the guides of the chosen pairs; a halo in the style sheet keeps it readable.
        heading = criterion_title(criterion) + (" (decides)" if decides else "")
        parts.append(svg.text(at.left, y - 4, heading, class_="rowtitle strong" if decides else "rowtitle"))
        parts.append(_bars(criterion, chosen, plan.not_comparable, at, y + 14 + BARS))
    attributes: dict[str, svg.Attribute] = {
        "class": "chart",
        "viewBox": f"0 0 {at.width:.0f} {max(bottom - 16, top - 14):.0f}",
        "style": at.least_width,
        "role": "img",
        "aria-label": describe(plan),
    }
    return svg.element("svg", attributes, *parts)


def describe(plan: Plan) -> str:
    """Say in words what a plan merges.

    Args:
        plan: A plan.

    Returns:
        The text alternative.
    """
    merged = "; ".join(" and ".join(group) for group in plan.merged) or "nothing"
    by = f" {criterion_title(plan.criteria[0])} decided." if decided(plan) else ""
    return f"Plan of {len(plan.units)} units in {len(plan.groups)} groups. Optimised jointly: {merged}.{by}"


def _strip(plan: Plan, at: Columns) -> str:
    parts = []
    for group in plan.groups:
        x, width = at.span(group)
        inside = " in" if len(group) > 1 else ""
        if inside:
            hull: dict[str, svg.Attribute] = {
                "class": "hull",
                "x": x,
                "y": 2.0,
                "width": width,
                "height": STRIP + 8,
            }
            said = svg.title(f"{short_group(group)} optimised jointly")
            parts.append(svg.element("rect", {**hull, "rx": 8.0}, said))
            middle = 6 + STRIP / 2
            parts.append(svg.line(x + at.band / 2, middle, x + width - at.band / 2, middle, "join"))
        for unit in group:
            i = plan.units.index(unit)
            box: dict[str, svg.Attribute] = {
                "class": f"cell{inside}",
                "x": at.centre(i) - at.band / 2 + 3,
                "y": 6.0,
            }
            box |= {"width": at.band - 6, "height": STRIP, "rx": 5.0}
            parts.append(svg.element("rect", box, svg.title(unit)))
            place = (at.centre(i), 6 + STRIP / 2 + 4)
            parts.append(svg.text(*place, str(i + 1), class_=f"number{inside}", text_anchor="middle"))
    return "".join(parts)


def _bars(
    criterion: Criterion, chosen: Sequence[int], differing: Sequence[str], at: Columns, base: float
) -> str:
    highest = max(map(abs, criterion.differences), default=0.0)
    highest = max((d for d in criterion.differences if d > 0), default=highest) or 1.0
    ranked = sorted(range(len(criterion.differences)), key=lambda i: -criterion.differences[i])
    own = {i for i in ranked[: len(chosen)] if criterion.differences[i] > 0}
    thick = min(20.0, at.band * 0.5)
    parts = [svg.line(at.left, base, at.width - RIGHT, base, "axis")]
    for i, difference in enumerate(criterion.differences):
        x, height = at.centre(i + 0.5), abs(difference) / highest * (BARS - 8)
        height = min(height, BELOW) if difference < 0 else height
        reason = differing[i] if i < len(differing) else ""  # plans of older runs do not have them
        box: dict[str, svg.Attribute] = {
            "class": f"bar{' in' if i in chosen else ''}{' odd' if reason else ''}",
            "x": x - thick / 2,
            "rx": 1.5,
        }
        box |= {"y": base if difference < 0 else base - height, "width": thick, "height": height}
        said = f"{at.units[i]} → {at.units[i + 1]}: {compact(difference)}"
        said += f"; not comparable: {reason}" if reason else ""
        parts.append(svg.element("rect", box, svg.title(said)))
        if i in chosen and at.band > 30:
            parts.append(
                svg.text(x, base - height - 4, compact(difference), class_="value", text_anchor="middle")
            )
        if i in own:
            parts.append(svg.element("circle", {"class": "own", "cx": x, "cy": base + 7, "r": 2.8}))
    return "".join(parts)
