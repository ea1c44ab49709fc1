"""A metric of the user's own, in full precision first and of the quantized network at the end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brought import images, network
from torch import nn

import mrecg
from mrecg.errors import DataError
from mrecg.pipeline.metric import Metric
from mrecg.runs.load import load_run
from mrecg.track.wandb_logger.metrics import flat_summary

CPU = torch.device("cpu")
QUICK: dict[str, Any] = {
    "weight_bits": 3, "activation_bits": 8, "method": "rtn", "granularity": "block", "progress": False,
    "trainer": {"threads": 1}, "calibration": {"candidates": 4, "bins": 64},
}  # fmt: skip


def size(model: nn.Module) -> float:
    assert not torch.is_grad_enabled() and not model.training
    return float(model(images()).abs().mean())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, {"it": 2.0}),
        (np.float32(0.5), {"it": 0.5}),
        (torch.tensor([0.25]), {"it": 0.25}),
        ({"mIoU": 0.5, "loss": torch.tensor(3.0)}, {"mIoU": 0.5, "loss": 3.0}),
    ],
)
def test_numbers_of_any_library_are_taken(value: Any, expected: Mapping[str, float]) -> None:
    def it(model: nn.Module) -> Any:
        return value

    assert Metric(it)(nn.Identity(), CPU, "the network") == expected


@pytest.mark.parametrize(
    "value", [None, "0.5", True, [0.5, 0.2], torch.zeros(2), {}, {"a": "b"}, np.zeros(0)]
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"evaluation: metric returned .*; return"):
        Metric(lambda model: value)(nn.Identity(), CPU, "the network")


def test_a_metric_measures_both_networks(tmp_path: Path) -> None:
    result = mrecg.quantize(network(), images(), evaluation=size, save_to=tmp_path / "run", **QUICK)
    values = result.summary["metrics"]
    with torch.no_grad():
        assert values["quantized"] == {"size": size(result.model)}
        assert values["fp"]["size"] == pytest.approx(size(network().eval()), rel=1e-5)
    assert values["fp"] != values["quantized"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"] == values
    assert load_run(tmp_path / "run").metrics == values
    sent = flat_summary(result.summary)
    assert sent["metric_size"] == values["quantized"]["size"] and "metric_size_fp" in sent
    assert "size" in repr(result)


def test_a_metric_that_is_wrong_ends_the_run_before_any_work() -> None:
    seen = []

    def broken(model: nn.Module) -> float:
        seen.append(model)
        raise KeyError("pixel_values")

    with pytest.raises(KeyError) as found:
        mrecg.quantize(network(), images(), evaluation=broken, **QUICK)
    assert "evaluation=broken, which was given the full-precision network" in found.value.__notes__[0]
    with pytest.raises(DataError, match="metric of the full-precision network is nan; check its weights"):
        mrecg.quantize(network(), images(), evaluation=lambda model: float("nan"), **QUICK)
    assert len(seen) == 1


def test_a_metric_that_fails_at_the_end_does_not_lose_the_network() -> None:
    seen = []

    def flaky(model: nn.Module) -> float:
        seen.append(model)
        if len(seen) > 1:
            raise OSError("the server is gone")
        return 1.0

    with pytest.warns(UserWarning, match="was not measured: OSError: the server is gone; measure result"):
        result = mrecg.quantize(network(), images(), evaluation=flaky, **QUICK)
    assert result.summary["metrics"] == {"fp": {"flaky": 1.0}, "quantized": {}}
    assert torch.isfinite(result.model(images())).all()


def test_a_metric_may_do_to_its_network_what_it_likes() -> None:
    def rough(model: nn.Module) -> float:
        found = float(model.double()(images().double()).sum())
        model.train()
        return found

    plain = mrecg.quantize(network(), images(), **QUICK)
    result = mrecg.quantize(network(), images(), evaluation=rough, **QUICK)
    assert torch.equal(result.model(images()), plain.model(images())) and not result.model.training
