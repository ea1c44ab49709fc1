"""The site is built strictly, shows what is elsewhere in the repository, and its search needs no network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_every_page_is_built_and_asks_nothing_of_a_network(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 35
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"([^\"]+)\"", page.read_text())
        loaded += re.findall(
            r"<link\b[^>]*rel=\"(?:stylesheet|preload)\"[^>]*href=\"([^\"]+)\"", page.read_text()
        )
        assert not [link for link in loaded if re.match(r"(https?:)?//", link)], page


def test_files_of_the_repository_are_pages_and_their_links_lead_to_pages(site: Path) -> None:
    contributing = (site / "development" / "contributing.html").read_text()
    assert "make test-all" in contributing and 'href="architecture.html"' in contributing
    assert "brecq_vs_mrecg" in (site / "how-to" / "sweeps.html").read_text()
    assert "mrecg.quantize" in (site / "reference" / "python-api.html").read_text()


def test_pages_that_are_opened_from_their_files_are_searched(site: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "how-to" / "python.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("granularity")
    found = page.locator(".md-search a", has_text="Granularity and planners").first
    found.wait_for(timeout=30_000)
    found.click()
    page.wait_for_url("**/concepts/granularity-and-planners.html*")
    page.close()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
