"""The page: what it holds, and that it asks nothing of any network."""

import json
import re
from html.parser import HTMLParser

import pytest

from mrecg.errors import DataError
from mrecg.report import find_runs, load_run, write_report

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}


class Reader(HTMLParser):
    """Collects elements and checks that they are closed in order."""

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


def of_class(elements, tag, name):
    return [a for t, a in elements if t == tag and name in (a.get("class") or "").split()]


@pytest.fixture
def page(runs_root, tmp_path):
    return write_report([runs_root], tmp_path / "new" / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_small(page):
    read(page)
    assert len(page) < 1_000_000


def test_the_page_asks_nothing_of_a_network(page):
    assert "http" not in page
    assert "@import" not in page
    assert "url(" not in page
    links = [a[k] for _, a in read(page) for k in ("src", "href", "srcset", "data", "action") if k in a]
    assert links
    assert all(link.startswith("#") for link in links)


def test_links_lead_somewhere(page):
    elements = read(page)
    ids = {a["id"] for _, a in elements if "id" in a}
    assert all(a["href"][1:] in ids for _, a in elements if "href" in a)


def test_every_number_of_the_table_and_every_unit_appears(page, runs_root, folders):
    for run in (load_run(path) for path in find_runs([runs_root])):
        if run.completed:
            assert f">{100 * run.quantized.top1:.2f} %" in page
            assert f">{run.oscillation.error_index:.3f}<" in page
            assert f">{run.oscillation.error_peak:.3f}<" in page
    for unit in folders.units:
        assert f">{unit}</text>" in page


def test_curves_are_drawn_for_completed_runs_alone(page, folders):
    elements = read(page)
    count = len(folders.units)
    # Two measures, linear and logarithmic; two seeds of each of four series, and their mean.
    charts = 2 * 2
    assert len(of_class(elements, "path", "seed")) == charts * 4 * 2
    named = [a["data-s"] for t, a in elements if t == "g" and "data-s" in a]
    assert set(named) == {f"p0s{i}" for i in range(4)}
    marks = of_class(elements, "circle", "mark")
    assert len(marks) >= charts * 4 * count
    assert ">failed</span>" in page
    assert "broken" not in "".join(a.get("aria-label") or "" for _, a in elements)


def test_toggles_and_figures_have_names(page):
    elements = read(page)
    toggles = [a["data-t"] for t, a in elements if t == "button" and "data-t" in a]
    assert toggles == [f"p0s{i}" for i in range(4)]
    pictures = [a for t, a in elements if t == "svg" and a.get("aria-hidden") != "true"]
    assert len(pictures) > 10
    labelled = [a for a in pictures if a.get("role") == "img" and a.get("aria-label")]
    assert len(labelled) == len([a for a in pictures if "chart" in (a.get("class") or "")])


def test_the_tooltip_data_are_the_means(page, runs_root, folders):
    found = re.findall(r'<script type="application/json" class="data">(.*?)</script>', page, re.DOTALL)
    error = json.loads(found[0])
    assert error["units"] == list(folders.units)
    runs = [load_run(path) for path in find_runs([runs_root])]
    seeds = [run for run in runs if run.method == "qdrop" and run.granularity == "mixed"]
    mean = sum(run.units[4].error for run in seeds) / len(seeds)
    series = next(s for s in error["series"] if s["label"] == "qdrop · mixed")
    assert series["values"][4] == pytest.approx(mean, rel=1e-3)


def test_merged_units_have_brackets_and_a_plan(page, folders):
    elements = read(page)
    # One schedule on the page: shades as well as brackets, by two series in four charts.
    assert len(of_class(elements, "rect", "bracket")) == 4 * 2 * len(folders.merged)
    assert len(of_class(elements, "rect", "shade")) == 4 * len(folders.merged)
    assert len(of_class(elements, "rect", "hull")) == len(folders.merged)
    assert len(of_class(elements, "rect", "cell")) == len(folders.units)
    pairs = sum(len(group) - 1 for group in folders.merged)
    bars = of_class(elements, "rect", "bar")
    assert len(bars) == 4 * (len(folders.units) - 1)
    assert len([a for a in bars if "in" in a["class"].split()]) == 4 * pairs
    assert "features.3 → features.4" in page
    assert "stride" in page


def test_user_text_is_escaped(tmp_path, folders):
    evil = "<script>alert(1)</script>"
    units = ("a<script>", "b\"'&<b>", *folders.units[2:])
    folders.write_run(tmp_path / "one", name=evil, units=units, method=evil, model=evil)
    folders.write_run(tmp_path / "two", name=evil, units=units, method=evil, model=evil, granularity="mixed")
    folders.write_failed(tmp_path / "three", name=evil, error=evil)
    for folder in ("one", "two"):
        (tmp_path / folder / "config.yaml").write_text(evil)
        (tmp_path / folder / "environment.json").write_text(
            json.dumps({evil: evil, "command": f"mrecg {evil}"})
        )
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert evil not in page
    assert "a<script>" not in page
    assert "'&<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    scripts = [a for t, a in read(page) if t == "script"]
    assert len(scripts) == 3


def test_a_group_without_a_curve_is_left_out(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    (folder / "curves" / "features.5.csv").unlink()
    page = write_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"({len(folders.units) - 1} groups)" in page


def test_methods_without_evaluation_or_curves_have_a_page(tmp_path, folders):
    folders.write_run(tmp_path / "run", method="rtn", evaluated=False)
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    read(page)
    assert "Optimisation of each group" not in page
    assert "Along the units" in page


def test_failed_runs_alone_have_a_page(tmp_path, folders):
    folders.write_failed(tmp_path / "run", error="out of memory")
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    read(page)
    assert "out of memory" in page
    assert "Along the units" not in page


def test_values_that_are_no_numbers_are_left_out_of_the_curves(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    for unit in summary["units"][5:]:
        unit["error"] = unit["loss"] = None
    summary["oscillation"] = dict.fromkeys(summary["oscillation"], float("nan"))
    (folder / "summary.json").write_text(json.dumps(summary))
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    read(page)
    assert not re.search(r'(?:d|x|y|cx|cy)="[^"]*nan', page)


def test_a_long_curve_is_thinned(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    rows = "".join(f"{i * 10},{1 + 1 / (i + 1)},,,\n" for i in range(2000))
    for file in (folder / "curves").iterdir():
        file.write_text(f"step,reconstruction,rounding,total,beta\n{rows}")
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    small = [a["d"] for a in of_class(read(page), "path", "small")]
    assert len(small) == len(folders.units)
    assert all(d.count("L") == 79 for d in small)


def test_recorded_commands_are_shown_once(tmp_path, folders):
    for i in range(3):
        folder = folders.write_run(tmp_path / str(i), seed=i)
        (folder / "environment.json").write_text(json.dumps({"command": "mrecg quantize -m seed=0,1,2"}))
    page = write_report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("mrecg quantize -m seed=0,1,2") == 1


def test_a_broken_run_is_named_and_no_page_is_written(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run")
    (folder / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json"):
        write_report([tmp_path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
