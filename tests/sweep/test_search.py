"""The search: what Optuna is asked and told, with a launcher that ends jobs at once."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from mrecg.errors import ConfigError, DataError, MrecgError
from mrecg.runs.layout import JOURNAL
from mrecg.runs.manifest import read_jobs
from mrecg.sweep.front import Found, Objective, measure, pareto, show
from mrecg.sweep.search import Search
from mrecg.sweep.space import read_space

optuna = pytest.importorskip("optuna")

AXES = {"rate": "tag(log,interval(1e-4,1e-1))", "count": "range(0,9)"}
Score = Callable[[dict[str, str], int], dict[str, Any] | None]


def peak(values: dict[str, str], number: int) -> dict[str, Any]:
    """Best at a rate of 0.01; each count costs ten seconds and brings a little."""
    off = abs(math.log10(float(values.get("rate", 1e-2))) + 2)
    count = int(values.get("count", 0))
    return {
        "quantized": {"top1": 0.9 - 0.2 * off + 0.01 * count},
        "timing_s": {"reconstruct": 5.0 + 10 * count, "evaluate": 1.0},
        "reused_s": {"calibrate": 2.0},
    }


def known_by(overrides: Sequence[str]) -> str:
    """Identity of a job."""
    return str(hash(tuple(overrides)) % 10**12)


class Engine:
    """A launcher that writes what each job would, and notes what it was given."""

    def __init__(self, folder: Path, score: Score = peak, stop: int | None = None) -> None:
        self.folder, self.score, self.stop = folder, score, stop
        self.batches = list[list[int]]()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[object]:
        self.batches.append([])
        for overrides in job_overrides:
            values = dict(word.split("=", 1) for word in overrides)
            place = self.folder / values.pop("hydra.sweep.subdir").strip("'")
            number = int(place.name.split("-")[0])
            if number == self.stop:
                raise KeyboardInterrupt
            self.batches[-1].append(number)
            place.mkdir(parents=True, exist_ok=True)
            (place / "config.yaml").write_text(known_by(overrides[:-1]))
            (place / "report.html").touch()
            out = self.score(values, number)
            content = (
                {"status": "failed", "error": "no luck"} if out is None else {"status": "completed", **out}
            )
            (place / "summary.json").write_text(json.dumps(content))
        return []


class Quick(Search):
    """A search whose jobs are known by their overrides, without composing them."""

    def resolver(self) -> Callable[[Sequence[str]], tuple[str, str, tuple[str, ...]]]:
        return lambda overrides: (known_by(overrides), "job", tuple(overrides))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than a whole search here; the tests of the table and the picture call it."""
    monkeypatch.setattr("mrecg.sweep.search.show", lambda found, folder: None)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's config.yaml holds its identity alone."""

    def held(folder: Path) -> str | None:
        file = folder / "config.yaml"
        return file.read_text() if file.exists() else None

    for module in ("launch", "job_state"):
        monkeypatch.setattr(f"mrecg.sweep.{module}.held", held)


def search(
    folder: Path, score: Score = peak, *, stop: int | None = None, **options: Any
) -> tuple[Quick, Engine]:
    options = {"params": AXES, "maximize": ["quantized.top1"], "minimize": ["seconds"], "batch": 1, **options}
    sweeper, engine = Quick(**options), Engine(folder, score, stop)
    sweeper.verb = "quantize"
    hydra = {"sweep": {"dir": str(folder)}, "sweeper": {"params": options["params"]}, "launcher": {}}
    tree = {"hydra": hydra | {"runtime": {"choices": {"hydra/launcher": "basic"}}}}
    sweeper.config, sweeper.launcher = OmegaConf.create(tree), engine
    sweeper.hydra_context = SimpleNamespace(config_loader=None)
    return sweeper, engine


def found(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "search.json").read_text())
    return content


def trials(folder: Path) -> list[tuple[Any, Any]]:
    return [(trial["params"], trial["values"]) for trial in found(folder)["trials"]]


def test_tpe_finds_the_better_side(tmp_path: Path) -> None:
    sweeper, engine = search(tmp_path, params={"rate": AXES["rate"]}, minimize=[], n_trials=30, startup=6)
    sweeper.sweep(["seed=3"])
    rates = [math.log10(float(trial["params"]["rate"])) for trial in found(tmp_path)["trials"]]
    distance = [abs(rate + 2) for rate in rates]
    at_random = 2.5 / 3  # the mean distance of a rate from the best one
    assert len(rates) == 30 and sum(distance[15:]) / 15 < 0.65 * at_random
    (best,) = found(tmp_path)["front"]
    assert distance[best] == min(distance)
    assert engine.batches == [[i] for i in range(30)]
    assert all(job.overrides[0] == "seed=3" for job in read_jobs(tmp_path))
    show(Found.read(tmp_path, [Objective("quantized.top1", True)]), tmp_path)
    assert (tmp_path / "search.png").stat().st_size > 1000 and (tmp_path / "search.svg").is_file()


