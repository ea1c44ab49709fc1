"""Who uses a keyboard, a screen reader, a phone or a large screen; and that nothing can leave the page."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

BUILD = Path(__file__).parents[2] / "build" / "screenshots"

TABBABLE = """() => {
  const seen = (e) => e.getClientRects().length > 0 && e.checkVisibility({ visibilityProperty: true });
  const kinds = 'a[href], button, input, select, summary, [tabindex="0"]';
  const all = [...document.querySelectorAll(kinds)].filter(seen);
  const groups = new Set();
  return all.filter((e) => {
    if (e.type !== 'radio') return true;
    if (groups.has(e.name)) return false;
    groups.add(e.name);
    return true;
  }).length;
}"""


def violations(page):
    found = Axe().run(page).response["violations"]
    return [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(scheme, width, visit, sweep, show):
    page = visit(sweep, scheme=scheme, width=width).page
    for section in ("result", "oscillation", "plan", "shares", "decisions"):
        show(page, section)
    for details in page.locator("details:not([open]) > summary").all():
        if details.is_visible():
            details.evaluate("(e) => e.click()")
    assert violations(page) == []
    page.locator("#curves figure.small button").first.evaluate("(e) => e.click()")
    page.wait_for_selector("dialog[open] svg path", state="attached")
    assert violations(page) == []


def test_the_keyboard_reaches_every_control(visit, sweep):
    page = visit(sweep).page
    expected = page.evaluate(TABBABLE)
    page.evaluate("document.activeElement.blur(); window.reached = new Set(); window.unseen = []")
    for _ in range(expected + 20):
        page.keyboard.press("Tab")
        ended = page.evaluate(
            """() => {
              const e = document.activeElement;
              if (e === document.body || window.reached.has(e)) return true;
              window.reached.add(e);
              const style = getComputedStyle(e.matches('.check input, .segments input') ? e.nextSibling : e);
              const ring = style.outlineStyle !== 'none' || style.textDecorationLine === 'underline';
              if (!ring) window.unseen.push(e.outerHTML.slice(0, 120));
              return false;
            }"""
        )
        if ended:
            break
    assert page.evaluate("window.reached.size") >= expected
    assert page.evaluate("window.unseen") == []


def test_controls_work_by_key(visit, sweep):
    page = visit(sweep).page
    page.locator("#filter-box").get_by_label("W4A4").focus()
    page.keyboard.press("Space")
    assert "bits=W4A4" in page.url
    page.locator("#oscillation").get_by_label("Linear", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert "scale=log" in page.url
    page.locator("#oscillation .legend button").first.focus()
    page.keyboard.press("Enter")
    assert "shown=" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1920])
def test_it_fits_every_width(scheme, width, visit, sweep):
    page = visit(sweep, scheme=scheme, width=width, height=1000).page
    for figure in page.locator("figure.chart:not(.small)").all():
        figure.evaluate("(e) => e.scrollIntoView()")
        page.wait_for_timeout(60)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = page.evaluate(
        "[...document.querySelectorAll('figure .plot')].filter((p) => p.firstElementChild && "
        "p.firstElementChild.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert too_wide == 0
    BUILD.mkdir(parents=True, exist_ok=True)
    page.evaluate("scrollTo(0, 0)")
    # Everything on one picture: what is out of sight gives its drawing up, so the window is made tall.
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(height, 12_000)})
    page.wait_for_timeout(1500)
    file = BUILD / f"report-{width}-{scheme}.png"
    page.screenshot(path=file, full_page=True)
    assert file.stat().st_size > 50_000


def test_small_letters_are_large_enough(visit, sweep, show):
    page = visit(sweep, width=390).page
    show(page, "oscillation")
    sizes = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((e) => e.children.length === 0 "
        "&& e.textContent.trim() && e.getClientRects().length && !['SCRIPT', 'STYLE'].includes(e.tagName))"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 10


def test_nothing_can_leave_the_page(browser, sweep):
    page = browser.new_page()
    ended = {}
    page.on("response", lambda response: ended.setdefault(response.url, "answered"))
    page.on("requestfailed", lambda request: ended.setdefault(request.url, request.failure))
    page.goto(sweep.as_uri())
    page.wait_for_selector("html[data-ready=true]", state="attached")
    with pytest.raises(Error, match="fetch"):
        page.evaluate("fetch('https://example.org/')")
    page.evaluate("""() => {
      const image = new Image(); image.src = 'https://example.org/a.png'; document.body.append(image);
      const script = document.createElement('script');
      script.textContent = 'window.foreign = 1';
      document.body.append(script);
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("window.foreign") is None
    assert {ended[url] for url in ended if "example.org" in url} == {"csp"}
    page.close()


def test_the_page_says_when_it_was_there(visit, sweep):
    page = visit(sweep).page
    marks = page.evaluate("performance.getEntriesByType('mark').map((m) => m.name)")
    assert marks == ["headline", "figure"]
