"""The rows that the page and the terminal share."""

import ast
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import mrecg
from mrecg.report import comparison_rows, find_runs, load_run, terminal_table
from mrecg.report.labels import differing
from mrecg.report.tables import columns


@pytest.fixture
def runs(runs_root):
    return [load_run(path) for path in find_runs([runs_root])]


def text_of(table):
    stream = StringIO()
    Console(file=stream, width=240).print(table)
    return stream.getvalue()


def test_rows_are_sorted_whatever_the_order_of_the_runs(runs):
    rows = comparison_rows(runs[::-1])
    keys = [(row.run.method, row.run.granularity, row.run.seed) for row in rows]
    expected = [(m, g, s) for m in ("brecq", "qdrop") for g in ("block", "mixed") for s in (0, 1)]
    assert keys == [*expected, ("qdrop", "block", 7)]
    assert not rows[-1].run.completed
    assert all(set(row.cells) >= set(columns()) for row in rows)


def test_the_best_top1_is_marked_once(runs):
    best = [row for row in comparison_rows(runs) if row.best]
    highest = max(run.quantized.top1 for run in runs if run.completed)
    assert [row.run.quantized.top1 for row in best] == [highest]


def test_bit_widths_have_their_own_best(tmp_path, folders):
    for bits in ((2, 4), (4, 4)):
        for seed in (0, 1):
            folders.write_run(
                tmp_path / f"{bits[0]}{seed}", bits=bits, seed=seed, level=1.0 if bits[0] == 2 else 0.4
            )
    rows = comparison_rows([load_run(path) for path in find_runs([tmp_path])])
    assert sorted(row.run.widths for row in rows if row.best) == ["W2A4", "W4A4"]


def test_cells_hold_the_numbers_of_the_run(tmp_path, folders):
    run = load_run(folders.write_run(tmp_path / "run", merged=folders.merged, seed=2))
    (row,) = comparison_rows([run])
    texts = {key: cell.text for key, cell in row.cells.items()}
    assert texts["merged"] == "features.3+4, 6+7, 10+11+12" and texts["pairs"] == "4"
    assert texts["top1_fp"] == "98.10 %"
    assert texts["top1"] == f"{100 * run.quantized.top1:.2f} %"
    assert texts["index"] == f"{run.oscillation.error_index:.3f}"
    assert texts["seconds"] == "90.8"
    assert texts["size"] == "142 kB"
    assert row.cells["index"].sort == run.oscillation.error_index
    assert not row.best


def test_a_failed_run_shows_dashes_and_its_status(tmp_path, folders):
    run = load_run(folders.write_failed(tmp_path / "run"))
    (row,) = comparison_rows([run])
    assert row.cells["top1"].text == "–"
    assert row.cells["index"].sort is None
    assert "failed" in text_of(terminal_table([run]))


def test_the_least_that_a_failed_run_leaves_is_enough(tmp_path):
    (tmp_path / "summary.json").write_text('{"status": "failed", "run_name": "early"}')
    (row,) = comparison_rows([load_run(tmp_path)])
    assert row.cells["run"].text == "early"
    assert {row.cells[key].text for key in ("method", "bits", "seed", "steps", "seconds", "size")} == {"–"}


