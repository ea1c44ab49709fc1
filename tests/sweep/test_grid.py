# ruff: noqa: E501 (a table with one command line a line)
"""The grid: jobs of its axes, and the controls at equal time."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from mrecg.config import hydra_compose
from mrecg.config.explain import explain
from mrecg.errors import ConfigError
from mrecg.sweep.grid import Grid

Jobs = Callable[..., list[tuple[str, str, int]]]
DEMO = ["experiment=demo", "sweep=brecq_vs_mrecg"]


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """Method, granularity and steps of the jobs that a command line makes, in their order."""

    def make(*words: str) -> list[tuple[str, str, int]]:
        hydra_compose.register()
        with hydra_compose._hydra() as hydra:
            config = hydra.compose_config(config_name="config", overrides=[*words], run_mode=RunMode.MULTIRUN)
            settings = {k: v for k, v in config.hydra.sweeper.items() if k != "_target_"}
            params = settings.pop("params")
            grid = Grid(**settings, params=None if params is None else OmegaConf.to_container(params))
            grid.config = config
            grid.hydra_context = HydraContext(
                config_loader=GlobalHydra.instance().config_loader(), callbacks=None
            )
            combined = grid.combinations([word for word in words if not word.startswith("hydra")])
            resolve = grid.resolver()
            found = [grid.configs[resolve(o)[0]] for o in [*combined, *grid.controls(combined)]]
        return [(c["method"]["name"], c["granularity"]["name"], c["trainer"]["steps"]) for c in found]

    return make


def test_the_demo_has_a_control_for_each_method(jobs: Jobs) -> None:
    assert jobs(*DEMO) == [
        *(("brecq_joint", "block", 60), ("brecq_joint", "mixed", 60)),
        *(("qdrop", "block", 60), ("qdrop", "mixed", 60)),
        *(("brecq_joint", "block", 144), ("qdrop", "block", 144)),
    ]


def test_its_steps_follow_those_of_its_block_wise_job(jobs: Jobs) -> None:
    assert jobs(*DEMO, "method=qdrop", "trainer.steps=5,10") == [
        *(("qdrop", "block", 5), ("qdrop", "block", 10), ("qdrop", "mixed", 5), ("qdrop", "mixed", 10)),
        *(("qdrop", "block", 12), ("qdrop", "block", 24)),
    ]


def test_what_plans_nothing_for_blocks_repeats_no_control(jobs: Jobs) -> None:
    found = jobs(*DEMO, "method=qdrop", "planner=safe,modcap")
    assert found.count(("qdrop", "block", 144)) == 1
    assert len([granularity for _, granularity, _ in found if granularity == "mixed"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["hydra.sweeper.control_steps=null"],
        ["granularity=block,layer"],
        ["granularity=mixed"],
        ["sweep=merge_count"],
    ],
    ids=" ".join,
)
def test_without_a_pair_or_where_none_is_asked_for_there_is_no_control(words: list[str], jobs: Jobs) -> None:
    found = jobs(*DEMO, *words)
    assert found and {steps for *_, steps in found} == {60}


def test_any_sweep_may_have_one(jobs: Jobs) -> None:
    found = jobs("experiment=demo", "sweep=seeds", "seed=0", "hydra.sweeper.control_steps=3")
    assert [steps for *_, steps in found] == [60, 60, 180]


SETS = r"^hydra\.sweeper\.control_steps, set by sweep/brecq_vs_mrecg: "


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["hydra/sweeper=basic", "sweep=brecq_vs_mrecg"],
            SETS + r"hydra/sweeper=basic has no .* hydra/sweeper=grid can",
        ),
        (
            ["hydra/sweeper=basic", "sweep=search"],
            r"^hydra\.sweeper\.maximize, .* only hydra/sweeper=search can",
        ),
        (
            ["sweep=seeds", "hydra.sweeper.n_trials=3"],
            r"^hydra\.sweeper\.n_trials: unknown .* only hydra/sweeper=search can",
        ),
        (
            ["hydra/sweeper=basic", "sweep=seeds", "hydra.sweeper.retries=3"],
            "only hydra/sweeper=grid and hydra/sweeper=search can",
        ),
        (
            ["hydra/sweeper=search", "sweep=seeds", "hydra.sweeper.control_steps=3"],
            "hydra/sweeper=search has no .* hydra/sweeper=grid can",
        ),
        (
            ["hydra/sweeper=search", "sweep=brecq_vs_mrecg"],
            r"a search .* add hydra\.sweeper\.control_steps=null$",
        ),
        (
            ["sweep=search", "hydra.sweeper.control_steps=3"],
            r"a search .* add hydra\.sweeper\.control_steps=null$",
        ),
        (["sweep=search", "hydra/sweeper=grid"], "^hydra/sweeper=grid: .* is a search; leave one"),
        (["hydra.launcher.foo=1"], r"^hydra\.launcher\.foo: unknown key; mrecg quantize --cfg hydra shows"),
        (["hydra.foo=1"], r"^hydra\.foo: unknown key; mrecg quantize --cfg hydra shows"),
        (["hydra.launcher.joblib=1"], r"^hydra\.launcher\.joblib: unknown key; "),
    ],
    ids=str,
)
def test_a_key_of_another_sweeper_is_one_line(words: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        hydra_compose.check(["experiment=demo", *words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [["hydra/sweeper=basic", "sweep=seeds"], ["sweep=search"]], ids=str)
def test_what_every_sweeper_has_works_with_each(words: list[str]) -> None:
    assert len(hydra_compose.check(["experiment=demo", *words]).configs) > 1


def test_a_key_that_is_forced_on_a_sweeper_is_one_line() -> None:
    target = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    said = f"Error in call to target '{target}':\nTypeError(\"BasicSweeper.__init__() got an unexpected keyword argument 'retries'\")"
    line = explain(HydraException(said), ["hydra/sweeper=basic", "+hydra.sweeper.retries=1"])
    assert line.startswith(
        "hydra.sweeper.retries: hydra/sweeper=basic has no such key; only hydra/sweeper=grid"
    )


@pytest.mark.parametrize("given", ["1", "0", "-2", "abc", "true", "1e9", "[2]"])
def test_a_wrong_factor_is_one_line(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.control_steps: .* give a number above 1"):
        hydra_compose.check([*DEMO, f"hydra.sweeper.control_steps={given}"])
