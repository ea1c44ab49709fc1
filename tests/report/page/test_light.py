"""The page of a job: small, without scripts, and as careful with names."""

import re
from html.parser import HTMLParser

import pytest

from mrecg.report import write_report

KB = 1000
VOID = {"meta", "br", "img"}


class Reader(HTMLParser):
    """Collects elements, and checks that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.stack, self.elements = [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.stack == []
    return reader.elements


@pytest.fixture
def page(tmp_path, folders):
    run = folders.write_run(tmp_path / "3-mine", name="mine", merged=folders.merged, kept=500)
    return write_report([run], run / "report.html", light=True).read_text()


def test_it_is_small_and_has_no_script(page):
    elements = read(page)
    assert len(page.encode()) < 200 * KB
    assert not [tag for tag, _ in elements if tag in ("script", "link", "iframe", "object", "form")]
    policy = next(a["content"] for _, a in elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "script-src" not in policy and policy.startswith("default-src 'none';")
    assert all(a["src"].startswith("data:image/svg+xml;base64,") for tag, a in elements if tag == "img")
    assert not any(set(a) & {"style", "onclick", "href"} for _, a in elements)


def test_it_has_result_pictures_curves_and_settings(page):
    elements = read(page)
    assert len([a for tag, a in elements if tag == "img"]) == 2
    curves = [a for tag, a in elements if tag == "svg" and a.get("role") == "img"]
    assert len(curves) == 16 and all("loss" in a["aria-label"] for a in curves)
    assert "Top-1 is" in page and "name: mine" in page and "2.11.0" in page
    paths = re.findall(r'<path d="(M[^"]*)"/>', page)
    assert len([p for p in paths if re.fullmatch(r"M[\d. L-]+", p)]) >= 16


def test_it_names_the_command_of_the_full_page(tmp_path, folders):
    run = folders.write_run(tmp_path / "with space")
    page = write_report([run], run / "report.html", light=True).read_text()
    assert f"mrecg report &#39;{run}&#39;" in page


def test_names_are_escaped(tmp_path, folders):
    evil = "</pre><script>alert(1)</script>"
    units = ("a<script>", "b\"'&<b>", *folders.units[2:])
    run = folders.write_run(tmp_path / "run", name=evil, units=units, method=evil, model=evil)
    page = write_report([run], tmp_path / "report.html", light=True).read_text()
    assert "<script" not in page
    read(page)


def test_equal_runs_give_equal_pages(tmp_path, folders):
    run = folders.write_run(tmp_path / "run")
    first, second = (
        write_report([run], tmp_path / name, light=True).read_bytes() for name in ("a.html", "b.html")
    )
    assert first == second


def test_a_failed_run_and_one_without_curves_have_a_page(tmp_path, folders):
    failed = folders.write_failed(tmp_path / "failed", error="out of memory")
    page = write_report([failed], tmp_path / "a.html", light=True).read_text()
    assert "out of memory" in page and "<img" not in page
    plain = folders.write_run(tmp_path / "rtn", method="rtn")
    page = write_report([plain], tmp_path / "b.html", light=True).read_text()
    assert "<img" in page and "Loss curves" not in page


def test_values_that_are_no_numbers_are_drawn_around(tmp_path, folders):
    run = folders.write_run(tmp_path / "run")
    (run / "curves" / "features.0.csv").write_text("step,reconstruction\n0,inf\n1,\n2,0\n")
    (run / "curves" / "features.1.csv").write_text("step,reconstruction\n0,3\n")
    page = write_report([run], tmp_path / "a.html", light=True).read_text()
    assert "nan" not in "".join(re.findall(r' d="([^"]*)"', page))
    assert "features.1: loss 3 at the start, 3 at the end" in page and "features.0: loss" not in page


def test_several_runs_have_a_table_and_one_picture(runs_root, tmp_path):
    page = write_report([runs_root], tmp_path / "a.html", light=True).read_text()
    assert len(page.encode()) < 200 * KB
    assert page.count("<img") == 1 and page.count("<tr>") == 10


def test_the_picture_is_told_by_what_it_shows(page):
    (picture,) = [a["alt"] for tag, a in read(page) if tag == "img" and "Plan" not in a["alt"]]
    assert picture.startswith("Relative error after each unit. ") and "reconstruction loss" not in picture
