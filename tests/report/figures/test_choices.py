"""Names and widths that an author chooses, and what is said of those that do not fit."""

import re

import pytest

from mrecg.cli.report import main
from mrecg.errors import ConfigError
from mrecg.report.compare import panels
from mrecg.report.figures.choices import renamed
from mrecg.runs.load import load_run


@pytest.fixture
def root(tmp_path, folders):
    for i, (merged, planner) in enumerate((((), ""), (folders.merged, "loss"), (folders.merged, "error"))):
        folders.write_run(tmp_path / "runs" / str(i), merged=merged, planner=planner)
    return tmp_path / "runs"


@pytest.fixture
def shown(root):
    return panels([load_run(path) for path in sorted(root.iterdir())])


def names(found):
    return [series.label for panel in found for series in panel.series]


def test_a_whole_name_or_a_part_of_it_is_replaced(shown):
    assert names(shown) == ["QDrop", "MRECG + QDrop, by error", "MRECG + QDrop, by loss"]
    assert names(renamed(shown, ["QDrop=Baseline"])) == ["Baseline", *names(shown)[1:]]
    assert names(renamed(shown, ["MRECG + QDrop=Ours", "by error=E"])) == [
        "QDrop",
        "Ours, E",
        "Ours, by loss",
    ]
    assert names(renamed(shown, ["by loss=L", "MRECG + QDrop, by loss=Ours"]))[2] == "Ours"
    assert names(renamed(shown, [])) == names(shown)


def test_a_new_name_may_hold_an_equals_sign(shown):
    assert names(renamed(shown, ["MRECG + QDrop, by loss=k=5"]))[2] == "k=5"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["Ours"], "'Ours': write OLD=NEW"),
        (["=Ours"], "write OLD=NEW"),
        (["QDrop="], "write OLD=NEW"),
        (["QDorp=Ours"], "no run has the name 'QDorp'; the names are 'QDrop', 'MRECG + QDrop, by error'"),
        (["QDrop=a", "QDrop=b"], "'QDrop' is given two names, 'a' and 'b'"),
        (["by error=by loss"], "would both be named 'MRECG + QDrop, by loss'"),
        (["QDrop=MRECG + QDrop, by loss"], "'QDrop' and 'MRECG + QDrop, by loss' would both be named"),
    ],
)
def test_a_name_that_does_not_fit_is_one_clear_error(shown, labels, said):
    with pytest.raises(ConfigError, match=re.escape(said)) as error:
        renamed(shown, labels)
    assert "\n" not in str(error.value)


def test_names_may_be_exchanged(shown):
    assert names(renamed(shown, ["by error=by loss", "by loss=by error"]))[1:] == [
        "MRECG + QDrop, by loss",
        "MRECG + QDrop, by error",
    ]


def test_nothing_is_written_where_a_name_does_not_fit(root, tmp_path):
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    with pytest.raises(ConfigError, match="no run has the name 'x'"):
        main([str(root), "-o", str(page), "--figures", str(figures), "--label", "x=y"])
    assert not page.exists() and not figures.exists()


@pytest.mark.parametrize(("option", "value"), [("--width", "one"), ("--label", "QDrop=Q")])
def test_options_of_figures_are_refused_without_figures(root, option, value):
    with pytest.raises(ConfigError, match=f"{option} is for figures: add --figures DIR or --picture FILE"):
        main([str(root), option, value])


def test_a_width_that_there_is_not_is_named(root):
    with pytest.raises(ConfigError, match=r"--width: invalid choice: 'three' \(choose from .*one.*two"):
        main([str(root), "--figures", "f", "--width", "three"])


@pytest.mark.slow
@pytest.mark.parametrize(("width", "points"), [("one", "241.2pt"), ("two", "504pt")])
def test_figures_have_the_width_and_the_names(root, tmp_path, capsys, width, points):
    out = tmp_path / "out"
    main(
        [
            str(root),
            "--json",
            str(tmp_path / "n.json"),
            "--figures",
            str(out),
            "--width",
            width,
            "--label",
            "QDrop=Base",
        ]
    )
    drawings = {path.name: path.read_text() for path in out.glob("*.svg")}
    assert len(drawings) >= 3
    assert all(f'width="{points}"' in drawing for drawing in drawings.values())
    curves = next(text for name, text in drawings.items() if name.endswith("-oscillation.svg"))
    assert ">Base<" in curves and ">QDrop<" not in curves
