"""The page of a search: lines over the settings, what each explains, and who cannot see or has no mouse."""

import random
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from run_folders import UNITS, write_run

from mrecg.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

SETTINGS = ["lr_rounding", "regulariser", "merges"]
AXES = [*SETTINGS, "top-1", "time"]
TRIALS = 16


@pytest.fixture(scope="session")
def search(tmp_path_factory):
    """Trials over two numbers and the merges, which decide accuracy and time; one trial went wrong."""
    root, noise = tmp_path_factory.mktemp("search"), random.Random(5)
    for i in range(TRIALS):
        merges = i % 8
        options = {
            "method.regulariser": round(10 ** noise.uniform(-3, 0), 5),
            "method.lr_rounding": round(10 ** noise.uniform(-3.5, -1.5), 5),
        }
        top1 = 0.11 if i == 5 else 0.8 + 0.02 * merges + noise.gauss(0, 0.002)
        write_run(
            root / "runs" / str(i),
            name=f"trial{i}",
            method="brecq_joint",
            granularity="mixed",
            planner="modcap",
            merged=tuple((UNITS[2 * k + 1], UNITS[2 * k + 2]) for k in range(merges)),
            seconds=60 + 9 * merges,
            summary_extra={
                "options": options,
                "quantized": {"top1": top1, "top5": 0.99},
                "merge_count": merges,
            },
        )
    return write_report([root / "runs"], root / "report.html")


def drawn(page, show):
    show(page, "search")
    return page.locator("#search")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(scheme, width, visit, search, show):
    page = visit(search, scheme=scheme, width=width).page
    part = drawn(page, show)
    for details in part.locator("details > summary").all():
        details.evaluate("(e) => e.click()")
    found = Axe().run(page, context="#search").response["violations"]
    assert [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found] == []


@pytest.mark.parametrize("width", [390, 820, 1280, 1920])
def test_it_fits_every_width(width, visit, search, show):
    page = visit(search, width=width).page
    part = drawn(page, show)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lines = part.locator("figure").first
    names = lines.locator("svg .annotation-text b, svg .annotation-text tspan[style*='bold']")
    assert names.all_text_contents() == AXES
    for box in (name.bounding_box() for name in names.all()):
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    tops = [name.bounding_box()["y"] for name in names.all()]
    # Below each other on a phone, else side by side.
    assert len({round(y / 20) for y in tops}) == (len(AXES) if width == 390 else 1)


def test_words_and_numbers_say_what_the_lines_say(visit, search, show):
    part = drawn(visit(search).page, show)
    lines, top1, time = part.locator("figure").all()
    said = lines.locator(".summary").inner_text()
    best = re.search(r"the best one: ([\d.]+).% with lr_rounding \S+, regulariser \S+, merges 7", said)
    assert best and said.startswith(f"{TRIALS} configurations")
    assert "1 configuration beyond the end of the axis of top-1 stands at its end." in said
    lines.locator("summary").click()
    table = lines.locator(".numbers table")
    assert table.locator("thead th").all_inner_texts() == ["Configuration", "Bits", *AXES]
    assert table.locator("tbody tr").count() == TRIALS
    assert best[1] in table.locator("tbody tr").first.inner_text()
    assert "11.00" in table.locator("tbody tr").last.inner_text()
    assert "merges" in time.locator(".summary").inner_text()
    time.locator("summary").click()
    rows = time.locator(".numbers tbody tr")
    assert rows.count() == len(SETTINGS)
    assert "yes" in rows.filter(has_text="planner.merge_count").inner_text()
    assert len(top1.locator(".plot").get_attribute("aria-label")) > 60


def test_a_line_says_its_values_under_the_pointer(visit, search, show):
    page = visit(search, width=1280).page
    part = drawn(page, show)
    points = part.locator("figure").first.locator(".scatterlayer .trace").last.locator(".point")
    tip = page.locator(".tip")
    for _ in range(40):  # on a busy machine the figure may still move after its points were found
        box = points.nth(2).bounding_box()
        page.mouse.move(box["x"], box["y"] - 40)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(250)
        if tip.is_visible():
            break
    tip.wait_for()
    assert all(name in tip.inner_text() for name in AXES)


def test_the_numbers_open_by_key(visit, search, show):
    page = visit(search).page
    summary = drawn(page, show).locator("details.data > summary").first
    summary.focus()
    page.keyboard.press("Enter")
    rows = page.locator("#search .numbers tbody tr")
    rows.last.wait_for()  # they are made once the fold has opened
    assert rows.count() == TRIALS


def test_on_paper_all_lines_are_drawn(visit, search):
    page = visit(search, width=700).page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(1500)
    part = page.locator("#search")
    assert part.locator("figure svg .scatterlayer path.js-line").count() >= 2
    assert part.locator("figure svg .barlayer path").count() == 2 * len(SETTINGS)
    assert not part.locator("details.data").first.is_visible()


def test_a_comparison_has_no_such_part(visit, tmp_path):
    for i in range(2):
        write_run(tmp_path / "runs" / str(i), name=str(i), method=("brecq", "qdrop")[i])
    page = visit(write_report([tmp_path / "runs"], tmp_path / "report.html")).page
    assert not page.locator("#search").is_visible()
    assert not page.locator("nav a[data-section=search]").is_visible()


def test_the_filter_leaves_lines_out(visit, sweep, show):
    """A grid of bits and merges is a search, too; its shares stay those of all runs."""
    page = visit(sweep).page
    part = drawn(page, show)
    before = part.locator("figure").nth(1).locator(".summary").inner_text()
    assert part.locator("figure").first.locator(".summary").inner_text().startswith("9 configurations")
    page.locator("#filter-box").get_by_label("W4A4").check(force=True)
    assert part.locator("figure").first.locator(".summary").inner_text().startswith("3 configurations")
    assert part.locator("figure").nth(1).locator(".summary").inner_text() == before
