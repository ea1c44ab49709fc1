"""Figures for papers: the same bytes from the same runs, text as text, names that hold, data beside them."""

import csv
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mrecg.cli.report import main
from mrecg.errors import DataError
from mrecg.report.compare import panels
from mrecg.report.figures.axes import shortened
from mrecg.report.figures.names import slug
from mrecg.report.figures.write import paper_figures, stems
from mrecg.runs.load import load_run

pytestmark = pytest.mark.slow

STEM = "mobilenet_v2_digits-digits-w2a4"


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def load(root):
    return [load_run(path) for path in sorted(root.iterdir())]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, folders):
    """Block-wise, and one to three merges, two seeds each; and their figures."""
    root = tmp_path_factory.mktemp("sweep")
    units = folders.units
    for count in range(4):
        merged = tuple((units[i], units[i + 1]) for i in (3, 6, 10)[:count])
        for seed in (0, 1):
            folders.write_run(root / "runs" / f"{count}{seed}", merged=merged, planner="loss", seed=seed)
    runs = load(root / "runs")
    return SimpleNamespace(
        root=root / "runs", runs=runs, figures=root / "figures", written=paper_figures(runs, root / "figures")
    )


def test_every_figure_is_written_as_svg_pdf_and_csv(sweep):
    assert sorted(sweep.written) == sorted(sweep.figures.iterdir())
    names = {path.name.removeprefix(STEM) for path in sweep.written}
    # One plan: those of fewer merges merge less of the same.
    stems = {"-oscillation", "-ablation-merges", "-ablation-configurations", "-plan-loss-k3"}
    assert names == {f"{stem}{ending}" for stem in stems for ending in (".svg", ".pdf", ".csv")}


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(tmp_path, sweep):
    # Another process, another day, another order of hashes, and a user with a taste of their own.
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: path\nlines.linewidth: 9\n")
    code = (
        "import sys; from pathlib import Path; from mrecg.runs.load import load_run\n"
        "from mrecg.report.figures.write import paper_figures\n"
        "runs = [load_run(path) for path in sorted(Path(sys.argv[1]).iterdir(), reverse=True)]\n"
        "paper_figures(runs, Path(sys.argv[2]))"
    )
    given = {"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-c", code, str(sweep.root), str(tmp_path / "again")]
    subprocess.run(command, env={**os.environ, **given}, check=True)
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert again.keys() == {path.name for path in sweep.written}
    assert [path.name for path in sweep.written if path.read_bytes() != again[path.name]] == []


def test_text_is_text_and_nothing_tells_the_time(sweep):
    drawing = (sweep.figures / f"{STEM}-oscillation.svg").read_text()
    for words in (">unit (features.N)<", ">QDrop<", "relative error", "QDrop (%)", "STIXGeneral", "Times"):
        assert words in drawing
    assert 'width="504pt"' in drawing  # two columns: 7.0 inches
    assert "<dc:date>" not in drawing and "<dc:title>" in drawing
    for path in sweep.figures.glob("*.pdf"):
        data = path.read_bytes()
        assert b"/CreationDate" not in data and b"/FontFile2" in data and b"/Type3" not in data


def test_the_data_are_enough_to_draw_the_curves(sweep):
    rows = rows_of(sweep.figures / f"{STEM}-oscillation.csv")
    assert len(rows) == sum(len(run.units) for run in sweep.runs)
    for run in sweep.runs:
        mine = [r for r in rows if r["merges"] == str(run.merge_count) and r["seed"] == str(run.seed)]
        assert [r["unit"] for r in mine] == list(run.unit_names)
        assert [float(r["error"]) for r in mine] == [unit.error for unit in run.units]
        assert [float(r["loss"]) for r in mine] == [unit.loss for unit in run.units]
        assert {r["group"] for r in mine if r["group_size"] != "1"} == {"+".join(g) for g in run.merged}
        (block,) = (other for other in sweep.runs if not other.merged and other.seed == run.seed)
        changes = [a.error / b.error - 1 for a, b in zip(run.units, block.units, strict=True)]
        assert [float(r["error_against_block"]) for r in mine] == pytest.approx(changes)


