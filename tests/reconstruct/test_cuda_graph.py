"""Replayed steps against ordinary ones. Without a GPU the recording is a function that runs again."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from mrecg.config.schema import CacheConfig, TrainerConfig
from mrecg.errors import ConfigError
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.genie_m import GenieM
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.pd_quant import PdQuant
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import passes_of
from mrecg.quant.kernels.switch import fused
from mrecg.quant.modules import activations_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct import cuda_graph, group_module
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.cuda_graph import serves
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import CurvePoint
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.group_task import GroupTask
from mrecg.reconstruct.lightning_fit import fit_in_chunks
from mrecg.reconstruct.rolling_cache import GroupCache
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.step_losses import Outputs
from tests.assets.plans import plan_of

Network = Callable[..., QuantizedNetwork]
METHODS = [
    BrecqJoint(lr_rounding=0.01),
    QDrop(lr_rounding=0.01),
    QDrop(regulariser=0.0),
    GenieM(lr_rounding=0.01, lr_weight_scale=0.01),
    PdQuant(lr_rounding=0.01, lr_decay="cosine"),
]


def fit(
    network: QuantizedNetwork,
    images: Tensor,
    method: LearnedRounding,
    *,
    graphs: bool | Literal["auto"],
    device: str = "cpu",
    steps: int = 80,
) -> tuple[list[CurvePoint], list[Tensor]]:
    (task,) = passes_of(method, depthwise=False)
    network, images = network.to(torch.device(device)), images.to(device)
    with torch.no_grad():
        full, quantized = network.full[0](images), network.low[0](images)
        target = network.full[1](full)
        logits = torch.nn.Sequential(*network.full)(images)
    points: list[CurvePoint] = []
    quantizers = activations_of(network.low[1])
    for quantizer in quantizers:
        quantizer.scale.requires_grad_()
    module = GroupReconstruction(
        network.low[1:2],
        GroupTask(
            pass_=task,
            cache=GroupCache(Store.of(quantized), Store.of(full), Store.of(target), logits=Store.of(logits)),
            tail=network.full[2:],
            steps=steps,
            batch=6,
            log_every=1,
            precision=32,
            graphs=graphs,
            seed=5,
        ),
        lambda logged, done: points.extend(logged),
    )
    fit_in_chunks(module, range(steps), 30, torch.device(device))
    assert module.rounding is not None
    found = [module.rounding.alpha.detach().clone(), *(q.scale.detach().clone() for q in quantizers)]
    module.harden()
    return points, found


def run_again(run: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
    """Stands in for a CUDA graph: the same operations on the same tensors, outputs in one place."""
    for _ in range(2):
        run()
    outputs = run()

    def again() -> None:
        for held, new in zip(outputs, run(), strict=True):
            if held is not None and new is not None:
                held.copy_(new)

    return again, outputs


@pytest.mark.parametrize("method", METHODS, ids=["brecq", "qdrop", "no regulariser", "genie", "pd_quant"])
def test_replayed_steps_are_ordinary_steps(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = []

    def record(run: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
        recorded.append(run)
        return run_again(run)

    monkeypatch.setattr(cuda_graph, "record", record)
    with fused(False):
        expected, parameters = fit(tiny_network(), tiny_images, method, graphs=False)
        points, found = fit(tiny_network(), tiny_images, method, graphs=True)
    # Once before the regulariser sets in and once behind; without it, once.
    assert len(recorded) == (1 if method.regulariser == 0 else 2)
    assert len(points) == len(expected) == 80
    for one, other in zip(points, expected, strict=True):
        assert (one.step, one.beta) == (other.step, other.beta)
        assert one.total == pytest.approx(other.total, rel=1e-4)
    for one, other in zip(found, parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_step_that_cannot_be_recorded_is_computed_as_usual(
    fails_at: int,
    tiny_network: Network,
    tiny_images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was recorded first serves until the other kind of step fails; nothing that it learned is lost."""
    asked = []

    def record(run: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
        asked.append(run)
        if len(asked) == fails_at:
            run()  # it changes what is learned before it fails
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return run_again(run)

    monkeypatch.setattr(cuda_graph, "record", record)
    with fused(False):
        expected, parameters = fit(tiny_network(), tiny_images, METHODS[1], graphs=False)
        monkeypatch.setattr(group_module, "serves", lambda *_: True)
        points, found = fit(tiny_network(), tiny_images, METHODS[1], graphs="auto")
        assert len(asked) == fails_at
        asked.clear()
        with pytest.raises(ConfigError, match=r"cuda_graphs: a step cannot be recorded \(operation not perm"):
            fit(tiny_network(), tiny_images, METHODS[1], graphs=True)
    (said,) = caplog.messages
    assert "cannot be recorded as a CUDA graph (operation not permitted when stream is capturing)" in said
    for one, other in zip(points, expected, strict=True):
        assert (one.step, one.beta) == (other.step, other.beta)
        assert one.total == pytest.approx(other.total, rel=1e-4)
    for one, other in zip(found, parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_steps_are_recorded_where_one_gpu_has_all_that_they_need() -> None:
    def asked(graphs: Any, *, device: str = "cuda", at_hand: bool = True, shard: Any = None) -> bool:
        task: Any = SimpleNamespace(graphs=graphs, shard=shard, cache=SimpleNamespace(at_hand=at_hand))
        return serves(task, torch.device(device))

    assert TrainerConfig().cuda_graphs == "auto"
    assert asked("auto") and asked(True) and not asked(False)
    assert not asked("auto", device="cpu") and not asked("auto", at_hand=False)
    assert not asked("auto", shard=object())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records CUDA graphs")
@pytest.mark.parametrize("method", METHODS, ids=["brecq", "qdrop", "no regulariser", "genie", "pd_quant"])
def test_cuda_graphs_replay_the_steps(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    expected, _ = fit(tiny_network(), tiny_images, method, graphs=False, device="cuda")
    points, _ = fit(tiny_network(), tiny_images, method, graphs=True, device="cuda")
    for one, other in zip(points, expected, strict=True):
        assert one.total == pytest.approx(other.total, rel=1e-3)


def test_graphs_without_a_gpu_are_refused(tiny_network: Network, tiny_images: Tensor) -> None:
    network = tiny_network()
    plan = plan_of(network)
    with pytest.raises(ConfigError, match=r"trainer\.cuda_graphs: needs a GPU, the network is on cpu"):
        reconstruct(
            network,
            tiny_images,
            plan,
            Settings(
                method=QDrop(),
                trainer=TrainerConfig(cuda_graphs=True, steps=2),
                cache=CacheConfig(),
                precision=32,
                seed=0,
                eval_batch=8,
            ),
        )
