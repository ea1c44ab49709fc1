from pathlib import Path

import pytest

from mrecg.planner.schedule import Criterion, Plan, group_name
from mrecg.track.wandb_logger import account, labels, metrics


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
