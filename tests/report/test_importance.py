"""What a setting explains: known shares of known functions, chance told as chance, else nothing."""

import math
import random

import pytest

from mrecg.report.importance import LEAST_RUNS, effect


def drawn(runs, seed=0, names=("a", "b", "c")):
    noise = random.Random(seed)
    return {name: [noise.random() for _ in range(runs)] for name in names}


def test_an_additive_function_has_its_known_shares():
    """Of 3a + b, a has nine tenths of the variance where both are equally wide (Sobol's first index)."""
    x = drawn(600)
    y = [3 * a + b for a, b in zip(x["a"], x["b"], strict=True)]
    a, b, c = (effect(x[name], y) for name in "abc")
    assert a.share == pytest.approx(0.9, abs=0.03) and not a.chance
    assert b.share == pytest.approx(0.1, abs=0.04) and not b.chance
    assert c.share < 0.03 and c.chance


def test_what_only_settings_together_do_is_in_no_share():
    x = drawn(800)
    y = [(a > 0.5) ^ (b > 0.5) for a, b in zip(x["a"], x["b"], strict=True)]
    assert all(effect(x[name], [float(v) for v in y]).share < 0.03 for name in "ab")


@pytest.mark.parametrize("shape", [lambda v: v, lambda v: 10 ** (6 * v), lambda v: -v])
def test_the_scale_of_a_setting_does_not_matter(shape):
    x = drawn(50)
    y = [2 * a + b for a, b in zip(x["a"], x["b"], strict=True)]
    plain = effect(x["a"], y).share
    # Turned round the edges of the bins are elsewhere, so that is equal but roughly.
    assert effect([shape(value) for value in x["a"]], y).share == pytest.approx(plain, abs=0.08)


@pytest.mark.parametrize("runs", [12, 40])
def test_noise_is_told_as_chance(runs):
    found = [effect(drawn(runs, seed)["a"], drawn(runs, seed)["b"]) for seed in range(60)]
    assert sum(not one.chance for one in found) <= 8  # three are expected
    assert sum(one.share for one in found) / len(found) < 0.08


def test_a_dozen_runs_are_enough_for_a_strong_effect():
    for seed in range(10):
        x = drawn(12, seed)
        found = effect(x["a"], [10 * a + b for a, b in zip(x["a"], x["b"], strict=True)])
        assert found.share > 0.5 and not found.chance


def test_the_same_runs_give_the_same_numbers_in_any_order():
    x = drawn(20)
    pairs = list(zip(x["a"], x["b"], strict=True))
    first = effect(*map(list, zip(*pairs, strict=True)))
    random.Random(1).shuffle(pairs)
    assert effect(*map(list, zip(*pairs, strict=True))).share == pytest.approx(first.share)
    assert effect(x["a"], x["b"]) == first


def test_names_and_runs_without_the_setting_are_bins():
    outcome = [1.0, 1.1, 0.9, 5.0, 5.1, 4.9, 9.0, 9.1, 8.9]
    assert effect(["x"] * 3 + ["y"] * 3 + [None] * 3, outcome).share > 0.98
    assert effect([2.0] * 3 + [4.0] * 3 + [None] * 3, outcome).share > 0.98
    assert effect([2] * 3 + [4] * 3 + ["auto"] * 3, outcome).share > 0.98


@pytest.mark.parametrize(
    ("setting", "outcome"),
    [
        ([1.0, 2.0] * 4, [0.5] * 8),
        ([1.0] * 8, [float(i) for i in range(8)]),
        ([1.0, 2.0] * 3, [float(i) for i in range(6)]),
        ([1.0, 2.0] * 4, [None] * 4 + [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 2.0] * 4, [math.nan, math.inf] + [float(i) for i in range(6)]),
        ([f"name {i}" for i in range(9)], [float(i) for i in range(9)]),
        ([], []),
    ],
    ids=["same results", "same setting", "few runs", "few known", "not finite", "all names", "none"],
)
def test_where_nothing_can_be_said_nothing_is(setting, outcome):
    assert effect(setting, outcome) is None
    assert LEAST_RUNS == 8


def test_it_ranks_as_optuna_does():
    """PED-ANOVA asks what the best tenth has in common; where one setting rules, both name the same order."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    wide = optuna.distributions.FloatDistribution(0, 1)
    for seed in range(3):
        x = drawn(200, seed)
        y = [4 * a + 1.5 * b + 0.1 * c for a, b, c in zip(*x.values(), strict=True)]
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            optuna.trial.create_trial(
                params={name: x[name][i] for name in x}, distributions=dict.fromkeys(x, wide), value=y[i]
            )
            for i in range(200)
        )
        theirs = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
        ours = {name: effect(x[name], y).share for name in x}
        assert sorted(ours, key=ours.get, reverse=True) == list(theirs) == ["a", "b", "c"]
