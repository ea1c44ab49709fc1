"""The page as a file: what it holds, how large it is, and that it can ask nothing of any network."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from mrecg.errors import DataError
from mrecg.report import find_runs, load_run, write_report
from mrecg.report.page.write import SCRIPTS, SECTIONS, STYLES

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
MB = 1_000_000


class Reader(HTMLParser):
    """Collects elements, texts of scripts, and checks that elements are closed in order."""

    def __init__(self):
        super().__init__()
        self.stack, self.elements, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag in ("script", "style"):
            self.texts.append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] in ("script", "style"):
            self.texts[-1] += data


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.stack == []
    return reader


def block(page, name):
    packed = re.search(rf'id="{name}-data">([A-Za-z0-9+/=]*)<', page)[1]
    return gzip.decompress(base64.b64decode(packed)).decode()


@pytest.fixture
def page(runs_root, tmp_path):
    return write_report([runs_root], tmp_path / "new" / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_has_its_sections(page):
    elements = read(page).elements
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {name for name, _, _ in SECTIONS} <= set(ids)
    links = [a["href"] for _, a in elements if "href" in a]
    assert len(links) > len(SECTIONS)
    assert all(link[0] == "#" and link[1:] in ids for link in links)


def test_the_page_asks_nothing_of_a_network(page):
    reader = read(page)
    for tag, attributes in reader.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "action", "data", "style"} & attributes.keys()
    own = reader.texts[0] + reader.texts[-1]
    assert "url(" not in own and "@import" not in own
    # The one address in the script is a name, not a place.
    assert set(re.findall(r"https?://[^\s\"']+", own)) == {"http://www.w3.org/2000/svg"}


def test_the_policy_allows_the_two_scripts_and_no_other(page):
    reader = read(page)
    policy = next(
        a["content"] for _, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == "'unsafe-inline'"
    assert rules["img-src"] == "data: blob:"
    assert "unsafe" not in rules["script-src"]
    texts = [reader.texts[-1], block(page, "plotly")]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts
    }
    assert set(rules["script-src"].split()) == hashes
    runnable = [a for tag, a in reader.elements if tag == "script" and "type" not in a]
    assert len(runnable) == 1


def test_every_run_is_in_the_data(page, runs_root):
    document = json.loads(block(page, "document"))
    runs = [load_run(path) for path in find_runs([runs_root])]
    assert len(document["runs"]) == len(runs)
    kept = {(run["name"], run["seed"], run["top1"]) for run in document["runs"]}
    assert kept == {(run.name, run.seed, run.quantized.top1 if run.quantized else None) for run in runs}
    lines = json.loads(block(page, "curves"))
    assert set(lines) == {run["id"] for run in document["runs"]}
    assert len(document["palette"]["light"]) == len(document["palette"]["dark"])
    assert document["command"].startswith("mrecg report ")


def test_the_headline_stands_in_the_page_itself(page):
    headline = json.loads(block(page, "document"))["headline"]
    assert len(headline) >= 2 and all(part in page for part in headline)
    assert "9 runs" in page and "1 not completed" in page


def test_equal_runs_give_equal_pages(runs_root, tmp_path):
    first, second = (write_report([runs_root], tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_user_text_is_escaped(tmp_path, folders):
    evil = "<script>alert(1)</script>"
    units = ("a<script>", "b\"'&<b>", *folders.units[2:])
    folders.write_run(tmp_path / "one", name=evil, units=units, method=evil, model=evil)
    folders.write_run(tmp_path / "two", name=evil, units=units, method=evil, model=evil, granularity="mixed")
    folders.write_failed(tmp_path / "three", name=evil, error=evil)
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert len([a for tag, a in read(page).elements if tag == "script"]) == 4


def test_fifty_runs_are_small(tmp_path, folders):
    for i in range(50):
        merged = folders.merged[: i % 4]
        folders.write_run(tmp_path / "runs" / str(i), seed=i // 4, merged=merged, method="qdrop", kept=500)
    assert write_report([tmp_path / "runs"], tmp_path / "report.html").stat().st_size < 6 * MB


@pytest.mark.parametrize("kind", ["js", "css"])
def test_every_template_is_used_and_short(kind):
    folder = resources.files("mrecg.report.page").joinpath("templates", kind)
    texts = {file.name.partition(".")[0]: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert set(texts) == set({"js": SCRIPTS, "css": STYLES}[kind])
    assert all(text.count("\n") <= 300 for text in texts.values())
    assert not any(word in text for text in texts.values() for word in ("innerHTML", "</script", "eval("))


def test_failed_runs_alone_have_a_page(tmp_path, folders):
    folders.write_failed(tmp_path / "run", error="out of memory")
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "out of memory" in block(page, "document")
    assert "1 not completed" in page


def test_values_that_are_no_numbers_become_null(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    summary["oscillation"] = dict.fromkeys(summary["oscillation"], float("nan"))
    (folder / "summary.json").write_text(json.dumps(summary))
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads(block(page, "document"))["runs"][0]["error_index"] is None


def test_a_broken_run_is_named_and_no_page_is_written(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    (folder / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json"):
        write_report([tmp_path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_scripts_share_no_name():
    """They are one script in the page: of two functions of one name the later one serves both callers."""
    folder = resources.files("mrecg.report.page").joinpath("templates", "js")
    names = [
        name
        for file in folder.iterdir()
        for name in re.findall(
            r"^(?:async )?(?:function\*?|const|let|class) (\w+)",
            file.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert len(names) > 100 and sorted(names) == sorted(set(names))
