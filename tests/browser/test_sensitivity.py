"""The panel of sensitivities, which stand in a folder beside the runs."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from run_folders import MERGED, UNITS, write_run

from mrecg.errors import DataError
from mrecg.report import write_report
from mrecg.runs.layout import SENSITIVITY
from mrecg.runs.sensitivity import Sensitive, Sensitivity

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def measured(bits, model, measure="kl"):
    rows = tuple(
        Sensitive(
            of="unit",
            name=unit,
            unit=unit,
            quantized=what,
            bits=bits[what],
            parameters=9,
            kl=0.001 * (i + 1) * (3 if what == "weights" else 1),
            error=None,
        )
        for i, unit in enumerate(UNITS)
        for what in ("weights", "activations")
        if what == "weights" or i
    )
    return Sensitivity(model=model, images=24, rows=rows, measure=measure)


@pytest.fixture(scope="module")
def with_sensitivities(tmp_path_factory):
    """A comparison at W2A4, its network measured at these bits and at others, and another network."""
    root = tmp_path_factory.mktemp("sensitive")
    for i, merged in enumerate(((), MERGED)):
        write_run(root / "runs" / str(i), name=str(i), merged=merged)
    model = "mobilenet_v2_digits"
    for i, (bits, name) in enumerate((((2, 4), None), ((4, 4), None), ((2, 4), "other"))):
        folder = root / "runs" / f"s{i}"
        folder.mkdir()
        both = dict(zip(("weights", "activations"), bits, strict=True))
        measured(both, name or model).write(folder)
    return write_report([root / "runs"], root / "report.html")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_units_are_drawn_for_the_bits_that_are_shown(scheme, width, visit, with_sensitivities, show):
    page = visit(with_sensitivities, scheme=scheme, width=width).page
    show(page, "sensitivity")
    part = page.locator("#sensitivity")
    assert part.locator(".barlayer .trace").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "Sensitivity at W2A4" in part.inner_text()
    said = part.locator("p.summary").inner_text()
    assert f"Most harm: weights of {UNITS[-1]}, activations of {UNITS[-1]}." in said and "24 held-out" in said
    part.locator("summary").focus()
    page.keyboard.press("Enter")
    rows = part.locator(".numbers tbody tr")
    assert rows.count() == len(UNITS)
    assert rows.first.locator("th, td").all_inner_texts() == [UNITS[0], "0.003", "–"]
    found = Axe().run(page, context="#sensitivity").response["violations"]
    assert [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found] == []


def test_without_a_measurement_there_is_no_such_part(visit, sweep):
    page = visit(sweep).page
    assert not page.locator("#sensitivity").is_visible()
    assert not page.locator("nav a[data-section=sensitivity]").is_visible()


@pytest.mark.parametrize(
    "damage", ["{", '{"model": 1}', '{"model": "a", "images": 1, "rows": [{"kl": "x"}]}']
)
def test_a_damaged_file_is_named(damage, tmp_path):
    write_run(tmp_path / "run", name="0")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / SENSITIVITY).write_text(damage)
    with pytest.raises(DataError, match=rf"s/{SENSITIVITY}: cannot be read .* mrecg sensitivity"):
        write_report([tmp_path], tmp_path / "report.html")
