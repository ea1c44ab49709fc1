"""The dashboard: which panels a set of runs gets, and everything up to the network call of applying it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from offline_run import OfflineRun

from mrecg.errors import ConfigError, DataError
from mrecg.pipeline.result import Result
from mrecg.planner.schedule import Criterion, Plan, group_name
from mrecg.report import palette
from mrecg.runs.manifest import Job, write_jobs
from mrecg.track.dashboard import apply, specification
from mrecg.track.dashboard import facts as dashboard_facts
from mrecg.track.dashboard.facts import Facts
from mrecg.track.wandb_logger import metrics

pytest.importorskip("wandb_workspaces")
UNITS = ("stem", "layer1.0", "layer1.1", "head")
HEADER = "step,reconstruction,rounding,total,beta,prediction\n"


def folder(
    root: Path,
    name: str,
    *,
    groups: tuple[tuple[str, ...], ...],
    method: str = "qdrop",
    passes: int = 1,
    seed: int = 0,
) -> Path:
    """Leave what a dashboard reads of a run folder."""
    run = root / name
    (run / "curves").mkdir(parents=True)
    criterion = Criterion(
        name="loss", difference="fall", capacities=(1.0, 2.0, 1.0, 3.0), differences=(0.0, 1.0, 0.0)
    )
    granularity = "mixed" if len(groups) < len(UNITS) else "block"
    plan = Plan(granularity=granularity, units=UNITS, groups=groups, criteria=(criterion,))
    (run / "plan.json").write_text(json.dumps(plan.as_dict()))
    (run / "summary.json").write_text('{"status": "completed"}')
    config = {
        "model": {"name": "net"},
        "bits": {"weight": 2, "activation": 4},
        "method": {"name": method},
        "granularity": {"name": granularity},
        "planner": {"name": "loss"},
        "logger": {"project": "mine", "entity": None},
        "seed": seed,
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for group in map(group_name, groups):
        (run / "curves" / f"{group}.csv").write_text(f"{HEADER}0,1.0,0.5,1.5,20.0,\n")
        if passes == 2:
            (run / "curves" / f"{group}.scales.csv").write_text(f"{HEADER}0,1.0,,1.0,,\n")
    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """BRECQ in two passes and QDrop, both with blocks alone and with two merged."""
    alone = tuple((unit,) for unit in UNITS)
    merged = (UNITS[:1], UNITS[1:3], UNITS[3:])
    for seed in (0, 1):
        folder(tmp_path, f"{seed}-a", groups=alone, seed=seed)
        folder(tmp_path, f"{seed}-b", groups=merged, seed=seed)
        folder(tmp_path, f"{seed}-c", groups=merged, method="brecq", passes=2, seed=seed)
    failed = tmp_path / "9-failed"
    failed.mkdir()
    (failed / "summary.json").write_text('{"status": "failed"}')
    return tmp_path


@pytest.fixture
def facts(runs: Path) -> Facts:
    return dashboard_facts.gather([runs])


@pytest.fixture
def written(facts: Facts) -> dict[str, Any]:
    return specification.specification(facts, project="mine", entity="me")


def panels(written: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    sections = written["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def keys(value: Any) -> Iterator[str]:
    """All metric names in a specification."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("metrics", "xAxis", "yAxis"):
                yield from [inner] if isinstance(inner, str) else inner
            else:
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_facts_are_what_the_folders_have(facts: Facts) -> None:
    assert facts.runs == 6 and facts.project == "mine" and facts.entity is None
    assert facts.keys == ("label", "method.name") and facts.merged_pairs == (0, 1)
    assert list(facts.labels) == ["QDrop", "MRECG + QDrop", "MRECG + BRECQ"]
    assert len(set(facts.labels.values())) == 3 and facts.floors and not facts.against_block
    assert facts.quantities == ("reconstruction", "rounding", "total", "beta") and facts.criteria == (
        ("loss", "fall"),
    )
    (network,) = facts.networks
    assert network.model == "net" and network.units == UNITS
    first = ("00_stem", "01_layer1_0", "02_layer1_1", "03_head")
    both = sorted((*first, "00_stem_scales", "02_layer1_1_scales", "03_head_scales"))
    assert network.places == {
        **{
            "reconstruction": tuple(both),
            "rounding": first,
            "prediction": (),
            "total": tuple(both),
            "beta": first,
        }
    }


