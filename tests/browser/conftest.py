"""A real Chromium opens the page from its file."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from run_folders import MERGED, UNITS, write_failed, write_run

from mrecg.report import write_report

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000
"""A page is there in two seconds; a machine that does other work beside may need far more."""


@dataclass
class Watched:
    """A page and what it did behind our back."""

    page: Page
    file: Path
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


# Not for the session: what other tests start meanwhile would inherit the driver's pipe and keep it open.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        reason = "no chromium on this machine: install it, or name it by the environment variable CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> Path:
    """Two methods, two pairs of bit widths, block-wise and two merge counts, two seeds; one run failed."""
    root = tmp_path_factory.mktemp("sweep")
    number = 0
    for bits, methods in (((2, 4), ("brecq", "qdrop")), ((4, 4), ("qdrop",))):
        for method in methods:
            for merged in ((), MERGED[:1], MERGED):
                for seed in (0, 1):
                    folder = root / "runs" / str(number)
                    level = (1.2 if method == "brecq" else 1.0) * (1.0 if bits[0] == 2 else 0.4)
                    write_run(
                        folder,
                        name=f"{method}-{len(merged)}-{seed}",
                        method=method,
                        merged=merged,
                        seed=seed,
                        bits=bits,
                        level=level,
                        kept=500,
                        seconds=80.0 + 10 * len(merged),
                        summary_extra={"evaluation_errors": [0.5 + 0.01 * i for i in range(len(UNITS))]},
                    )
                    number += 1
    write_failed(root / "runs" / str(number), error="out of memory")
    return write_report([root / "runs"], root / "report.html")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    """Names that would be markup, markup of Plotly, or lines of their own."""
    root = tmp_path_factory.mktemp("hostile")
    units = ("<b>bold", "<img src=x onerror=p=1>", "a\nb", "\"quoted\" & 'so'", "%{x}", *UNITS[5:])
    evil = "</script><script>pwned=1</script>"
    for i, merged in enumerate(((), (units[:2],))):
        folder = root / "runs" / str(i)
        write_run(
            folder, name=evil, units=units, merged=merged, model="<i>net</i>", method="<u>m</u>", kept=100
        )
    write_failed(root / "runs" / "9", name="<b>failed</b>", error="line 1\nline <2>")
    return write_report([root / "runs"], root / "report.html")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Open a page; at the end nothing may have been asked for, and the console must be clean."""
    opened: list[Watched] = []

    def open_page(
        file: Path, address: str = "", *, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        watched = Watched(page, file)
        page.on("console", lambda message: watched.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: watched.said.append(f"error: {error}"))
        page.on("request", lambda request: watched.asked.append(request.url))
        page.goto(f"{file.as_uri()}{address}")
        page.wait_for_selector("html[data-ready=true]", state="attached")
        opened.append(watched)
        return watched

    yield open_page
    for watched in opened:
        watched.page.context.close()
    for watched in opened:
        own = watched.file.as_uri()
        assert [url for url in watched.asked if not url.startswith((own, "data:", "blob:"))] == []
        assert watched.said == []


def wait_until(page: Page, expression: str) -> None:
    """Wait for an expression to become true; Playwright's own waiting needs eval, which the page forbids."""
    for _ in range(PATIENCE_MS // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it did not come to {expression}")


@pytest.fixture(scope="session")
def until() -> Callable[[Page, str], None]:
    """Wait for an expression to become true."""
    return wait_until


@pytest.fixture
def show() -> Callable[..., None]:
    """Bring a panel into view and wait until it is drawn."""

    def bring(page: Page, section: str) -> None:
        page.evaluate(f"document.querySelectorAll('#{section} figure').forEach((f) => f.scrollIntoView())")
        page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
        wait_until(
            page, f"document.querySelector('#{section} .plot :is(.scatterlayer, .barlayer) path') !== null"
        )

    return bring
