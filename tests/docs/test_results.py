"""docs/results.md is what the files beside it say."""

import sys
from pathlib import Path

import pytest

from mrecg.cli.report import main
from mrecg.errors import DataError

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import make_results  # noqa: E402


def test_the_page_is_up_to_date_and_no_file_holds_a_path_of_a_machine():
    make_results.check()
    for file in (DOCS / "results").iterdir():
        text = file.read_text()
        assert file.suffix == ".json" and not any(part in text for part in ('"/', "/tmp/", "/home/")), file


def test_every_picture_of_the_page_is_there_and_no_other():
    shown = {
        DOCS / line.partition("](")[2].rstrip(")\n") for line in (DOCS / "results.md").open() if "](" in line
    }
    assert set((DOCS / "images" / "results").glob("*/*")) == {
        p for p in shown if p.is_relative_to(DOCS / "images" / "results")
    }


def test_write_refreshes_its_blocks_alone_and_check_compares(tmp_path, folders):
    for seed in (0, 1):
        folders.write_run(tmp_path / "runs" / str(seed), seed=seed, units=folders.units[:5])
    main([str(tmp_path / "runs"), "--json", str(tmp_path / "results" / "some.json")])
    page = tmp_path / "results.md"
    page.write_text("# Results\n\n<!-- results some -->\nold\n<!-- end -->\n\nText.\n")
    with pytest.raises(DataError, match=r"results\.md is not what docs/results says; run .* write"):
        make_results.check(tmp_path)
    make_results.write(tmp_path)
    make_results.check(tmp_path)
    text = page.read_text()
    assert text.startswith("# Results\n\n<!-- results some -->\n") and text.endswith(
        "<!-- end -->\n\nText.\n"
    )
    assert "old" not in text and "| qdrop | block | 2 |" in text
    (picture,) = (tmp_path / "images" / "results" / "some").iterdir()
    assert f"](images/results/some/{picture.name})" in text and picture.name.endswith("-oscillation.svg")
    picture.unlink()
    with pytest.raises(DataError):
        make_results.check(tmp_path)