def test_the_data_of_the_ablation(sweep):
    rows = rows_of(sweep.figures / f"{STEM}-ablation-merges.csv")
    assert {row["configuration"] for row in rows} == {"MRECG + QDrop"}
    assert [int(row["merged_pairs"]) for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    top1 = {count: [float(r["top1"]) for r in rows if r["merged_pairs"] == str(count)] for count in range(4)}
    assert top1 == {c: [run.quantized.top1 for run in sweep.runs if len(run.merged) == c] for c in range(4)}
    for run in sweep.runs:
        (mine,) = (r for r in rows if (r["merges"], r["seed"]) == (str(run.merge_count), str(run.seed)))
        values = (run.oscillation.loss_peak, run.units[-2].error, run.total_seconds)
        assert [float(mine[key]) for key in ("loss_peak", "head_error", "seconds")] == list(values)
    assert {"regrowth", "error_index", "error_peak", "top1_fp", "evaluation_images", "seed"} <= rows[0].keys()


def test_the_data_of_a_plan(sweep):
    (file,) = sweep.figures.glob("*-plan-loss-k3.csv")
    plan = load_run(sweep.root / "30").plan
    rows = rows_of(file)
    assert [row["unit"] for row in rows] == list(plan.units)
    assert [float(row["capacity"]) for row in rows] == list(plan.criteria[0].capacities)
    assert [float(row["difference_to_next"]) for row in rows[:-1]] == list(plan.criteria[0].differences)
    assert [i for i, row in enumerate(rows) if row["merged_with_next"] == "true"] == [3, 6, 10]
    assert rows[-1]["merged_with_next"] == ""


def test_the_verb_says_what_it_wrote(tmp_path, folders, capsys):
    run, figures = folders.write_run(tmp_path / "run"), tmp_path / "new" / "figures"
    main([str(run), "-o", str(tmp_path / "page.html"), "--figures", str(figures)])
    said = [
        line.removeprefix("figure: ") for line in capsys.readouterr().out.splitlines() if "figure: " in line
    ]
    assert sorted(said) == sorted(map(str, figures.iterdir()))
    assert (tmp_path / "page.html").is_file()


def test_files_of_other_names_are_left_alone(tmp_path, folders):
    run = load_run(folders.write_run(tmp_path / "run"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / f"{STEM}-oscillation.svg").write_text("old")
    written = paper_figures([run], out)
    assert (out / "notes.txt").read_text() == "mine"
    assert "<svg" in (out / f"{STEM}-oscillation.svg").read_text()
    # A single block-wise run has nothing to be compared with.
    assert [p.name for p in written] == [
        f"{STEM}-{name}{ending}"
        for name in ("oscillation", "plan-block")
        for ending in (".svg", ".pdf", ".csv")
    ]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, folders, capsys):
    run = folders.write_run(tmp_path / "run")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"file.*: cannot be written \(.+\); name a place"):
            paper_figures([load_run(run)], place)
        # Before the page: a mistake shall not cost the time that the page takes.
        with pytest.raises(DataError, match="cannot be written"):
            main([str(run), "--out", str(tmp_path / "page.html"), "--figures", str(place)])
        assert not (tmp_path / "page.html").exists()


def test_failed_runs_are_not_drawn(tmp_path, folders):
    with pytest.raises(DataError, match="none of them completed"):
        paper_figures([load_run(folders.write_failed(tmp_path / "run"))], tmp_path / "out")


def test_networks_and_bits_have_files_of_their_own(tmp_path, folders):
    variants = [{"bits": (4, 4)}, {"model": "a/b c"}, {"model": "A-b-c"}, {"units": folders.units[:12]}, {}]
    for i, values in enumerate(variants):
        folders.write_run(tmp_path / "runs" / str(i), planner="", **values)
    names = stems(panels(load(tmp_path / "runs")))
    assert len({name.casefold() for name in names}) == len(variants)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    assert "mobilenet_v2_digits-digits-w4a4" in names


def test_names_are_safe():
    assert slug("../..\\x:y*?") == "x-y"
    assert slug("...") == "run"


def test_values_that_are_missing_are_left_out(tmp_path, folders):
    units = [{"name": u, "group": i, "error": 0.1 * i, "loss": 0.0} for i, u in enumerate(folders.units)]
    units[4] |= {"error": None, "loss": None}
    folders.write_run(tmp_path / "runs" / "0", evaluated=False, summary_extra={"units": units})
    folders.write_run(tmp_path / "runs" / "1", evaluated=False, merged=folders.merged)
    written = {p.name: p for p in paper_figures(load(tmp_path / "runs"), tmp_path / "out")}
    assert rows_of(written[f"{STEM}-oscillation.csv"])[4]["error"] == ""
    assert "top-1" not in written[f"{STEM}-ablation-configurations.svg"].read_text()


@pytest.mark.parametrize(
    ("name", "short"),
    [("features.12", "features.12"), ("layer1.0.block.conv", "l1.0.b.conv"), ("x" * 30, "…" + "x" * 15)],
)
def test_long_names_are_shortened(name, short):
    assert shortened(name) == short
