"""Every panel draws, from whatever runs there are."""

import re

import pytest
from run_folders import UNITS, write_failed, write_run

from mrecg.report import write_report
from mrecg.runs import metrics

pytestmark = pytest.mark.xdist_group("browser")

DRAWN = {
    "oscillation": 1,
    "plan": 1,
    "ablation": 3,
    "tradeoff": 1,
    "decisions": 3,
}
"""Charts of each panel of the sweep; its sizes are equal, so accuracy against size is told, not drawn."""

SHAPES = ".scatterlayer path, .barlayer path"


def test_every_panel_draws(visit, sweep, until):
    page = visit(sweep).page
    for section, charts in DRAWN.items():
        figures = page.locator(f"#{section} figure.chart:not(.blank)")
        for i in range(figures.count()):
            figures.nth(i).scroll_into_view_if_needed()
            figure = f"document.querySelectorAll('#{section} figure.chart:not(.blank)')[{i}]"
            until(page, f"{figure}.querySelector('{SHAPES}') !== null")
        assert figures.count() >= charts, section
    assert page.locator("#provenance .command pre").count() >= 2


@pytest.mark.slow
def test_every_chart_has_words_and_numbers(visit, sweep):
    page = visit(sweep).page
    figures = page.locator("figure.chart:not(.small):not(.blank)")
    assert figures.count() >= sum(DRAWN.values())
    for i in range(figures.count()):
        figure = figures.nth(i)
        assert len(figure.locator(".summary").inner_text()) > 15
        assert len(figure.locator(".plot").get_attribute("aria-label")) > 25
        figure.locator("details.data > summary").click()
        figure.locator("details.data tbody tr").first.wait_for()


@pytest.mark.slow
def test_the_table_holds_every_configuration_and_marks_the_best(visit, sweep):
    page = visit(sweep).page
    tables = page.locator("#headline .tables .panel")
    assert tables.count() == 2
    assert sum(tables.nth(i).locator("tbody tr").count() for i in range(2)) == 9
    for i in range(2):
        shares = [
            float(t.split("%")[0].replace("best:", "").strip("★ \u202f\n"))
            for t in tables.nth(i).locator("tbody tr > :nth-child(3)").all_inner_texts()
        ]
        assert shares == sorted(shares, reverse=True)
        assert "best" in tables.nth(i).locator("tbody tr > :nth-child(3)").first.get_attribute("class")
        assert "500 images" in tables.nth(i).locator(".basis").inner_text()
    assert page.locator("#headline .card").count() == 4
    assert "paired" in page.locator("#headline .card").first.inner_text()


@pytest.mark.slow
def test_merged_units_are_shaded_and_spikes_have_names(visit, sweep, show):
    page = visit(sweep).page
    show(page, "oscillation")
    assert page.locator("#oscillation svg .shapelayer path").count() >= 6
    labels = page.locator("#oscillation svg .annotation-text").all_text_contents()
    assert any(re.match(r"features\.\d+ ", text) for text in labels)
    assert "3+4" in labels
    ticks = page.locator("#oscillation svg .xtick text").all_text_contents()
    assert ticks == list(UNITS)


@pytest.mark.slow
def test_curves_are_drawn_when_seen_and_open_by_enter(visit, sweep, until):
    page = visit(sweep, width=1000, height=700).page
    small = page.locator("#curves figure.small")
    assert small.count() > 20
    figures = "[...document.querySelectorAll('#curves figure.small')]"
    drawn = f"{figures}.filter((f) => f.querySelector('svg path')).length"
    assert page.evaluate(drawn) < small.count() / 2
    small.first.scroll_into_view_if_needed()
    until(page, f"{drawn} > 0")
    opener = small.first.locator("button")
    opener.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] svg .scatterlayer path", state="attached")
    title = page.locator("dialog h2").inner_text()
    page.locator("dialog").get_by_label("Next group").click()
    assert page.locator("dialog h2").inner_text() != title
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert opener.evaluate("(e) => e === document.activeElement")


@pytest.mark.slow
def test_smoothing_and_quantities_redraw_the_curves(visit, sweep, until):
    page = visit(sweep).page
    figure = page.locator("#curves figure.small").nth(3)
    figure.scroll_into_view_if_needed()
    third = "document.querySelectorAll('#curves figure.small')[3]"
    line = f"{third}.querySelector('path.js-line')?.getAttribute('d')"
    until(page, f"Boolean({line})")
    before = page.evaluate(line)
    page.locator("#curves input[type=range]").evaluate(
        "(e) => { e.value = '0.9'; e.dispatchEvent(new Event('input')); }"
    )
    until(page, f"{line} !== {before!r}")
    before = page.evaluate(line)
    page.locator("#curves").get_by_label("Total").check(force=True)
    until(page, f"{line} !== {before!r}")
    assert "smooth=0.9" in page.url and "curve=total" in page.url


