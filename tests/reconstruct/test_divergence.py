"""A loss that leaves all bounds ends the group, or begins it anew with smaller steps."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mrecg.config.schema import RunConfig
from mrecg.errors import DivergenceError
from mrecg.pipeline import run as pipeline
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.optimise import check_bounds

Config = Callable[..., RunConfig]
SETTINGS: dict[str, Any] = {
    "granularity": {"name": "block"},
    "trainer": {"steps": 6, "chunk": 2, "batch_size": 4, "log_every": 1},
    "checkpoint": {"every_steps": 2},
}


def curve(*losses: float) -> list[CurvePoint]:
    return [
        CurvePoint(step=10 * i, reconstruction=loss, rounding=None, total=loss, beta=None)
        for i, loss in enumerate(losses)
    ]


@pytest.mark.parametrize("losses", [[], [0.0, 0.0], [1.0, 9e3, 1.0], [1e-20, 1e-9], [5.0]])
def test_a_loss_within_bounds_goes_on(losses: Sequence[float]) -> None:
    check_bounds("unit", curve(*losses), 100)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            [1.0, math.nan],
            r"features\.4: the loss is not finite at step 10 of 100 \(logged last: 1, nan\); lower",
        ),
        ([1.0, math.inf], "is not finite"),
        ([math.nan], "is not finite at step 0"),
        ([0.5, 2.0, 3.0, 4.0, 6e3], r"has exploded at step 40 of 100 \(logged last: 2, 3, 4, 6000\)"),
    ],
)
def test_a_loss_out_of_bounds_says_where_and_what_to_do(losses: Sequence[float], message: str) -> None:
    with pytest.raises(DivergenceError, match=message) as found:
        check_bounds("features.4", curve(*losses), 100)
    assert "on_divergence=retry" in str(found.value)


class Explosive:
    """Spoils the loss of a unit while its learning rate is above a bound."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bound: float) -> None:
        self.rates: list[float] = []
        real = GroupReconstruction.losses

        def losses(module: GroupReconstruction, step: int, outputs: Any) -> Any:
            assert module.pass_.rounding is not None
            second = hasattr(module.group[0], "second")
            if second and step == 3:
                self.rates.append(module.pass_.rounding.lr)
                if module.pass_.rounding.lr > bound:
                    outputs = (torch.tensor(float("nan")), *outputs[1:])
            return real(module, step, outputs)

        monkeypatch.setattr(GroupReconstruction, "losses", losses)


def test_a_group_that_diverges_stops_the_run_and_what_was_before_is_kept(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Explosive(monkeypatch, 0.0)
    with pytest.raises(DivergenceError, match="second: the loss is not finite at step 3 of 6"):
        pipeline.run(tiny_config(**SETTINGS), tmp_path)
    kept = [path.name.split("-")[0] for path in (tmp_path / "checkpoint").iterdir()]
    assert kept.count("group") == 2 and not (tmp_path / "summary.json").exists()


def test_a_group_begins_anew_with_half_the_rates(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pipeline.run(tiny_config(**SETTINGS), tmp_path / "plain")
    rate = plain.config.method.lr_rounding  # type: ignore[union-attr]
    spoiled = Explosive(monkeypatch, 0.4 * rate)
    result = pipeline.run(tiny_config(**SETTINGS, on_divergence="retry"), tmp_path / "retry")
    assert spoiled.rates == [rate, rate / 2, rate / 4]
    summary = json.loads((tmp_path / "retry" / "summary.json").read_text())
    assert [group["retries"] for group in summary["group_results"]] == [0, 0, 2, 0, 0]
    rows = (tmp_path / "retry" / "curves" / "second.csv").read_text().splitlines()
    assert len(rows) == 7 and "nan" not in "".join(rows)  # the tries that failed leave no points
    assert [unit.error for unit in result.units[:2]] == [unit.error for unit in plain.units[:2]]


def test_of_what_is_learned_with_the_rounding_fixed_only_that_begins_anew(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"name": "qdrop", "learn_biases": True, "settle_steps": 1.0}
    settings = {**SETTINGS, "method": method}
    plain = pipeline.run(tiny_config(**settings), tmp_path / "plain")
    real, rates = GroupReconstruction.losses, []

    def losses(module: GroupReconstruction, step: int, outputs: Any) -> Any:
        assert module.pass_.rounding is not None and module.pass_.rounding.bias_lr is not None
        if hasattr(module.group[0], "second") and step == 3 and module.pass_.rounding.lr is None:
            rates.append(module.pass_.rounding.bias_lr)
            if len(rates) < 3:
                outputs = (torch.tensor(float("nan")), *outputs[1:])
        return real(module, step, outputs)

    monkeypatch.setattr(GroupReconstruction, "losses", losses)
    with pytest.raises(DivergenceError, match="second: the loss is not finite at step 9 of 12"):
        pipeline.run(tiny_config(**settings), tmp_path / "stopped")
    rates.clear()
    result = pipeline.run(tiny_config(**settings, on_divergence="retry"), tmp_path / "retry")
    assert rates == [rates[0], rates[0] / 2, rates[0] / 4]
    assert [group.retries for group in result.groups] == [0, 0, 2, 0, 0]
    assert [unit.error for unit in result.units[:2]] == [unit.error for unit in plain.units[:2]]
    curves = [
        (tmp_path / run / "curves" / "second.csv").read_text().splitlines() for run in ("plain", "retry")
    ]
    assert len(curves[0]) == len(curves[1]) == 13 and "nan" not in "".join(curves[1])
    assert curves[0][:8] == curves[1][:8] and curves[0] != curves[1]  # what is behind is not learned again


def test_after_two_tries_it_is_given_up(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = Explosive(monkeypatch, 0.0)
    with pytest.raises(DivergenceError):
        pipeline.run(tiny_config(**SETTINGS, on_divergence="retry"), tmp_path)
    assert len(spoiled.rates) == 3
