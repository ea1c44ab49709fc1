import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun

from mrecg.config import hydra_compose
from mrecg.config.outputs import LoggerConfig
from mrecg.config.validate import plain
from mrecg.planner.schedule import Criterion, Plan, group_name
from mrecg.runs.manifest import Job, read_jobs, write_jobs
from mrecg.track.wandb_logger import account, labels, metrics
from mrecg.track.wandb_logger.wandb_run import WandbRun


def hydra(folder: Path, text: str) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "hydra.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("outputs/2026-01-31/12-00-00-sweep", "2026-01-31-12-00-00-sweep"),
        ("sweeps/merge_count", "merge_count"),
    ],
)
def test_a_sweep_is_named_by_its_folder(tmp_path: Path, place: str, name: str) -> None:
    text = f"hydra:\n  mode: MULTIRUN\n  sweep:\n    dir: {place}\n"
    assert labels.sweep(hydra(tmp_path, text)) == name


def test_a_single_run_has_no_sweep(tmp_path: Path) -> None:
    assert labels.sweep(tmp_path) is None
    assert labels.sweep(hydra(tmp_path, "hydra:\n  mode: RUN\n  sweep:\n    dir: multirun\n")) is None


def test_places_sort_as_the_network_has_them() -> None:
    units = tuple(f"layer{i}.{i % 2}" for i in range(120))
    plan = Plan(granularity="mixed", units=units, groups=(units[:1], units[1:8], *((u,) for u in units[8:])))
    places = metrics.places(plan)
    assert list(places) == [group_name(group) for group in plan.groups]
    assert sorted(places.values()) == list(places.values())
    assert places[group_name(units[1:8])] == "007_layer7_1" and places["layer99.1"] == "099_layer99_1"


def test_a_summary_without_images_has_no_accuracy() -> None:
    seconds = {"seconds": 1.0, "seconds_here": 1.0, "seconds_reused": 0}
    found = metrics.flat_summary(
        {"status": "completed", "fp": None, "quantized": None, "timing_s": {"plan": 1.0}}
    )
    assert found == {"status": "completed", "seconds_plan": 1.0, **seconds}


def test_what_is_not_a_number_is_no_result() -> None:
    units = [{"name": name, "group": i, "error": math.nan, "loss": 1.0} for i, name in enumerate("abc")]
    found = metrics.flat_summary({"status": "completed", "units": units})
    assert not [key for key, value in found.items() if value != value] and "oscillation_regrowth" not in found


