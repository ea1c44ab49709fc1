"""The pages in docs/results are what the files beside them say."""

import math
import re
import sys
from pathlib import Path

import pytest

from mrecg.cli.report import main
from mrecg.errors import DataError
from mrecg.report import load_run
from mrecg.runs.metrics import Metric

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import make_results  # noqa: E402


def test_the_page_is_up_to_date_and_no_file_holds_a_path_of_a_machine():
    make_results.check()
    for file in (DOCS / "results").glob("*.json"):
        text = file.read_text()
        assert not any(part in text for part in ('"/', "/tmp/", "/home/")), file


def test_every_picture_of_the_page_is_there_and_no_other():
    text = "".join(page.read_text() for page in make_results.pages(DOCS))
    shown = {DOCS / "images" / name for name in re.findall(r"\]\(\.\./images/(results/[^)]+)\)", text)}
    assert shown and set((DOCS / "images" / "results").glob("*/*")) == shown


def test_write_refreshes_its_blocks_alone_and_check_compares(tmp_path, folders):
    for seed in (0, 1):
        folders.write_run(tmp_path / "runs" / str(seed), seed=seed, units=folders.units[:5])
    main([str(tmp_path / "runs"), "--json", str(tmp_path / "results" / "some.json")])
    page = tmp_path / "results" / "page.md"
    page.write_text("# Results\n\n<!-- results some -->\nold\n<!-- end -->\n\nText.\n")
    with pytest.raises(DataError, match=r"page\.md is not what docs/results says; run .* write"):
        make_results.check(tmp_path)
    make_results.write(tmp_path)
    make_results.check(tmp_path)
    text = page.read_text()
    assert text.startswith("# Results\n\n<!-- results some -->\n") and text.endswith(
        "<!-- end -->\n\nText.\n"
    )
    assert "old" not in text and "| qdrop | block | 2 |" in text
    (picture,) = (tmp_path / "images" / "results" / "some").iterdir()
    assert f"](../images/results/some/{picture.name})" in text and picture.name.endswith("-oscillation.svg")
    picture.unlink()
    with pytest.raises(DataError):
        make_results.check(tmp_path)


@pytest.fixture(scope="module")
def sets():
    return make_results.result_sets(DOCS / "results")


@pytest.fixture(scope="module")
def found(sets):
    return make_results.correlations(sets)


def test_every_set_of_runs_with_results_counts(sets):
    sizes = {name.split(",")[0] + name.rpartition(",")[2]: len(runs) for name, runs in sets.items()}
    assert len(sets) >= 8 and min(sizes.values()) >= 3
    assert sum(size >= 5 for size in sizes.values()) >= 6
    for runs in sets.values():
        assert len({(run.model, run.widths, run.unit_names) for run in runs}) == 1


def test_the_new_measures_follow_the_result_where_the_index_does_not(sets, found):
    right, of = {}, {}
    for key, by_set in found.items():
        # The runs of best.json are one recipe with other steps, ranges and seeds; the others compare methods.
        compared = {name: value for name, value in by_set.items() if not name.startswith("best: ")}
        right[key], of[key] = make_results.right_signs(compared)
    assert all(value < 0 for value in found["loss_peak"].values()) and len(found["loss_peak"]) == len(sets)
    assert right["loss_peak"] == of["loss_peak"] == 8
    large = [name for name, runs in sets.items() if len(runs) >= 5]
    assert all(found["head_error"][name] < 0 for name in large)
    assert right["index"] < of["index"] / 2
    for key in ("loss_peak", "head_error", "regrowth"):
        assert right[key] / of[key] > max(0.5, right["index"] / of["index"], right["peak"] / of["peak"])


@pytest.mark.parametrize(
    ("measured", "top1", "expected"),
    [
        ([1.0, 2.0, 3.0], [0.3, 0.2, 0.1], -1.0),
        ([1.0, 2.0, 30.0, 400.0], [0.1, 0.2, 0.3, 0.4], 1.0),
        ([3.0, 1.0, 2.0, 5.0], [0.1, 0.2, 0.3, 0.4], 1 - 6 * (4 + 1 + 1 + 0) / (4 * 15)),
        ([1.0, 1.0, 2.0], [0.1, 0.2, 0.3], 3**0.5 / 2),  # ties share the mean of their ranks
        ([1.0, 1.0, 1.0], [0.1, 0.2, 0.3], None),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], None),
        ([1.0, 2.0], [0.1, 0.2], None),
        ([1.0, 2.0, 3.0, math.nan], [0.3, 0.2, 0.1, 0.9], -1.0),
    ],
)
def test_the_rank_correlation_of_known_numbers(measured, top1, expected, tmp_path, folders):
    runs = []
    for i, accuracy in enumerate(top1):
        quantized = {"quantized": {"top1": accuracy}}
        runs.append(load_run(folders.write_run(tmp_path / str(i), summary_extra=quantized)))
    metric = Metric(key="m", title="M", get=lambda run: measured[[*map(id, runs)].index(id(run))])
    assert make_results.rank_correlation(metric, runs) == (expected and pytest.approx(expected))


def test_the_page_prints_the_correlations_and_how_many_runs_they_are_of(sets, found):
    text = (DOCS / "results" / "accuracy.md").read_text()
    block = text.partition("<!-- correlations -->")[2].partition("<!-- end -->")[0]
    for name, runs in sets.items():
        (row,) = [line for line in block.splitlines() if line.startswith(f"| {name} |")]
        assert row.startswith(f"| {name} | {len(runs)} | ")
        assert f"{found['loss_peak'][name]:+.2f}".replace("-", "−") in row
    right, of = make_results.right_signs(found["index"])
    assert f"| {right} of {of} |" in block.splitlines()[-2]
