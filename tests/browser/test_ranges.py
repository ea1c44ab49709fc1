"""The panels of weights and activations at the ends of their grids."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from run_folders import MERGED, UNITS, write_run

from mrecg.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="session")
def ranged(tmp_path_factory):
    """A run without merges and one with some; every unit but the last has its ranges."""
    root = tmp_path_factory.mktemp("ranged")
    found = {
        unit: {"bits": [2] if i else [2, 8], "at_ends": 0.4 + 0.01 * i, "clipped": 0.002 * i}
        for i, unit in enumerate(UNITS[:-1])
    }
    active = {
        unit: {
            **{"bits": [4], "at_bottom": 0.5, "at_top": 0.002 * i},
            **{"clipped_bottom": 0.0001 * i, "clipped_top": 0.001 * i},
        }
        for i, unit in enumerate(UNITS[1:])
    }
    for i, merged in enumerate(((), MERGED)):
        extra = {"weight_ranges": found, "activation_ranges": active}
        write_run(root / "runs" / str(i), name=str(i), merged=merged, summary_extra=extra)
    return write_report([root / "runs"], root / "report.html")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_every_unit_is_drawn_and_told(scheme, width, visit, ranged, show):
    page = visit(ranged, scheme=scheme, width=width).page
    show(page, "ranges")
    part = page.locator("#ranges")
    assert [part.locator(".panel").nth(i).locator(".barlayer .trace").count() for i in (0, 1)] == [2, 3]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    weights, activations = opened(part, 0), opened(part, 1)
    assert [len(weights), len(activations)] == [len(UNITS) - 1] * 2
    assert weights[0] == [UNITS[0], "2+8", "40.00\u202f%", "0.00\u202f%"]
    values = ("50.00\u202f%", "0.40\u202f%", "0.02\u202f%", "0.20\u202f%")
    assert activations[2] == [UNITS[3], "4", *values]
    said = part.locator("p.summary").all_inner_texts()
    assert f"Most are clipped in {UNITS[-2]}: 3.6\u202f% of its weights, with 2 bits." in said[0]
    assert (
        f"Most are clipped in {UNITS[-1]}: {0.11 * (len(UNITS) - 2):.2f}\u202f% of its activations" in said[1]
    )
    assert f"In 1 of {len(UNITS) - 1} units no value reaches the top" in said[1]
    found = Axe().run(page, context="#ranges").response["violations"]
    assert [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found] == []


def opened(part, place):
    """The rows of the table behind a figure, folded out by the keyboard."""
    panel = part.locator(".panel").nth(place)
    panel.locator("summary").focus()
    panel.page.keyboard.press("Enter")
    panel.locator(".numbers tbody tr").first.wait_for()
    return [row.locator("th, td").all_inner_texts() for row in panel.locator(".numbers tbody tr").all()]


def test_runs_without_activations_show_their_weights_alone(visit, tmp_path, show):
    extra = {"weight_ranges": {unit: {"bits": [2], "at_ends": 0.4, "clipped": 0.0} for unit in UNITS}}
    for i, merged in enumerate(((), MERGED)):
        write_run(tmp_path / "runs" / str(i), name=str(i), merged=merged, summary_extra=extra)
    page = visit(write_report([tmp_path / "runs"], tmp_path / "report.html")).page
    show(page, "ranges")
    assert [panel.is_visible() for panel in page.locator("#ranges .panel").all()] == [True, False]


def test_old_runs_have_no_such_part(visit, sweep):
    page = visit(sweep).page
    assert not page.locator("#ranges").is_visible()
    assert not page.locator("nav a[data-section=ranges]").is_visible()
