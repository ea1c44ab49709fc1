"""The panel of weights at the ends of their grids."""

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
    for i, merged in enumerate(((), MERGED)):
        extra = {"weight_ranges": found}
        write_run(root / "runs" / str(i), name=str(i), merged=merged, summary_extra=extra)
    return write_report([root / "runs"], root / "report.html")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_every_unit_is_drawn_and_told(scheme, width, visit, ranged, show):
    page = visit(ranged, scheme=scheme, width=width).page
    show(page, "ranges")
    part = page.locator("#ranges")
    assert part.locator(".barlayer .trace").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    part.locator("summary").focus()
    page.keyboard.press("Enter")
    rows = part.locator(".numbers tbody tr")
    assert rows.count() == len(UNITS) - 1
    assert rows.first.locator("th, td").all_inner_texts() == [UNITS[0], "2+8", "40.00\u202f%", "0.00\u202f%"]
    said = part.locator("p.summary").inner_text()
    assert f"Most are clipped in {UNITS[-2]}: 3.6\u202f% of its weights, with 2 bits." in said
    found = Axe().run(page, context="#ranges").response["violations"]
    assert [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found] == []


def test_old_runs_have_no_such_part(visit, sweep):
    page = visit(sweep).page
    assert not page.locator("#ranges").is_visible()
    assert not page.locator("nav a[data-section=ranges]").is_visible()