def test_values_are_read_as_if_the_run_had_been_alone(tmp_path: Path) -> None:
    sweeper, _ = search(tmp_path, n_trials=1)
    sweeper.sweep([])
    (trial,) = found(tmp_path)["trials"]
    count = int(trial["params"]["count"])
    assert trial["values"][1] == pytest.approx(8 + 10 * count)
    assert found(tmp_path)["objectives"][1] == {"key": "seconds", "direction": "minimize"}


def test_the_front_is_what_nothing_beats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweeper, _ = search(tmp_path, n_trials=25, batch=5, sampler="random")
    sweeper.sweep([])
    content = found(tmp_path)
    values = {trial["number"]: trial["values"] for trial in content["trials"]}
    # Independently: along growing time every member is more accurate than all before it.
    best, expected = -math.inf, set()
    for number in sorted(values, key=lambda n: (values[n][1], -values[n][0])):
        if values[number][0] > best:
            best = values[number][0]
            expected.add(number)
    assert set(content["front"]) == expected == {t["number"] for t in content["trials"] if t["front"]}
    memory = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL))
    )
    study = optuna.load_study(study_name="search", storage=memory)
    assert {trial.number for trial in study.best_trials} == expected
    show(Found.read(tmp_path, sweeper.objectives), tmp_path)
    out = capsys.readouterr().out
    assert "25 trials" in out and "no other trial is better in both" in out
    for a, b in pairwise(content["front"]):  # best by accuracy first, so time falls along the table
        assert values[a][0] > values[b][0] and values[a][1] > values[b][1]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_seeded_search_repeats(tmp_path: Path, sampler: str) -> None:
    options = {"n_trials": 14, "batch": 2, "sampler": sampler, "startup": 4}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        search(tmp_path / name, seed=seed, **options)[0].sweep([])
    assert trials(tmp_path / "a") == trials(tmp_path / "b") != trials(tmp_path / "c")


@pytest.mark.parametrize("stop", [0, 5, 6, 9])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path: Path, stop: int) -> None:
    options = {"n_trials": 12, "batch": 4, "startup": 4}
    search(tmp_path / "whole", **options)[0].sweep([])
    sweeper, first = search(tmp_path / "cut", stop=stop, **options)
    with pytest.raises(KeyboardInterrupt):
        sweeper.sweep([])
    sweeper, second = search(tmp_path / "cut", **options)
    sweeper.sweep([])
    assert trials(tmp_path / "cut") == trials(tmp_path / "whole")
    ran = [number for engine in (first, second) for batch in engine.batches for number in batch]
    assert sorted(ran) == list(range(12))  # each job once
    sweeper, third = search(tmp_path / "cut", **{**options, "n_trials": 16})
    sweeper.sweep([])
    assert [len(batch) for batch in third.batches] == [4]  # a search can be made longer
    sweeper, fourth = search(tmp_path / "cut", **{**options, "n_trials": 16})
    sweeper.sweep([])
    assert fourth.batches == []


def test_failed_trials_do_not_stop_the_search_and_are_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def sometimes(values: dict[str, str], number: int) -> dict[str, Any] | None:
        broken = {3: {"quantized": None}, 5: {"quantized": {"top1": math.nan}, "timing_s": {"plan": 1}}}
        return None if number == 1 else {**peak(values, number), **broken.get(number, {})}

    sweeper, _ = search(tmp_path, sometimes, n_trials=8, sampler="random")
    sweeper.sweep([])
    states = [trial["state"] for trial in found(tmp_path)["trials"]]
    assert [i for i, state in enumerate(states) if state == "failed"] == [1, 3, 5] and len(states) == 8
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "mrecg: run 1 does not count in the search: no luck",
        "mrecg: run 3 does not count in the search: quantized.top1: is missing in its summary.json",
        "mrecg: run 5 does not count in the search: quantized.top1: is nan, which is not a finite number in "
        "its summary.json",
    ]
    # Whoever runs it again has mended something: what had failed is run again, and nothing else.
    sweeper, engine = search(tmp_path, n_trials=8, sampler="random")
    sweeper.sweep([])
    assert engine.batches == [[1]]  # the other two are done, and still have no value
    again = found(tmp_path)["trials"][8:]
    assert [trial["state"] for trial in again] == ["completed", "failed", "failed"]
    assert [trial["params"] for trial in again] == [found(tmp_path)["trials"][i]["params"] for i in (1, 3, 5)]


