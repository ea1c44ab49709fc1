"""The panel of what runs vary in: a line's runs differ in nothing but the abscissa and the seed."""

import pytest
from run_folders import MERGED, write_run

from mrecg.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def test_blocks_with_more_steps_are_no_point_of_the_line_of_others(visit, tmp_path, show):
    """The control at equal time was averaged with the block-wise run that merging is compared with."""
    for name, top1, merged, extra in (
        ("b", 0.74, (), {}),
        ("m", 0.93, MERGED, {}),
        ("c", 0.95, (), {"steps": 480}),
        ("n", 0.5, MERGED[:1], {"options": {"rebasis": "full"}}),
    ):
        more = {"quantized": {"top1": top1, "top5": 1.0}, **extra}
        write_run(tmp_path / "runs" / name, name=name, merged=merged, summary_extra=more)
    page = visit(write_report([tmp_path / "runs"], tmp_path / "report.html")).page
    show(page, "ablation")
    figure = page.locator("#ablation figure").first
    figure.locator("summary").click()
    figure.locator(".numbers tbody tr").first.wait_for()
    rows = [row.locator("th, td").all_inner_texts() for row in figure.locator(".numbers tbody tr").all()]
    assert [row[1:] for row in rows] == [["0", *["74.0"] * 3, "1"], ["4", *["93.0"] * 3, "1"]]
