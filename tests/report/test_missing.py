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


def test_an_automatic_count_is_repeated_and_stands_once(mixed):
    run = mixed.model_copy(update={"options": {"planner.merge_count": "auto", "planner.difference": "rise"}})
    words = reproduce(run).split()
    assert {"planner=error", "planner.merge_count=auto", "planner.difference=rise"} <= set(words)
    assert not any(word.startswith("planner.merge_count=") for word in words if "auto" not in word)


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


@pytest.mark.parametrize("command", ["", "mrecg quantize -m seed=0,1 planner.merge_count=auto", "script.py"])
def test_what_its_planner_was_told_is_not_told_to_another(mixed, command):
    options = {"planner.merge_count": "auto", "planner.difference": "rise", "method.beta_end": "3"}
    update = {"groups": tuple((name,) for name in mixed.unit_names), "options": options, "command": command}
    words = shlex.split(missing_run([mixed.model_copy(update=update)]).command)
    assert [word for word in words if word.startswith("planner")] == ["planner=loss", "planner.merge_count=3"]
    assert "method.beta_end=3" in words


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


def test_a_quotation_that_does_not_end_gives_the_command_of_the_settings(mixed):
    given = "mrecg quantize model=resnet18 'data.evaluation_path=/a b"
    words = shlex.split(missing_run([mixed.model_copy(update={"command": given})]).command)
    assert {"model=mobilenet_v2_digits", "granularity=block", "seed=0"} <= set(words)


def test_a_key_stands_once_and_the_last_value_wins(mixed):
    given = "mrecg quantize seed=1 bits=w2a4 ++planner.merge_count=2 seed=2 +name=x hydra/launcher=y ~planner"
    words = shlex.split(missing_run([mixed.model_copy(update={"command": given})]).command)
    assert words == ["mrecg", "quantize", "seed=2", "bits=w2a4", "granularity=block"]


def test_flags_keep_their_values_and_keys_that_only_begin_alike_stay(mixed):
    given = "mrecg quantize --config-dir a -cn a runner=1 names=b model.name=c"
    words = shlex.split(missing_run([mixed.model_copy(update={"command": given})]).command)
    assert words == [*shlex.split(given), "granularity=block"]


def test_whatever_was_swept_has_the_value_of_the_run(mixed):
    given = "mrecg quantize -m model=a,b bits=w2a4,w4a4 data.calibration_images=64,512 data.seed=1,2"
    words = shlex.split(missing_run([mixed.model_copy(update={"command": given})]).command)
    assert {"model=mobilenet_v2_digits", "data.calibration_images=512", "bits.weight=2"} <= set(words)
    assert not any(word.startswith(("bits=", "data.seed=")) for word in words)
