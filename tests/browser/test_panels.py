"""Every panel draws, from whatever runs there are."""

import json
import re

import pytest
from run_folders import MERGED, UNITS, write_failed, write_run

from mrecg.report import load_run, write_report
from mrecg.runs import metrics

pytestmark = pytest.mark.xdist_group("browser")

DRAWN = {
    "result": 1,
    "oscillation": 2,
    "plan": 1,
    "ablation": 3,
    "tradeoff": 1,
    "shares": 2,
    "decisions": 3,
}
"""Charts of each panel of the sweep, also of those out of sight.

Its sizes are equal, so accuracy against size is told, not drawn.
"""

SHAPES = ".scatterlayer path, .barlayer path"


def test_every_panel_draws(visit, sweep, until):
    page = visit(sweep).page
    for section, charts in DRAWN.items():
        figures = page.locator(f"#{section} figure.chart:not(.blank)")
        for i in range(figures.count()):
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
    tables = page.locator("#configurations .tables .panel")
    assert tables.count() == 2
    assert sum(tables.nth(i).locator("tbody tr").count() for i in range(2)) == 9
    for i in range(2):
        shares = [
            float(t.split("%")[0].replace("best:", "").strip("★ \u202f\n"))
            for t in tables.nth(i).locator("tbody tr > :nth-child(2)").all_inner_texts()
        ]
        assert shares == sorted(shares, reverse=True)
        assert "best" in tables.nth(i).locator("tbody tr > :nth-child(2)").first.get_attribute("class")
        assert "500 images" in tables.nth(i).locator(".basis").inner_text()
    assert page.locator("#result .card").count() == 5
    assert "paired" in page.locator("#result .card").first.inner_text()


@pytest.mark.slow
def test_merged_units_are_shaded_and_spikes_have_names(visit, sweep, show):
    page = visit(sweep).page
    show(page, "oscillation")
    assert page.locator("#oscillation svg .shapelayer path").count() >= 6
    labels = page.locator("#oscillation svg .annotation-text").all_text_contents()
    assert any(re.match(r"features\.\d+ ", text) for text in labels)
    assert "3+4" in labels
    ticks = page.locator("#oscillation figure").first.locator(".xtick text").all_text_contents()
    assert ticks == [name.removeprefix("features.") for name in UNITS]


@pytest.mark.slow
def test_errors_on_evaluation_images_are_one_choice_away(visit, sweep, hostile, show):
    page = visit(sweep).page
    show(page, "oscillation")
    words = page.locator("#oscillation figure .summary").first
    assert "largest 0.690 after classifier, 0.690 at the end" not in words.inner_text()
    page.locator("#oscillation").get_by_label("Evaluation", exact=True).check(force=True)
    assert "on evaluation images" in words.inner_text()
    assert "largest 0.690 after classifier, 0.690 at the end" in words.inner_text()
    assert "images=evaluation" in page.url
    # Runs that have none, as old ones, are not asked.
    assert visit(hostile).page.locator("#oscillation").get_by_label("Evaluation", exact=True).count() == 0


@pytest.mark.slow
def test_curves_are_drawn_when_seen_and_open_by_enter(visit, sweep, until):
    page = visit(sweep, width=1000, height=700).page
    page.locator("#curves summary").first.click()
    small = page.locator("#curves figure.small")
    assert small.count() == len(UNITS)
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
    page.locator("#curves summary").first.click()
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
def test_what_does_not_vary_is_not_offered(visit, sweep, tmp_path):
    page = visit(sweep).page
    assert page.locator("#ablation .segments label:visible").all_inner_texts() == [
        "Merge count", "Bits", "Planner", "Method",
    ]  # fmt: skip
    page.locator("#filter-box").get_by_label("W4A4").check(force=True)
    page.locator("#filter-box").get_by_label("block-wise", exact=True).check(force=True)
    assert not page.locator("#ablation").is_visible()
    assert not page.locator("nav a[data-section=ablation]").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_answers(scheme, visit, sweep, until):
    """Who wins, five cards, the figure and what each merge gained: all on a screen of usual size."""
    page = visit(sweep, width=1440, height=1080, scheme=scheme).page
    until(page, "document.querySelector('#result .barlayer path') !== null")
    ledger = page.locator("#result .ledger").bounding_box()
    assert ledger["y"] + ledger["height"] <= 1080
    assert re.match(r"W2A4: MRECG \+ (BRECQ|QDrop)", page.locator("#result .headline").inner_text())
    titles = [text.split("\n")[0] for text in page.locator("#result .card-title").all_inner_texts()]
    assert titles == ["Top-1", "Error into head", "Largest loss", "Grows back", "Cost"]
    assert not any(mark in page.locator("#result .cards").inner_text() for mark in "▲▼")
    assert page.locator("#result .ledger li").count() == 3
    bars = page.locator("#result .barlayer .point path")
    assert bars.count() == len(UNITS)
    assert page.locator("#result .fills path").count() >= 1
    labels = page.locator("#result svg .annotation-text").all_text_contents()
    assert {"3+4", "6+7", "10+11+12"} <= set(labels) and any("%" in text for text in labels)