def test_the_workspace_has_the_panels_of_the_report(written: dict[str, Any]) -> None:
    found = panels(written)
    assert list(found) == [
        *("Oscillation", "Method comparison", "Merge count", "Plan"),
        *("Reconstruction loss of each unit: net", "Rounding regulariser of each unit: net"),
        *("Total loss of each unit: net", "Schedule: net"),
    ]
    along = ("oscillation/error", "oscillation/loss", "oscillation/floor")
    for panel, key in zip(found["Oscillation"], along, strict=True):
        assert panel["config"]["xAxis"] == "unit" and panel["config"]["metrics"] == [key]
    assert {panel["config"]["xAxis"] for panel in found["Merge count"]} == {"summary:merged_pairs"}
    multiples = found["Reconstruction loss of each unit: net"]
    assert [panel["config"]["chartTitle"] for panel in multiples] == [
        *("00_stem", "01_layer1_0", "02_layer1_1", "03_head"),
    ]
    assert multiples[2]["config"]["metrics"] == [
        *("reconstruction/02_layer1_1", "reconstruction/02_layer1_1_scales"),
    ]
    assert {panel["config"]["xAxis"] for panel in multiples} == {"step"}
    (runs,) = written["workspace"]["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["label.value", "method.value.name"]
    compared = [key for panel in found["Method comparison"] for key in keys(panel["config"])]
    wanted = {"top1", "oscillation_loss_peak", "oscillation_head_error", "oscillation_regrowth", "seconds"}
    assert wanted <= {key.removeprefix("summary:") for key in compared}
    assert not {"oscillation_error_index", "oscillation_error_peak", "size_bytes"} & {
        key.removeprefix("summary:") for key in keys(written)
    }


def test_runs_of_a_method_have_its_colour(written: dict[str, Any], facts: Facts) -> None:
    workspace, _ = apply.rebuild(written, entity="me", project="mine")
    assert workspace.runset_settings.group_colors == dict(facts.labels)
    assert palette.colour_of("qdrop", merged=True) == facts.labels["MRECG + QDrop"]
    assert palette.colour_of("qdrop", merged=False) == facts.labels["QDrop"]


def test_two_labels_of_one_method_do_not_share_a_colour(tmp_path: Path) -> None:
    alone = tuple((unit,) for unit in UNITS)
    words = ((), ("trainer.steps=240",))
    jobs = [Job(number=i, identity=f"{i:016x}", folder=f"{i}", overrides=own) for i, own in enumerate(words)]
    write_jobs(tmp_path, jobs, command="", verb="quantize", arguments=[])
    for i in (0, 1):
        folder(tmp_path, f"{i}", groups=alone)
    facts = dashboard_facts.gather([tmp_path])
    assert facts.labels == {"QDrop": palette.colour_of("qdrop", merged=False), "QDrop, 240 steps": ""}
    written = specification.specification(facts, project="p", entity="e")
    workspace, _ = apply.rebuild(written, entity="e", project="p")
    assert list(workspace.runset_settings.group_colors) == ["QDrop"]


def test_the_compare_run_is_no_run_to_compare(written: dict[str, Any]) -> None:
    (runs,) = written["workspace"]["spec"]["section"]["runSets"]
    text = json.dumps(runs["filters"])
    assert '"jobType"' in text and '"!="' in text and '"compare"' in text


def test_the_error_against_block_has_a_panel_where_it_was_logged(runs: Path) -> None:
    (runs / "0-b" / "summary.json").write_text('{"status": "completed", "block_errors": [1, 1, 1, 1]}')
    facts = dashboard_facts.gather([runs])
    found = panels(specification.specification(facts, project="p", entity="e"))["Oscillation"]
    assert found[1]["config"]["metrics"] == ["oscillation/error_vs_block"]
    assert not found[1]["config"].get("yLogScale")  # it has both signs


def test_one_number_of_merges_has_no_panel_of_its_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder(tmp_path, f"{seed}", groups=tuple((unit,) for unit in UNITS), seed=seed)
    facts = dashboard_facts.gather([tmp_path])
    written = specification.specification(facts, project="p", entity="e")
    assert "Merge count" not in panels(written) and "Merge count" not in json.dumps(written["report"])


def test_every_name_in_it_is_one_that_a_run_logs(
    finished: tuple[Path, Result], read: OfflineRun, tmp_path: Path
) -> None:
    facts = dashboard_facts.gather([finished[0]])
    written = specification.specification(facts, project="p", entity="e")
    logged = read.definitions.keys() | {f"summary:{key}" for key in read.summary} | read.summary.keys()
    assert set(keys(written)) - {"_step"} <= logged
    shown = {key for key, definition in read.definitions.items() if not definition.hidden}
    assert shown <= set(keys(panels(written)))


def test_networks_have_sections_of_their_own(runs: Path) -> None:
    facts = dashboard_facts.gather([runs])
    other = dashboard_facts.Network(
        model="net",
        units=UNITS[:3],
        places={"total": ("00_stem",), "beta": (), "reconstruction": (), "rounding": ()},
    )
    both = dashboard_facts.Facts(**{**vars(facts), "networks": (*facts.networks, other)})
    names = panels(specification.specification(both, project="p", entity="e"))
    assert (
        "Total loss of each unit: net, 4 units" in names and "Total loss of each unit: net, 3 units" in names
    )


def test_the_report_says_what_it_shows(written: dict[str, Any]) -> None:
    text = json.dumps(written["report"])
    for words in ("Oscillation", "Method comparison", "Merge count", "Plan", "6 runs of net", "0, 1."):
        assert words in text
    assert written["report"]["spec"]["width"] == "fluid"


def test_a_specification_comes_back_as_it_was(written: dict[str, Any], tmp_path: Path) -> None:
    file = specification.write(written, tmp_path / "deep" / "dashboard.json")
    assert apply.read(file) == written
    workspace, report = apply.rebuild(written, entity="me", project="mine")
    assert specification._plain(workspace._to_model()) == written["workspace"]
    for block in report.blocks:
        for runs in getattr(block, "runsets", ()):
            assert (runs.entity, runs.project) == ("me", "mine")
            runs.entity = runs.project = ""  # with these the package would ask W&B for the project's number
    assert specification._plain(report._to_model()) == written["report"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "other"}', '{"kind": "mrecg-dashboard"}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: "):
        apply.read(tmp_path / "a.json")
    with pytest.raises(DataError, match="no such file"):
        apply.read(tmp_path / "b.json")


def test_a_specification_that_does_not_fit_says_so(written: dict[str, Any]) -> None:
    written["workspace"]["spec"] = {"section": 1}
    written["versions"]["wandb-workspaces"] = "0.0.1"
    with pytest.raises(DataError, match=r"made with wandb-workspaces 0\.0\.1, does not fit .* make it again"):
        apply.rebuild(written, entity="e", project="p")


@pytest.mark.parametrize("broken", ["plan.json", "config.yaml"])
def test_a_broken_folder_is_named(broken: str, runs: Path) -> None:
    (runs / "0-a" / broken).write_text("- [")
    with pytest.raises(DataError, match=f"0-a/{broken}: "):
        dashboard_facts.gather([runs])


def test_runs_without_a_plan_are_too_little(runs: Path) -> None:
    with pytest.raises(DataError, match="no run in it got as far as its plan"):
        dashboard_facts.gather([runs / "9-failed"])


@pytest.mark.parametrize("entity", ["team", None])
def test_applying_saves_a_workspace_and_a_report(entity: str | None, facts: Facts, server: Any) -> None:
    written = specification.specification(facts, project="mine", entity="")
    applied = apply.apply(written, entity=entity, project="other")
    workspace, created, report = server.kept
    where = entity or "owner"
    assert created == {"created": f"{where}/other"}
    assert (workspace["entityName"], workspace["projectName"], workspace["type"]) == (
        where,
        "other",
        "project-view",
    )
    assert json.loads(workspace["spec"]) == written["workspace"]["spec"]
    assert (report["entityName"], report["projectName"], report["type"]) == (where, "other", "runs")
    assert "UHJvamVjdDox" in report["spec"] and metrics.ERROR in report["spec"]
    assert applied.workspace.startswith(f"https://wandb.example/{where}/other?nw=")
    assert applied.report.startswith(f"https://wandb.example/{where}/other/reports/")


def test_what_w_and_b_refuses_is_one_line(written: dict[str, Any], server: Any) -> None:
    server.fail = RuntimeError("permission\ndenied")
    with pytest.raises(DataError, match="W&B did not take it: permission denied"):
        apply.apply(written, entity="me", project=None)


def test_a_server_that_does_not_answer_is_given_up(written: dict[str, Any], server: Any) -> None:
    server.delay = 3.0
    begin = time.perf_counter()
    with pytest.raises(DataError, match="no answer from W&B within 0 s"):
        apply.apply(written, entity="me", project=None, seconds=0.2)
    assert time.perf_counter() - begin < 2.0


def test_without_a_key_nothing_is_tried(written: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no key here; run wandb login"):
        apply.apply(written, entity="me", project=None)


def test_without_the_extra_it_says_what_to_install(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ConfigError, match=r"pip install 'mrecg\[dashboard\]'"):
        specification.specification(facts, project="p", entity="e")
