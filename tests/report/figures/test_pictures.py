"""Every figure as a picture, beside the one that somebody has looked at.

After a change that is meant, ``MRECG_PICTURES=write python -m pytest tests/report/figures/test_pictures.py``
makes the stored pictures again; look at each before it is committed.
"""

import os
import shutil
from pathlib import Path

import pytest
import run_folders
from matplotlib.testing.compare import compare_images
from tiers import first_fast

from mrecg.report.compare import panels
from mrecg.report.figures import single, style, write
from mrecg.report.figures.choices import Choices
from mrecg.report.figures.search import Trial, search_figure
from mrecg.report.figures.write import paper_figures
from mrecg.runs.load import load_run

STORED = Path(__file__).parent / "baseline"
AGAIN = "MRECG_PICTURES=write python -m pytest tests/report/figures/test_pictures.py"
TOLERANCE = 6.0
"""Root mean square of the differences, of 255: what another build of the font renderer may change."""
DPI = 60


def runs_of(root, *configurations):
    for i, values in enumerate(configurations):
        run_folders.write_run(root / f"{i:02}", **values)
    return [load_run(path) for path in sorted(root.iterdir())]


def merged(*firsts):
    units = run_folders.UNITS
    return tuple((units[i], units[i + 1]) for i in firsts)


PAIR = [{"method": "brecq_joint"}, {"method": "brecq_joint", "merged": run_folders.MERGED, "planner": "loss"}]
SEEDS = [{**values, "seed": seed} for values in PAIR for seed in (0, 1)]
COUNTS = [
    {"granularity": "mixed", "planner": "loss", "merged": merged(*(3, 6, 10, 13, 16)[:n])} for n in range(6)
]
PLANNERS = [
    {},
    *(
        {"planner": name, "merged": merged(*at)}
        for name, at in {"loss": (3, 6), "error": (10,), "safe": (6, 13)}.items()
    ),
    {"planner": "modcap", "merged": (run_folders.UNITS[6:9],)},
]
METHODS = [
    {"method": name, "level": 1 - 0.1 * i} for i, name in enumerate(("rtn", "adaround", "brecq", "qdrop"))
]
METHODS += [{"method": name, "level": 0.5} for name in ("pd_quant", "genie_m")]
SHORT = [{**values, "units": run_folders.UNITS[:8]} for values in ({}, {"merged": merged(3)})]
CASES = {
    "pair-two": (SEEDS, "two", "oscillation"),
    "pair-one": (PAIR, "one", "oscillation"),
    "few-units": (SHORT, "one", "oscillation"),
    "counts-two": (COUNTS, "two", "oscillation"),
    "counts-one": (COUNTS, "one", "oscillation"),
    "planners": (PLANNERS, "two", "oscillation"),
    "alone": (METHODS[:3], "one", "oscillation"),
    "methods": (METHODS, "two", "oscillation"),
    "ablation-counts": (COUNTS, "two", "ablation-merges"),
    "ablation-two": (SEEDS, "two", "ablation-configurations"),
    "ablation-one": (PLANNERS, "one", "ablation-configurations"),
    "plan": (PAIR[1:], "two", "plan-loss-k4"),
}


@pytest.fixture
def coarse(monkeypatch):
    """Pictures of few pixels, in place of the SVG files of one kind; of others nothing is written."""
    monkeypatch.setattr(style, "DPI", DPI)

    def of(kind):
        def save(figure, path, **words):
            picture = path.with_suffix(".png")
            return style.save(figure, picture, **words) if path.name.endswith(f"w2a4-{kind}.svg") else path

        monkeypatch.setattr(write, "save", save)

    return of


def compare(made, name):
    stored = STORED / f"{name}.png"
    if os.environ.get("MRECG_PICTURES") == "write":
        STORED.mkdir(exist_ok=True)
        shutil.copyfile(made, stored)
    assert stored.is_file(), f"{stored} is missing; {AGAIN}"
    difference = compare_images(str(stored), str(made), TOLERANCE)
    assert difference is None, f"{difference}\nlook at both; where the change is meant: {AGAIN}"


@pytest.mark.parametrize("name", first_fast(CASES))
def test_a_figure_looks_as_it_did(name, tmp_path, coarse):
    configurations, width, kind = CASES[name]
    coarse(kind)
    written = paper_figures(runs_of(tmp_path / "runs", *configurations), tmp_path, Choices(width=width))
    (made,) = (path for path in written if path.suffix == ".png")
    compare(made, name)


@pytest.mark.slow
def test_the_picture_of_all_runs_looks_as_it_did(tmp_path, coarse):
    runs = runs_of(tmp_path / "runs", *PAIR, *({**values, "bits": (4, 4)} for values in PAIR))
    assert len(panels(runs)) == 2
    compare(single.oscillation_figure(runs, tmp_path / "picture.png"), "picture")


def test_the_picture_of_a_search_looks_as_it_did(tmp_path, coarse):
    trials = [
        Trial(label=str(i), values=(0.5 + 0.04 * i - 0.003 * i * i, 20.0 + 5 * i), front=i < 6)
        for i in range(9)
    ]
    made = search_figure(trials, ["quantized.top1", "seconds"], True, tmp_path / "search.png")
    compare(made, "search")


@pytest.mark.slow
def test_a_picture_that_changed_is_seen(tmp_path):
    # The change at one unit alone: the comparison above is worth what it would miss.
    values = {"method": "brecq_joint", "merged": run_folders.MERGED, "planner": "loss"}
    other = {**values, "merged": run_folders.MERGED[:2]}
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", DPI)
        for name, second in (("a", values), ("b", other)):
            runs = runs_of(tmp_path / name, PAIR[0], second)
            made.append(single.oscillation_figure(runs, tmp_path / f"{name}.png", Choices(width="two")))
    assert compare_images(*map(str, made), TOLERANCE) is not None