@pytest.mark.slow
def test_another_comparison_changes_the_whole_screen(visit, sweep, until):
    page = visit(sweep).page
    until(page, "document.querySelector('#result .barlayer path') !== null")
    before = [page.locator(f"#result {part}").inner_text() for part in (".headline", ".cards", ".ledger")]
    picker = page.locator("#result select")
    other = next(
        one for one in picker.locator("option").all()
        if one.get_attribute("value") != picker.input_value() and "1 merge" in one.inner_text()
    )  # fmt: skip
    name = other.inner_text().split(" → ")[1]
    picker.select_option(other.get_attribute("value"))
    after = [page.locator(f"#result {part}").inner_text() for part in (".headline", ".cards", ".ledger")]
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert name in after[0] and "pair=" in page.url
    assert page.locator("#result .ledger li").count() == 1


@pytest.mark.slow
def test_without_a_pair_the_command_of_the_missing_run_is_there(visit, tmp_path):
    write_run(tmp_path / "run", merged=MERGED)
    page = visit(write_report([tmp_path / "run"], tmp_path / "report.html")).page
    command = page.locator("#result .command pre").inner_text()
    assert command.startswith("mrecg quantize ") and "granularity=block" in command
    assert "This command makes the missing run:" in page.locator("#result").inner_text()
    assert page.locator("#result .copy").is_visible() and page.locator("#result .card").count() == 5


@pytest.mark.slow
def test_a_sweep_over_merges_has_a_heat_map_and_shades_of_one_hue(visit, tmp_path, until):
    for k in range(4):
        merged = MERGED[:k]
        write_run(tmp_path / str(k), merged=merged, granularity="mixed")
    page = visit(write_report([tmp_path], tmp_path / "report.html")).page
    page.locator("#oscillation figure").nth(1).scroll_into_view_if_needed()
    until(page, "document.querySelector('#oscillation .heatmaplayer image') !== null")
    names = page.locator("#oscillation figure").nth(1).locator(".ytick text").all_text_contents()
    assert sorted(names) == ["1 merge", "2 merges", "4 merges"]
    assert "QDrop" in page.locator("#result .headline").inner_text()
    strokes = page.evaluate(
        "[...document.querySelectorAll('#configurations .swatch path:first-child')]"
        ".map((p) => p.getAttribute('stroke'))"
    )
    assert len(set(strokes)) == 4 and sum("--k1" in one or "--k2" in one for one in strokes) >= 3


@pytest.mark.slow
def test_the_heat_map_compares_common_seeds_once_each(visit, tmp_path):
    """A seed that only one side has, and a run that was repeated, change nothing."""
    for name, seed, level, merged in (
        *(("b0", 0, 1.0, ()), ("b1", 1, 5.0, ()), ("m0", 0, 1.0, MERGED), ("m2", 2, 3.0, MERGED)),
        ("a0", 0, 9.0, MERGED),  # of the seed of m0, and older by its name
        *(("x", 0, 1.0, MERGED[:1]), ("y", 0, 1.0, MERGED[:2])),  # there is a map of three rows or more
    ):
        write_run(tmp_path / name, seed=seed, level=level, merged=merged)
    page = visit(write_report([tmp_path], tmp_path / "report.html")).page
    (block, merged) = (load_run(tmp_path / name).errors for name in ("b0", "m0"))
    heat = page.locator("#oscillation figure").nth(1)
    heat.scroll_into_view_if_needed()
    heat.locator("details.data > summary").click()
    heat.locator("tbody tr").first.wait_for()
    cells = heat.locator("tbody tr > :last-child").all_inner_texts()
    shown = [float(cell.split("\u202f")[0].replace("−", "-")) for cell in cells]
    assert shown == pytest.approx([100 * (b / a - 1) for a, b in zip(block, merged, strict=True)], abs=0.06)


