"""What the reader can do: filter, hover, sort, choose, link, switch the colours, copy, print."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def figures(texts):
    """Numbers of a column, without units and marks."""
    return [float(text.replace("best:", "").split()[0].strip("★").replace("−", "-")) for text in texts]


def test_a_filter_acts_on_tables_charts_and_the_address(visit, sweep, show, until):
    page = visit(sweep).page
    box = page.locator("#filter-box")
    assert "All 18 runs" in box.inner_text()
    show(page, "tradeoff")
    points = "document.querySelectorAll('#tradeoff .point').length"
    before = page.evaluate(points)
    box.get_by_label("QDrop", exact=True).check(force=True)
    assert "12 of 18 runs" in box.inner_text()
    assert page.locator("#configurations .tables tbody tr").count() == 6
    box.get_by_label("W4A4").check(force=True)
    assert page.locator("#configurations .tables .panel").count() == 1
    assert "bits=W4A4" in page.url and "method=qdrop" in page.url
    until(page, f"{points} < {before}")
    assert page.locator("#oscillation .legend button").count() == 3
    page.get_by_role("button", name="Clear filter").click()
    assert page.locator("#configurations .tables tbody tr").count() == 9
    assert "bits=" not in page.url


def test_a_filter_that_leaves_nothing_says_so(visit, sweep):
    page = visit(sweep, "#result?bits=W4A4&method=brecq").page
    assert page.locator("#nothing").is_visible()
    assert page.locator("#oscillation .missing").first.is_visible()


def test_hover_tells_what_the_unit_is(visit, sweep, show):
    page = visit(sweep).page
    show(page, "oscillation")
    plot = page.locator("#oscillation .plot").first
    size = plot.bounding_box()
    plot.hover(position={"x": size["width"] * 0.5, "y": size["height"] * 0.4})
    page.wait_for_selector(".tip:visible")
    said = page.locator(".tip").inner_text()
    assert "features." in said
    for fact in ("Layers", "depthwise 3×3", "Parameters", "Stride", "Capacity", "ModCap", "QDrop"):
        assert fact in said
    page.mouse.move(5, 5)
    page.wait_for_selector(".tip", state="hidden")


def test_hover_tells_why_a_pair_is_merged(visit, sweep, show):
    page = visit(sweep).page
    show(page, "plan")
    page.evaluate("document.querySelector('#plan .plot').scrollIntoView({ block: 'center' })")
    bars = page.locator("#plan svg .subplot.xy2 .bars path")
    index = page.evaluate(
        "[...document.querySelectorAll('#plan svg .subplot.xy2 .bars path')]"
        ".reduce((best, bar, i, all) => bar.getBBox().height > all[best].getBBox().height ? i : best, 0)"
    )
    place = bars.nth(index).bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] * 0.6, steps=3)
    page.wait_for_selector(".tip:visible")
    assert "→" in page.locator(".tip").inner_text()
    assert page.locator("#plan .reasons li").count() == 4


@pytest.mark.parametrize(
    ("column", "place", "first"), [("Largest loss", 5, "ascending"), ("Top-1", 2, "ascending")]
)
def test_a_header_sorts_its_column(column, place, first, visit, sweep):
    page = visit(sweep).page
    table = page.locator("#configurations .tables table").first
    head = table.locator(f"thead th:nth-child({place})")
    head.get_by_role(
        "button", name=column
    ).click()  # top-1 stands sorted from the largest: the other way round
    assert head.get_attribute("aria-sort") == first
    values = figures(table.locator(f"tbody tr > :nth-child({place})").all_inner_texts())
    assert values == sorted(values)
    head.get_by_role("button", name=column).press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    values = figures(table.locator(f"tbody tr > :nth-child({place})").all_inner_texts())
    assert values == sorted(values, reverse=True)
    assert table.locator("[aria-sort]").count() == 1


def test_the_scale_switches(visit, sweep, show, until):
    page = visit(sweep).page
    show(page, "oscillation")
    ticks = "[...document.querySelectorAll('#oscillation .ytick text')].map((t) => t.textContent).join()"
    before = page.evaluate(ticks)
    page.locator("#oscillation").get_by_label("Log").check(force=True)
    until(page, f"{ticks} !== {before!r}")
    assert "scale=log" in page.url


def test_chips_show_and_hide_lines(visit, sweep, show, until):
    page = visit(sweep).page
    show(page, "oscillation")
    lines = "document.querySelectorAll('#oscillation .scatterlayer .points').length"
    before = page.evaluate(lines)
    chip = page.locator("#oscillation .legend button[aria-pressed=true]").first
    name = chip.inner_text()
    chip.click()
    until(page, f"{lines} < {before}")
    chip = page.locator("#oscillation .legend button").filter(has_text=name).first
    assert chip.get_attribute("aria-pressed") == "false"
    assert chip.evaluate("(e) => e === document.activeElement")
    assert page.locator("#curves .legend button[aria-pressed=false]").filter(has_text=name).count() >= 1


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_colours_follow_the_system_and_the_button(scheme, other, visit, sweep, show, until):
    page = visit(sweep, scheme=scheme).page
    show(page, "oscillation")
    look = (
        "[getComputedStyle(document.body).backgroundColor, "
        "document.querySelector('#oscillation .xtick text').style.fill, "
        "document.querySelector('#oscillation .scatterlayer .js-line').style.stroke].join()"
    )
    before = page.evaluate(look)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == other
    show(page, "oscillation")
    until(page, f"({look}).split(/,(?=rgb|#)/).every((v, i) => v !== {before!r}.split(/,(?=rgb|#)/)[i])")
    assert f"theme={other}" in page.url
    page.reload()
    page.wait_for_selector("html[data-ready=true]", state="attached")
    assert page.evaluate("document.documentElement.dataset.theme") == other


def test_a_link_leads_back_to_the_same_view(visit, sweep, until):
    address = "#plan?bits=W4A4&scale=log&against=merges&curve=total&axis=linear&theme=dark&run=r1"
    page = visit(sweep, address).page
    assert page.locator("#filter-box").get_by_label("W4A4").is_checked()
    assert page.locator("#oscillation").get_by_label("Log").is_checked()
    assert page.locator("#ablation").get_by_label("Merge count", exact=True).is_checked()
    assert page.locator("#curves").get_by_label("Total").is_checked()
    assert page.locator("#decisions select").input_value() == "r1"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    until(page, "Math.abs(document.getElementById('plan').getBoundingClientRect().top) < 120")
    assert "6 of 18 runs" in page.locator("#filter-box").inner_text()


def test_a_wrong_link_is_taken_for_what_is_right_in_it(visit, sweep):
    page = visit(
        sweep, "#nowhere?bits=W9A9&measure=x&place=n9.W1A1&run=r999&against=%3Cb%3E&colour=red&seed=1"
    ).page
    assert "9 of 18 runs" in page.locator("#filter-box").inner_text()
    assert page.locator("[role=alert]:visible").count() == 0


def test_sections_are_linked_and_go_into_the_history(visit, sweep):
    page = visit(sweep).page
    page.get_by_role("link", name="Changed decisions").click()
    assert "#decisions" in page.url
    assert page.evaluate("document.activeElement.id") == "decisions-title"
    page.go_back()
    assert "#decisions" not in page.url


def test_a_command_is_copied(visit, sweep, until):
    page = visit(sweep).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("#provenance .copy").first
    command = page.locator("#provenance .command pre").first.inner_text()
    button.click()
    until(page, "document.querySelector('#provenance .copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_a_chart_is_saved_as_a_picture(visit, sweep, show, tmp_path):
    page = visit(sweep).page
    show(page, "oscillation")
    for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            page.locator("#oscillation .downloads").first.get_by_text(kind).click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        assert file.name == f"error-after-every-unit.{kind.lower()}"
        assert file.read_bytes().startswith(start)


def test_paper_is_light_says_what_it_shows_and_has_every_curve(visit, sweep):
    page = visit(sweep, scheme="dark").page
    page.locator("#curves summary").first.click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate(
        "[...document.querySelectorAll('#curves figure.small')].every((f) => f.querySelector('svg path'))"
    )
    page.emulate_media(media="print")
    for hidden in ("nav", "#filter-box", ".downloads", "#theme", ".controls", ".segments", ".picker"):
        assert page.locator(f"{hidden}:visible").count() == 0
    # What the pickers had chosen is on the paper, and so are the keys with their colours.
    assert "→" in page.locator("#result .pair").inner_text()
    assert page.locator("#result .key").is_visible() and page.locator("#decisions .key").is_visible()
    exact = "(e) => getComputedStyle(e).printColorAdjust"
    assert page.locator("#decisions .patch").first.evaluate(exact) == "exact"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.pdf(format="A4").startswith(b"%PDF")
