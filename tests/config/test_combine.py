"""The jobs of a sweep composed together are what each is by itself."""

import random
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from mrecg.config.combine import Combiner
from mrecg.config.hydra_compose import MAX_CORNERS, check, from_hydra, register
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError

AXES = [
    ["method=qdrop", "method=brecq", "method=rtn"],
    ["seed=0", "seed=1"],
    ["bits=w2a4", "bits=w4a4"],
    ["calibration.candidates=3", "calibration.candidates=5"],
    ["name=foo", "name='a b'", "name='x${seed}'", "seed=7"],
    ["model.arguments={a:1}", "+model.arguments.b=2", "model.arguments.c=3"],
    ["trainer.lr_factor=2", "trainer.lr_factor=0.5", "data.labels_path=null", "method.keep_probability=0.3"],
    ["experiment=demo", "experiment=null"],
]
"""Words of all kinds, some of which do not go together."""


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="mrecg"):
        yield
    GlobalHydra.instance().clear()


def alone(words: list[str]) -> DictConfig:
    return compose("config", words)


def outcome(tree: DictConfig | Exception) -> RunConfig | str:
    if isinstance(tree, Exception):
        return f"{type(tree).__name__}: {tree}"
    try:
        return from_hydra(tree)
    except ConfigError as error:
        return str(error)


def attempt(make: object, words: list[str]) -> RunConfig | str:
    try:
        return outcome(make(words))  # type: ignore[operator]
    except Exception as error:
        return outcome(error)


def test_jobs_composed_together_are_what_each_is_alone() -> None:
    draw, combined = random.Random(0), Combiner(alone)
    kinds = set()
    for _ in range(12):
        words = [draw.choice(axis) for axis in draw.sample(AXES, draw.randint(2, len(AXES)))]
        expected = attempt(alone, words)
        assert attempt(combined, words) == expected, words
        kinds.add(type(expected))
    assert kinds == {RunConfig, str}  # some are mistakes, in the same words


def test_what_jobs_share_is_composed_once() -> None:
    composed = list[list[str]]()

    def counted(words: list[str]) -> DictConfig:
        composed.append(words)
        return alone(words)

    combined = Combiner(counted)
    found = [
        from_hydra(combined([f"method={method}", "trainer.steps=9", f"seed={seed}"]))
        for method in ("qdrop", "brecq")
        for seed in range(6)
    ]
    assert [(run.method.name, run.seed) for run in found] == [
        (m, s) for m in ("qdrop", "brecq") for s in range(6)
    ]
    assert all(run.trainer.steps == 9 for run in found)
    assert len(composed) == 3  # one to learn that method chooses a file, then one for each of these


def test_every_job_is_checked_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    GlobalHydra.instance().clear()
    told = list[tuple[int, int]]()
    words = ["-m", "seed=" + ",".join(map(str, [*range(MAX_CORNERS + 1), -1]))]
    with pytest.raises(ConfigError, match=r"seed: -1"):
        check(words, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, MAX_CORNERS + 2) for done in range(1, MAX_CORNERS + 2)]


@pytest.mark.slow
def test_a_sweep_may_have_many_jobs() -> None:
    told = list[tuple[int, int]]()
    checked = check(["-m", "seed=range(0,700)"], progress=lambda done, total: told.append((done, total)))
    assert [config.seed for config in checked.configs] == list(range(700))
    assert told[-1] == (700, 700)