@pytest.mark.slow
def test_shares_without_a_loss_are_not_shown(visit, tmp_path):
    """A floor alone does not say how an error divides."""
    folder = write_run(tmp_path / "run", merged=MERGED)
    summary = json.loads((folder / "summary.json").read_text())
    for unit in summary["units"]:
        unit["loss"] = 0.0
    (folder / "summary.json").write_text(json.dumps(summary))
    page = visit(write_report([folder], tmp_path / "report.html")).page
    assert not page.locator("#shares").is_visible()
    assert page.locator("[role=alert]:visible").count() == 0


@pytest.mark.slow
def test_columns_that_say_the_same_of_all_are_left_out(visit, tmp_path):
    for k in range(2):
        write_run(tmp_path / str(k), merged=MERGED[:k])
    page = visit(write_report([tmp_path], tmp_path / "report.html")).page
    heads = page.locator("#configurations thead th").all_inner_texts()
    assert heads[:3] == ["Configuration", "Top-1", "To block"]
    assert "Merges" in heads and not {"Seeds", "Size"} & set(heads)
    assert "142 kB each" in page.locator("#configurations .basis").inner_text().replace("\u202f", " ")


@pytest.mark.slow
def test_merged_groups_and_their_last_units_share_a_panel(visit, tmp_path, until):
    for i, method in enumerate(("brecq_joint", "qdrop")):
        for k in range(2):
            write_run(tmp_path / f"{i}{k}", method=method, merged=MERGED[:k])
    page = visit(write_report([tmp_path], tmp_path / "report.html")).page
    assert not page.locator("#curves figure.small").first.is_visible()
    page.locator("#curves summary").first.click()
    titles = page.locator("#curves figure.small .chart-title").all_inner_texts()
    assert titles[3:5] == ["features.3", "features.4 (3+4)"] and len(titles) == len(UNITS)
    figure = page.locator("#curves figure.small").nth(4)
    figure.scroll_into_view_if_needed()
    lines = "document.querySelectorAll('#curves figure.small')[4].querySelectorAll('path.js-line').length"
    # Of one method: a line for each configuration; for QDrop, whose losses drop activations, no floors.
    page.locator("#curves").get_by_label("Method").select_option("qdrop")
    until(page, f"{lines} === 2")
    page.locator("#curves").get_by_label("Method").select_option("brecq_joint")
    until(page, f"{lines} === 4")
    ticks = page.evaluate(
        "[...document.querySelectorAll('#curves figure.small')].filter((f) => f.querySelector('svg'))"
        ".map((f) => f.querySelectorAll('.ytick text').length)"
    )
    assert ticks and min(ticks) >= 2


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
    assert page.locator("main > section").count() == 13
    if kind == "failed":
        assert "out of memory" in page.locator("#provenance").inner_text()
    else:
        assert page.locator("#configurations tbody tr").count() == 1


@pytest.mark.slow
def test_names_are_shown_as_they_are(visit, hostile, show):
    page = visit(hostile).page
    show(page, "oscillation")
    assert page.locator("h1").inner_text() == "<i>net</i> on digits"
    ticks = page.locator("#oscillation figure").first.locator(".xtick text").all_text_contents()
    assert ticks[:5] == ["<b>bold", "<img src=x onerror=p=1>", "a b", "\"quoted\" & 'so'", "%{x}"]
    assert page.locator("#oscillation .legend").first.inner_text().count("<u>m</u>") == 2
    page.locator("#oscillation details.data > summary").first.click()
    page.locator("#oscillation tbody tr").first.wait_for()
    assert "<img src=x onerror=p=1>" in page.locator("#oscillation tbody").first.inner_text()
    page.locator("#configurations .every > summary").click()
    page.locator("#configurations .every tbody tr").first.wait_for()
    assert "</script><script>pwned=1</script>" in page.locator("#configurations .every").inner_text()
    assert "line <2>" in page.locator("#provenance").inner_text()
    page.locator("#oscillation .plot").first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # scrolling takes a tooltip away
    page.locator("#oscillation .plot").first.hover(position={"x": 220, "y": 200})
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
    table = page.locator("#configurations .tables .panel")
    assert table.locator("thead th").last.inner_text() == "Energy"
    assert "1,250" in table.locator("tbody tr > :last-child").inner_text()
    page.locator("#configurations .every > summary").click()
    rows = page.locator("#configurations .every tbody tr")
    rows.first.wait_for()
    assert "Energy" in page.locator("#configurations .every thead").inner_text()
    assert ["1,000" in rows.first.inner_text(), "1,500" in rows.last.inner_text()] == [True, True]
