"""The rows that the page and the terminal share."""

from io import StringIO

import pytest
from rich.console import Console

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
    assert texts["merged"] == "3: features.3+4, 6+7, 10+11+12"
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
    assert all(expected in shown for expected in said)
    assert ("settings" in shown) == any(said)


def test_markup_in_a_name_is_text(tmp_path, folders):
    run = load_run(folders.write_failed(tmp_path / "run", name="[red]x[/red]", model="[b]m[/b]"))
    shown = text_of(terminal_table([run]))
    assert "[red]x[/red]" in shown and "[b]m[/b]" in shown
