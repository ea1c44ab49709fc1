"""Commands that repeat a run, or make the one that a comparison lacks."""

import shlex

import pytest

from mrecg.report import load_run
from mrecg.report.missing import missing_run, reproduce


@pytest.fixture
def block(tmp_path, folders):
    return load_run(folders.write_run(tmp_path / "block"))


@pytest.fixture
def mixed(tmp_path, folders):
    return load_run(folders.write_run(tmp_path / "mixed", merged=folders.merged))


def test_the_recorded_command_wins(block):
    assert (
        reproduce(block.model_copy(update={"command": "mrecg quantize -m seed=0,1"}))
        == "mrecg quantize -m seed=0,1"
    )
    made = reproduce(block.model_copy(update={"command": "script.py"}))
    assert made.startswith("mrecg quantize ")
    assert "seed=0" in made
    assert "bits.weight=2" in made
    fixed = block.model_copy(update={"granularity": "fixed", "groups": (("a", "b"), ("c",))})
    assert "'granularity.groups=[[a,b]]'" in reproduce(fixed)


def test_a_merged_run_lacks_the_block_wise_one(mixed):
    run = mixed.model_copy(update={"options": {"planner.difference": "rise", "method.beta_end": "3"}})
    command = missing_run([run]).command.split()
    assert command[:2] == ["mrecg", "quantize"]
    assert "granularity=block" in command and "method=qdrop" in command and "method.beta_end=3" in command
    assert not any(word.startswith("planner") for word in command)


def test_a_block_wise_run_lacks_the_merged_one(block):
    assert "granularity=mixed" in missing_run([block]).command.split()


def test_a_plan_that_merges_nothing_gets_merges(mixed):
    none = mixed.model_copy(update={"groups": tuple((name,) for name in mixed.unit_names), "merge_count": 0})
    words = missing_run([none]).command.split()
    assert "granularity=mixed" in words and "planner.merge_count=3" in words


def test_what_the_user_typed_stays_but_for_the_granularity(mixed):
    given = (
        "mrecg quantize model=resnet18 'data.evaluation_path=/a b/c' granularity=mixed planner=loss name=x"
    )
    words = shlex.split(missing_run([mixed.model_copy(update={"command": given})]).command)
    assert words == [
        "mrecg",
        "quantize",
        "model=resnet18",
        "data.evaluation_path=/a b/c",
        "granularity=block",
    ]


@pytest.mark.parametrize(
    "given",
    [
        "mrecg quantize -m model=resnet18 method=brecq,qdrop seed=0,1 planner=loss planner.merge_count=1,2",
        "mrecg quantize model=resnet18 --multirun 'seed=range(3)' 'planner.merge_count=range(1,9)'",
        "mrecg quantize model=resnet18 sweep=planners",
    ],
)
def test_of_a_sweep_one_run_is_made(mixed, given):
    words = shlex.split(missing_run([mixed.model_copy(update={"command": given})]).command)
    keys = [word.partition("=")[0] for word in words]
    assert len(keys) == len(set(keys)) and not {"-m", "--multirun", "sweep"} & set(keys)
    assert {"model=resnet18", "method=qdrop", "seed=0", "granularity=block"} <= set(words)
    assert "," not in " ".join(words)


def test_what_merging_cannot_change_lacks_nothing(block):
    assert missing_run([block.model_copy(update={"method": "rtn"})]) is None
    assert missing_run([]) is None


def test_the_most_accurate_merged_run_comes_first(block, mixed):
    other = block.model_copy(update={"steps": 999, "quantized": None})
    assert "granularity=block" in missing_run([other, mixed]).command