def test_the_terminal_shows_what_decides(runs):
    shown = text_of(terminal_table(runs))
    for run in runs:
        assert (run.name in shown) is not run.completed  # a failed run has nothing else to be known by
        if run.completed:
            assert f"{100 * run.quantized.top1:.2f} %" in shown
            assert f"{run.units[-2].error:.3f}" in shown
            assert f"{run.oscillation.error_index:.3f}" not in shown
    assert "features.3+4, 6+7, 10+11+12" in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [{"options": {"method.keep_probability": "0.25"}}, {}],
            ["keep_probability 0.25", "keep_probability default"],
        ),
        ([{"merge_count": 1}, {"merge_count": 2}], ["1 merge", "2 merges"]),
        ([{"planner": "loss"}, {"planner": "modcap"}], ["by loss", "by ModCap"]),
        (
            [{"steps": 5, "calibration_images": 9}, {"steps": 7, "calibration_images": 11}],
            ["5 steps, 9 images", "7 steps, 11 images"],
        ),
        (
            [{"options": {"calibration.norm": "4.0"}}, {"steps": 3, "options": {"calibration.norm": "8.0"}}],
            ["norm 4.0", "3 steps, norm 8.0"],
        ),
        ([{"method": "brecq", "options": {"method.loss": "mse"}}, {"method": "qdrop"}], ["loss mse", ""]),
        (
            [{"options": {"planner.merge_count": "auto"}}, {"merge_count": 2}],
            ["merge_count auto", "2 merges"],
        ),
        ([{"seed": 1}, {"seed": 2}], ["", ""]),
    ],
)
def test_all_that_differs_between_rows_is_said(runs, changes, said):
    mixed = next(run for run in runs if run.granularity == "mixed")
    swept = [mixed.model_copy(update=change) for change in changes]
    for text, expected in zip(differing(swept), said, strict=True):
        assert expected in text if expected else text == ""
    shown = " ".join(text_of(terminal_table(swept)).split())
    own = [expected for expected in said if not expected.startswith("by ") and "merge" not in expected]
    assert all(expected in shown for expected in own)  # planner and pairs have columns of their own
    assert ("settings" in shown) == any(own)
    assert all(run.planner in shown for run in swept) or len({run.planner for run in swept}) == 1


def counted(run, merged, asked, **more):
    groups = (run.unit_names[: merged + 1], *((name,) for name in run.unit_names[merged + 1 :]))
    return run.model_copy(update={"groups": groups, "merge_count": asked, **more})


@pytest.mark.parametrize("width", [80, 100, 140, 240])
def test_a_sweep_of_the_merge_count_can_be_told_apart_at_any_width(runs, width):
    mixed = next(run for run in runs if run.granularity == "mixed")
    swept = [counted(mixed, min(count, 6), count) for count in range(9)]
    stream = StringIO()
    Console(file=stream, width=width).print(terminal_table(swept))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    body = [line for line in lines if line.split()[:2] == [mixed.method, "mixed"] and "%" in line]
    assert len(body) == 9  # a line each: nothing is squeezed
    column = lines[next(i for i, line in enumerate(lines) if "pairs" in line)].index("pairs")
    found = [line[: column + 6].split()[2:] for line in body]
    assert found == [*([str(i)] for i in range(7)), ["6", "of", "7"], ["6", "of", "8"]]
    assert "settings" not in stream.getvalue() and "98.10 % in full precision" in stream.getvalue()
    assert (body[0].rstrip().endswith("none")) or width < 100  # mixed, and nothing merged
    assert "features.0+1+2+3" in stream.getvalue().replace("\n", "")


def test_a_count_that_the_planner_found_is_said_to_be(runs):
    mixed = next(run for run in runs if run.granularity == "mixed")
    auto = counted(mixed, 2, 2, options={"planner.merge_count": "auto"})
    pack = counted(mixed, 2, 0, planner="pack")
    block = next(run for run in runs if run.granularity == "block")
    rows = {
        row.run.options.get("planner.merge_count") or row.run.planner: row
        for row in comparison_rows([auto, pack, block])
    }
    assert [rows[key].cells["pairs"].text for key in ("auto", "pack", "")] == ["2, auto", "2", "0"]
    assert [rows[key].cells["merged"].text for key in ("pack", "")] == ["features.0+1+2", "–"]


def test_markup_in_a_name_is_text(tmp_path, folders):
    run = load_run(folders.write_failed(tmp_path / "run", name="[red]x[/red]", model="[b]m[/b]"))
    shown = text_of(terminal_table([run]))
    assert "[red]x[/red]" in shown and "[b]m[/b]" in shown


def test_all_tables_of_the_terminal_look_alike():
    made = [
        (file.name, {word.arg: ast.unparse(word.value) for word in call.keywords})
        for file in Path(mrecg.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Table"
    ]
    assert len(made) >= 4
    assert {name for name, words in made if words.get("box") != "box.SIMPLE_HEAD"} == set()