@pytest.mark.parametrize(
    ("host", "base", "found"),
    [
        ("api.wandb.ai", None, True),
        ("api.forge.coreweave.com", None, True),
        ("example.org", None, False),
        ("example.org", "https://example.org/api", True),
        ("api.wandb.ai", "https://example.org", False),
    ],
)
def test_a_key_is_found_where_wandb_login_leaves_it(
    host: str, base: str | None, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    monkeypatch.setenv("NETRC", str(file))
    if base:
        monkeypatch.setenv("WANDB_BASE_URL", base)
    assert account.has_key() is found


def test_a_key_in_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not account.has_key()
    (tmp_path / "netrc").write_text("machine\nnonsense")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not account.has_key()
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert account.has_key()


def test_criteria_that_share_capacities_are_shown_once() -> None:
    made = [("loss", "fall"), ("modcap", "squared"), ("modcap", "log_ratio"), ("loss", "squared")]
    criteria = [
        Criterion(name=name, difference=difference, capacities=(1.0, 2.0), differences=(1.0,))
        for name, difference in made
    ]
    units = ("a", "b")
    plan = Plan(granularity="mixed", units=units, groups=(units,), criteria=tuple(criteria))
    assert metrics.leading(plan) == criteria[:2]


SETTINGS: dict[str, Any] = {
    "model": {"name": "net"},
    "bits": {"weight": 2, "activation": 4},
    "method": {"name": "brecq_joint"},
    "granularity": {"name": "mixed"},
    "planner": {"merge_count": 3},
    "seed": 0,
}
USUAL = "net-w2a4-brecq_joint-mixed-s0"


def sweep_of(root: Path, *overrides: tuple[str, ...]) -> list[Path]:
    """A sweep's list of jobs, and the folder of each."""
    jobs = [
        Job(number=i, identity=f"{i:016x}", folder=f"{i}-job", overrides=words)
        for i, words in enumerate(overrides)
    ]
    write_jobs(root, jobs, command="", verb="quantize", arguments=[])
    return [root / job.folder for job in jobs]


def test_a_run_has_the_name_that_people_know(tmp_path: Path) -> None:
    found = labels.label(SETTINGS, tmp_path)
    assert found == "MRECG + BRECQ"
    assert labels.display_name(SETTINGS, USUAL, found) == "MRECG + BRECQ W2A4 s0"
    assert labels.display_name(SETTINGS, "run", found) == "MRECG + BRECQ W2A4 s0"  # the default in Python
    assert labels.display_name(SETTINGS, "mine", found) == "mine"  # given by the user
    none = {**SETTINGS, "planner": {"merge_count": 0}}
    assert labels.label(none, tmp_path) == labels.label(SETTINGS, tmp_path, merged=False) == "BRECQ"


def test_the_usual_name_is_that_of_the_configuration() -> None:
    (config,) = hydra_compose.check(["method=pd_quant", "bits=w4a8", "seed=7"]).configs
    settings = plain(config)
    assert labels.display_name(settings, config.name, "x") == "x W4A8 s7"


@pytest.mark.parametrize(
    ("budget", "name", "words"),
    [
        ("3", "w3avg-a4", "W(avg 3)A4"),
        ("2.5", "w2.5avg-a4", "W(avg 2.5)A4"),
        ("200kB", "w200kB-a4", "W(200kB)A4"),
    ],
)
def test_names_say_under_what_budget_bits_are_chosen(budget: str, name: str, words: str) -> None:
    for choice in ("bits=auto", "bits=w2a4"):
        (config,) = hydra_compose.check(
            [choice, f"bits.budget={budget}", "method=rtn", "model.name=net"]
        ).configs
        assert config.name == f"net-{name}-rtn-mixed-s0"
        settings = plain(config)
        assert labels.display_name(settings, config.name, "RTN") == f"RTN {words} s0"
        assert labels.tags(settings, ())[-1] == name
    jobs = hydra_compose.check(["-m", f"bits.budget={budget},null", "seed=0,1"]).configs
    assert [(name in job.name, "w2a4" in job.name) for job in jobs] == [(True, False)] * 2 + [
        (False, True)
    ] * 2


def test_a_label_says_what_else_differs_in_the_sweep(tmp_path: Path) -> None:
    block = {**SETTINGS, "granularity": {"name": "block"}}
    common = ("logger=csv", "trainer.batch_size=8")
    first, second, control = sweep_of(
        tmp_path,
        (*common, "granularity=block"),
        (*common, "granularity=mixed"),
        (*common, "granularity=block", "trainer.steps=240"),
    )
    assert labels.label(block, first) == "BRECQ"
    assert labels.label(SETTINGS, second) == "MRECG + BRECQ"
    assert labels.label(block, control) == "BRECQ, 240 steps"


def test_names_have_no_part_twice(tmp_path: Path) -> None:
    places = sweep_of(
        tmp_path,
        *((f"planner.merge_count={k}", f"seed={k}", "planner=loss", f"bits=w{k}a4") for k in (2, 3)),
    )
    assert labels.label(SETTINGS, places[1]) == "MRECG + BRECQ, merge count 3"


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        (
            "method.regulariser",
            ("0.1", "1"),
            ("MRECG + BRECQ, regulariser 0.1", "MRECG + BRECQ, regulariser 1"),
        ),
        (
            "bits.stem_output",
            ("low", "high"),
            ("MRECG + BRECQ, stem output low", "MRECG + BRECQ, stem output high"),
        ),
        ("bits.boundary", ("4", "8"), ("MRECG + BRECQ, boundary 4", "MRECG + BRECQ, boundary 8")),
        (
            "granularity.max_unit_layers",
            ("4", "8"),
            ("MRECG + BRECQ, max unit layers 4", "MRECG + BRECQ, max unit layers 8"),
        ),
        ("bits.weight", ("2", "3"), ("MRECG + BRECQ", "MRECG + BRECQ")),
        ("method.name", ("qdrop", "brecq"), ("MRECG + BRECQ", "MRECG + BRECQ")),
        ("method", ("brecq", "brecq_joint"), ("MRECG + BRECQ, brecq", "MRECG + BRECQ, brecq_joint")),
        ("granularity", ("mixed", "fixed"), ("MRECG + BRECQ, mixed", "MRECG + BRECQ, fixed")),
        ("granularity", ("mixed", "block"), ("MRECG + BRECQ", "MRECG + BRECQ")),
        ("seed", ("0", "1"), ("MRECG + BRECQ", "MRECG + BRECQ")),
    ],
)
def test_what_the_name_does_not_show_is_in_the_label(
    key: str, values: tuple[str, str], said: tuple[str, str], tmp_path: Path
) -> None:
    places = sweep_of(tmp_path, *((f"{key}={value}",) for value in values))
    assert tuple(labels.label(SETTINGS, place) for place in places) == said


def test_the_list_of_jobs_is_read_once_while_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(labels, "read_jobs", lambda folder: (read.append(folder), read_jobs(folder))[1])
    places = sweep_of(tmp_path, *((f"trainer.steps={i}",) for i in range(5)))
    assert [labels.differing(place) for place in places] == [[f"{i} steps"] for i in range(5)]
    assert read == [tmp_path]
    places = sweep_of(tmp_path, *((f"trainer.steps={i}",) for i in range(7, 9)))  # it has grown, or shrunk
    assert [labels.differing(place) for place in places] == [["7 steps"], ["8 steps"]]
    monkeypatch.chdir(tmp_path)
    assert labels.differing(Path("1-job")) == ["8 steps"] and len(read) == 2


def test_a_broken_list_of_jobs_costs_no_name(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{")
    assert labels.label(SETTINGS, tmp_path / "0-job") == "MRECG + BRECQ"


def test_a_plan_without_merges_renames_the_run(tmp_path: Path, settled: Callable[[Path], OfflineRun]) -> None:
    run = WandbRun(LoggerConfig(), folder=tmp_path, name=USUAL, settings=SETTINGS)
    run.plan(Plan(granularity="mixed", units=("a", "b"), groups=(("a",), ("b",))))
    run.finish({})
    read = settled(tmp_path)
    assert read.name == "BRECQ W2A4 s0" and read.config["label"] == "BRECQ"
    assert read.config["method"] == SETTINGS["method"]


def test_a_plan_with_merges_keeps_it(tmp_path: Path, settled: Callable[[Path], OfflineRun]) -> None:
    run = WandbRun(LoggerConfig(), folder=tmp_path, name=USUAL, settings=SETTINGS)
    run.plan(Plan(granularity="mixed", units=("a", "b"), groups=(("a", "b"),)))
    run.finish({})
    read = settled(tmp_path)
    assert read.name == "MRECG + BRECQ W2A4 s0" and read.config["label"] == "MRECG + BRECQ"