def test_the_same_choice_twice_is_one_job(tmp_path: Path) -> None:
    sweeper, engine = search(tmp_path, params={"count": "choice(1,2)"}, n_trials=8, batch=4, sampler="random")
    sweeper.sweep([])
    assert len(found(tmp_path)["trials"]) == 8 and len(read_jobs(tmp_path)) == 2
    assert sum(map(len, engine.batches)) == 2


def test_another_search_in_the_folder_is_refused(tmp_path: Path) -> None:
    search(tmp_path, n_trials=2)[0].sweep([])
    with pytest.raises(ConfigError, match=r"optimises maximize quantized.top1, minimize seconds"):
        search(tmp_path, n_trials=3, minimize=[])[0].sweep([])
    search(tmp_path / "b", n_trials=2, params={"count": "choice(1,2)"})[0].sweep([])
    with pytest.raises(ConfigError, match="has other axes"):
        search(tmp_path / "b", n_trials=4, params={"count": "choice(1,2,3)"})[0].sweep([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"maximize": [], "minimize": []}, "hydra.sweeper.maximize: name a key"),
        ({"n_trials": 0}, "hydra.sweeper.n_trials: 0 is less than 1"),
        ({"params": {"count": "3"}}, "nothing to search"),
        ({"params": {"count": "tag(log,interval(0,3))"}}, "count: cannot be searched"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(tmp_path, **options)[0].sweep([])
    assert not any(tmp_path.iterdir())


def test_without_optuna_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MrecgError, match=r"pip install 'mrecg\[optuna\]'"):
        search(tmp_path)[0].sweep([])


def test_the_other_verbs_cannot_search(tmp_path: Path) -> None:
    sweeper, _ = search(tmp_path)
    sweeper.verb = "plan"
    with pytest.raises(ConfigError, match="mrecg quantize"):
        sweeper.sweep([])


def test_axes_in_hydras_grammar() -> None:
    words = [
        "a=interval(1,2)",
        "b=tag(log,interval(1e-4,1e-2))",
        "c=int(interval(1,5))",
        "d=range(0,9,2)",
        "e=x,y",
    ]
    words += ["f=3", "g=range(0.0,1.0,0.25)", "h=1", "+h=choice(2,[3,4])", "a=interval(1,3)"]
    space = read_space(OverridesParser.create().parse_overrides(words))
    assert space.fixed == ("f=3",)
    d = optuna.distributions
    assert space.axes == {
        "a": d.FloatDistribution(1, 3),
        "b": d.FloatDistribution(1e-4, 1e-2, log=True),
        "c": d.IntDistribution(1, 5),
        "d": d.IntDistribution(0, 8, step=2),
        "e": d.CategoricalDistribution(["x", "y"]),
        "g": d.FloatDistribution(0, 0.75, step=0.25),
        "+h": d.CategoricalDistribution(["2", "[3,4]"]),
    }
    chosen = {"a": 2.99999999, "b": 0.00123456, "c": 2, "d": 4, "e": "y", "g": 0.1 + 0.4, "+h": "[3,4]"}
    assert space.overrides(chosen) == ["f=3", "a=3.0", "b=0.001235", "c=2", "d=4", "e=y", "g=0.5", "+h=[3,4]"]


def test_a_front_in_any_directions() -> None:
    objectives = [Objective("a", False), Objective("b", False), Objective("c", True)]
    values = [(1, 5, 0), (1, 5, 0), (2, 4, 0), (2, 5, 0), (3, 9, 1), (3, 9, 0.5)]
    assert pareto(values, objectives) == [True, True, True, False, True, False]
    assert pareto([], objectives) == []


def test_what_is_no_summary_has_no_values(tmp_path: Path) -> None:
    objectives = [Objective("units.1.error", False)]
    assert measure(tmp_path, objectives) == (None, "its process was killed")
    (tmp_path / "summary.json").write_text('{"status": "completed", "units": [{"error": 1}, {"error": 0.5}]}')
    assert measure(tmp_path, objectives) == ([0.5], "")
    assert measure(tmp_path, [Objective("seconds", False)]) == (
        None,
        "seconds: is missing in its summary.json",
    )


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(DataError, match=r"search\.json"):
        Found.read(tmp_path, [])
