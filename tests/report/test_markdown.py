"""The comparison as Markdown: the same of folders and of their file; nothing foreign is markup in it."""

import doctest
import json
import re
from pathlib import Path

import pytest

from mrecg.cli.report import main
from mrecg.errors import ConfigError
from mrecg.report import find_runs, load_run, markdown
from mrecg.report.collection import described, write_collection
from mrecg.runs.metrics import METRICS, named


@pytest.fixture
def text(runs_root):
    return of(runs_root)


def of(root, **options):
    return markdown.markdown([load_run(path) for path in find_runs([root])], **options)


def cells(text, number):
    """The cells of a line of the only table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", lines[number])[1:-1]]


def test_folders_and_their_file_give_the_same_text(runs_root, text, tmp_path, capsys):
    file, out = tmp_path / "runs.json", tmp_path / "out" / "runs.md"
    main([str(runs_root), "--json", str(file)])
    assert capsys.readouterr().out.endswith(f"numbers: {file}\n")
    main([str(file), "--markdown", str(out)])
    assert capsys.readouterr().out.endswith(f"markdown: {out}\n")
    assert out.read_text() == text
    assert not (runs_root / "report.html").exists()


def test_pictures_that_are_drawn_are_linked_from_where_the_text_is(tmp_path, folders):
    folders.write_run(tmp_path / "runs" / "0", units=folders.units[:5])
    out, figures, picture = tmp_path / "out" / "a.md", tmp_path / "figures", tmp_path / "all curves.svg"
    options = ["--markdown", str(out), "--figures", str(figures), "--picture", str(picture)]
    main([str(tmp_path / "runs"), *options])
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", out.read_text())
    assert links[0] == "../all%20curves.svg" and len(links) == 3
    assert links[1] == "../figures/mobilenet_v2_digits-digits-w2a4-oscillation.svg"
    assert all((out.parent / link.replace("%20", " ")).is_file() for link in links)


def test_without_a_file_the_markdown_is_all_that_is_printed(runs_root, text, capsys):
    main([str(runs_root), "--markdown"])
    assert capsys.readouterr() == (text, "")


def test_every_metric_of_the_terminal_has_a_column(text):
    head = cells(text, 0)
    assert [name.replace("\n", " ") for name in named("terminal")] == [
        n for n in head if n in named("markdown") and n != "last error"
    ]
    assert head[:4] == ["method", "granularity", "planner", "seeds"] and head[-1] == "merged groups"
    assert "last error" in head


def test_a_new_metric_of_the_terminal_is_a_column_at_once(runs_root, monkeypatch):
    new = METRICS[0].__class__(key="new", title="New", get=lambda run: 7, shown={"terminal": "brand\nnew"})
    monkeypatch.setattr(markdown, "METRICS", (*METRICS, new))
    assert cells(of(runs_root), 0)[-2] == "brand new" and cells(of(runs_root), 2)[-2] == "7.000"


def test_seeds_are_a_mean_with_its_range(runs_root, text):
    runs = [load_run(path) for path in find_runs([runs_root])]
    own = [100 * run.quantized.top1 for run in runs if run.completed and run.method == "qdrop" and run.merged]
    assert len(own) == 2
    row = dict(zip(cells(text, 0), cells(text, 5), strict=True))
    shown = f"{sum(own) / 2:.2f} % ({min(own):.2f} to {max(own):.2f})"
    assert row["top-1 quant."] == f"**{shown}**" and row["seeds"] == "2"
    assert row["top-1 FP"] == "98.10 %"  # of both
    assert row["planner"] == "error, k = 4" and row["merged groups"] == "features.3+4, 6+7, 10+11+12"
    assert text.count("**9") == 1  # the best alone


def test_it_says_what_the_runs_share_what_was_found_and_who_failed(text):
    lines = text.splitlines()
    assert lines[0].startswith("MRECG + QDrop beats QDrop by ") and "Also MRECG + BRECQ" in lines[0]
    assert "## mobilenet_v2_digits on digits" in lines and "**W2A4**" in lines
    assert (
        "- 200 steps, steps per unit, 512 calibration images, stem output low, precision 32, seeds 0 1"
        in lines
    )
    assert "- Full precision: top-1 98.10 % on 4,488 images (standard error 0.20 %)" in lines
    assert any(line.startswith("- MRECG + QDrop beats QDrop by ") for line in lines)
    assert lines[-3:] == ["## In no table", "", "- broken: failed"]


def test_networks_and_bit_widths_have_tables_of_their_own(tmp_path, folders):
    for number, (model, bits) in enumerate((("a", (4, 4)), ("a", (2, 4)), ("b", (2, 4)))):
        folders.write_run(tmp_path / str(number), model=model, bits=bits)
    folders.write_run(tmp_path / "more", model="b", method="rtn", granularity="layer", units=("x", "y"))
    found = of(tmp_path, level=3)
    assert [line for line in found.splitlines() if line.startswith(("#", "**W"))] == [
        *("### a on digits", "**W4A4**", "**W2A4**", "### b on digits", "**W2A4**"),
    ]
    assert found.count("| --- |") == 3 and "- 2 or 20 units" in found.splitlines()


def test_runs_without_evaluation_show_dashes(tmp_path, folders):
    for seed in (0, 1):
        folders.write_run(tmp_path / str(seed), seed=seed, evaluated=False)
    row = dict(zip(cells(of(tmp_path), 0), cells(of(tmp_path), 2), strict=True))
    assert row["top-1 quant."] == "–" and "top-1 FP" not in row and "Full precision" not in of(tmp_path)


def test_only_failed_runs_are_listed(tmp_path, folders):
    folders.write_failed(tmp_path / "run", error="out of\nmemory")
    assert of(tmp_path).endswith("## In no table\n\n- broken: failed: out of memory\n")
    assert "|" not in of(tmp_path)


def test_nothing_of_a_run_is_markup_or_steers_a_terminal(tmp_path, folders):
    odd = "x|y <script>alert(1)</script> [a](http://b) `c` **d** \x1b[31m \u202e \\"
    extra = {"model": odd, "data": odd, "method": odd, "options": {"method.a": odd}, "device": odd}
    run = folders.write_run(tmp_path / "run", summary_extra={**extra, "weights": {"origin": odd}})
    summary = json.loads((run / "summary.json").read_text())
    summary["units"][0]["name"] = odd
    summary["groups"][0:2] = [[odd, summary["groups"][1][0]]]
    for unit in summary["units"][1:]:
        unit["group"] -= 1
    (run / "summary.json").write_text(json.dumps(summary))
    folders.write_failed(tmp_path / "failed", name=odd, error=odd)
    found = of(tmp_path)
    assert "<script" not in found and "\x1b" not in found and "\u202e" not in found
    assert not re.search(r"(?<!\\)\[a|(?<!\\)`c|(?<!\\)\*\*d|x\|y", found)
    assert len(cells(found, 0)) == len(cells(found, 1)) == len(cells(found, 2))


def test_a_file_gives_table_page_and_figures_too(runs_root, tmp_path, capsys, monkeypatch):
    file = write_collection(
        described([load_run(path) for path in find_runs([runs_root])]), tmp_path / "runs.json"
    )
    main([str(runs_root), "-o", str(tmp_path / "folders.html")])
    of_folders = capsys.readouterr().out.replace("folders.html", "file.html")
    main([str(file), "-o", str(tmp_path / "file.html")])
    assert capsys.readouterr() == (of_folders, "")
    assert "9 runs" in (tmp_path / "file.html").read_text()
    monkeypatch.chdir(tmp_path)
    main([str(file)])
    assert "report:" not in capsys.readouterr().out
    assert {path.name for path in Path().glob("*.html")} == {"folders.html", "file.html"}


def test_a_name_for_markdown_that_is_none_is_refused(runs_root, tmp_path):
    for name in ("other.json", "runs"):
        with pytest.raises(ConfigError, match=r"FILE must end in \.md; name the runs before --markdown"):
            main([str(runs_root), "--markdown", str(tmp_path / name)])


def test_the_examples_in_the_docstrings_are_right():
    assert doctest.testmod(markdown).failed == 0


def test_a_repeated_run_is_no_second_seed(tmp_path, folders):
    for name, merged in (("1b", ()), ("2b", ()), ("m", folders.merged)):
        folders.write_run(tmp_path / name, merged=merged)
    found = of(tmp_path)
    assert "seeds" not in cells(found, 0) and "Of several seeds" not in found and ", seed 0" in found