@pytest.mark.slow
def test_what_does_not_vary_is_said(visit, sweep):
    page = visit(sweep).page
    page.locator("#ablation").get_by_label("Planner").check(force=True)
    assert page.locator("#ablation svg").count() > 0
    page.locator("#filter-box").get_by_label("block", exact=True).check(force=True)
    said = page.locator("#ablation .missing").first.inner_text()
    assert "All runs here have the same planner" in said and "mrecg quantize -m" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "failed", "not evaluated", "nothing optimised"])
def test_poor_sets_of_runs_have_a_page(kind, visit, tmp_path):
    if kind == "failed":
        write_failed(tmp_path / "run", error="out of memory")
    else:
        write_run(
            tmp_path / "run",
            method="rtn" if kind == "nothing optimised" else "qdrop",
            evaluated=kind != "not evaluated",
        )
    page = visit(write_report([tmp_path / "run"], tmp_path / "report.html")).page
    assert page.locator("[role=alert]:visible").count() == 0
    assert page.locator("main > section").count() == 8
    if kind == "failed":
        assert "out of memory" in page.locator("#provenance").inner_text()
    else:
        assert page.locator("#headline tbody tr").count() == 1


@pytest.mark.slow
def test_names_are_shown_as_they_are(visit, hostile, show):
    page = visit(hostile).page
    show(page, "oscillation")
    assert page.locator("h1").inner_text() == "<i>net</i> on digits"
    ticks = page.locator("#oscillation svg .xtick text").all_text_contents()
    assert ticks[:5] == ["<b>bold", "<img src=x onerror=p=1>", "a b", "\"quoted\" & 'so'", "%{x}"]
    assert page.locator("#headline .legend, #oscillation .legend").first.inner_text().count("<u>m</u>") == 2
    page.locator("#oscillation details.data > summary").click()
    page.locator("#oscillation tbody tr").first.wait_for()
    assert "<img src=x onerror=p=1>" in page.locator("#oscillation tbody").inner_text()
    page.locator("#headline .every > summary").click()
    page.locator("#headline .every tbody tr").first.wait_for()
    assert "</script><script>pwned=1</script>" in page.locator("#headline .every").inner_text()
    assert "line <2>" in page.locator("#provenance").inner_text()
    page.locator("#oscillation .plot").scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # scrolling takes a tooltip away
    page.locator("#oscillation .plot").hover(position={"x": 220, "y": 200})
    page.wait_for_selector(".tip:visible")
    assert page.evaluate("window.pwned ?? window.p ?? null") is None
    assert page.locator("main img, main u, main svg a, .tip img").count() == 0


@pytest.mark.slow
def test_a_panel_takes_a_script_and_an_entry(monkeypatch, tmp_path, sweep, browser):
    from mrecg.report.page import write

    real = write.asset
    script = 'panels.greeting = () => fill(byId("greeting-body"), h("p", {}, "drawn by its own script"));\n'
    monkeypatch.setattr(write, "SECTIONS", (*write.SECTIONS, ("greeting", "Greeting", "From outside.")))
    monkeypatch.setattr(write, "SCRIPTS", (*write.SCRIPTS[:-1], "greeting", "main"))
    monkeypatch.setattr(write, "asset", lambda name: script if name == "js/greeting.js" else real(name))
    write.write_report([sweep.parent / "runs"], tmp_path / "page.html")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#greeting-body") == "drawn by its own script"
    assert page.locator("nav a[data-section=greeting]").count() == 1


@pytest.mark.slow
def test_a_metric_that_is_added_has_a_column_in_both_tables(visit, tmp_path, monkeypatch):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), seed=seed)
    energy = metrics.Metric(
        key="energy", title="Energy", format="count", get=lambda run: 1000 + 500 * run.seed
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, energy))
    page = visit(write_report([tmp_path], tmp_path / "report.html")).page
    table = page.locator("#headline .tables .panel")
    assert table.locator("thead th").last.inner_text() == "Energy"
    assert "1,250" in table.locator("tbody tr > :last-child").inner_text()
    page.locator("#headline .every > summary").click()
    rows = page.locator("#headline .every tbody tr")
    rows.first.wait_for()
    assert "Energy" in page.locator("#headline .every thead").inner_text()
    assert ["1,000" in rows.first.inner_text(), "1,500" in rows.last.inner_text()] == [True, True]
