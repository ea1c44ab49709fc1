"""The walk over the network: what is run how often, what is measured, what repeats."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mrecg.config.schema import CacheConfig, TrainerConfig
from mrecg.methods import MethodSettings
from mrecg.methods.adaround import AdaRound
from mrecg.methods.brecq import Brecq
from mrecg.methods.brecq_joint import BrecqJoint
from mrecg.methods.hyperparameters import LearnedRounding
from mrecg.methods.qdrop import QDrop
from mrecg.methods.rtn import Rtn
from mrecg.quant.modules import activations_of, layers_of
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import CurvePoint, Silent, UnitResult
from mrecg.reconstruct.job import Reconstruction
from mrecg.reconstruct.settings import Settings
from mrecg.reconstruct.step_counts import group_steps
from tests.assets.plans import plan_of

Network = Callable[..., QuantizedNetwork]
METHODS = [Rtn(), AdaRound(), Brecq(), BrecqJoint(), QDrop()]
UNITS = ("stem", "first", "second", "third", "head")
MERGED = (("first", "second"), ("third", "head"))


def run(
    network: QuantizedNetwork,
    images: Tensor,
    method: MethodSettings,
    *,
    groups: Sequence[Sequence[str]] = (),
    seed: int = 0,
    cache: CacheConfig | None = None,
    **settings: Any,
) -> Reconstruction:
    options: dict[str, Any] = {"steps": 3, "batch_size": 4, "chunk": 2, "log_every": 1}
    listener = settings.pop("listener", None)
    return reconstruct(
        network,
        images,
        plan_of(network, groups),
        Settings(
            method=method,
            trainer=TrainerConfig(**{**options, **settings}),
            cache=cache or CacheConfig(),
            precision=32,
            seed=seed,
            eval_batch=5,
        ),
        listener=listener,
    )


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("groups", [(), MERGED], ids=["block", "merged"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_cache_advances_once_a_unit_and_pass(
    method: LearnedRounding, groups: Sequence[Sequence[str]], tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    seen: dict[tuple[str, int], int] = {}

    def count(kind: str, i: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            if not torch.is_grad_enabled():
                seen[kind, i] = seen.get((kind, i), 0) + len(inputs[0])

        return hook

    for kind, modules in (("full", network.full), ("low", network.low)):
        for i, module in enumerate(modules):
            module.register_forward_hook(count(kind, i))
    outcome = run(network, tiny_images, method, groups=groups)
    passes = 2 if method.name == "brecq" else 1
    floors = [name for group in outcome.groups if group.floor is not None for name in group.name.split("+")]
    expected = {("low", i): passes * 16 for i in range(5)}
    # A floor is taken on one batch of these few steps.
    expected |= {("full", i): passes * 16 + floors.count(name) * 5 for i, name in enumerate(UNITS)}
    assert seen == expected


@pytest.mark.parametrize("groups", [(), MERGED], ids=["block", "merged"])
def test_errors_are_those_of_the_whole_networks(
    groups: Sequence[Sequence[str]], tiny: nn.Module, tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    outcome = run(network, tiny_images, QDrop(lr_rounding=0.01), groups=groups)
    full: dict[str, Tensor] = {}
    low: dict[str, Tensor] = {}

    def keep(store: dict[str, Tensor], name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            store[name] = output

        return hook

    handles = [tiny.get_submodule(name).register_forward_hook(keep(full, name)) for name in UNITS]
    for unit in network.units[:-1]:
        quantizer = network.model.get_submodule(f"activation_quantizers.{unit.output}")
        handles.append(quantizer.register_forward_hook(keep(low, unit.name)))
    with torch.no_grad():
        tiny(tiny_images)
        low["head"] = network.model(tiny_images)
    for handle in handles:
        handle.remove()
    assert tuple(result.name for result in outcome.units) == UNITS
    for result in outcome.units:
        q, f = low[result.name].double(), full[result.name].double()
        squared = ((q - f) ** 2).sum()
        assert result.error == pytest.approx(float(squared / (f**2).sum()), rel=1e-3)
        assert result.loss == pytest.approx(float(squared / (q.numel() / q.shape[1])), rel=1e-3)
        assert 0 < result.error < 1.5
    expected = [0, 1, 1, 2, 2] if groups else [0, 1, 2, 3, 4]
    assert [result.group for result in outcome.units] == expected


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_same_seed_gives_the_same_bits(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    outcomes = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed + len(outcomes))  # the global generator has no say
        network = tiny_network()
        outcome = run(network, tiny_images, method, groups=MERGED, seed=seed)
        curves = [group.curve for group in outcome.groups]
        outcomes.append((network.state(), outcome.units, curves))
    first, again, other = outcomes
    assert same(first[0], again[0]) and first[1:] == again[1:]
    if method.name != "rtn":
        assert first[2] != other[2]


@pytest.mark.parametrize("method", [AdaRound(lr_rounding=0.02), QDrop(lr_rounding=0.02)])
def test_reconstruction_is_better_than_rounding_to_nearest(
    method: LearnedRounding, tiny_network: Network, tiny_images: Tensor
) -> None:
    nearest = run(tiny_network(2, 4), tiny_images, Rtn())
    learned = run(tiny_network(2, 4), tiny_images, method, steps=150, batch_size=16)
    assert learned.units[-1].error < 0.2 * nearest.units[-1].error
    assert sum(unit.error for unit in learned.units) < 0.6 * sum(unit.error for unit in nearest.units)


@pytest.mark.parametrize(("per", "expected"), [("unit", [3, 6, 6]), ("group", [3, 3, 3])])
def test_merged_groups_take_their_steps(
    per: str, expected: list[int], tiny_network: Network, tiny_images: Tensor
) -> None:
    class Count(Silent):
        def __init__(self) -> None:
            self.total, self.taken = 0, {}

        def begin(self, groups: Sequence[str], steps: int) -> None:
            self.total = steps

        def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
            self.taken[group] = self.taken.get(group, 0) + steps

    count = Count()
    outcome = run(tiny_network(), tiny_images, QDrop(), groups=MERGED, steps_per=per, listener=count)
    assert [group.steps for group in outcome.groups] == expected
    assert [group.name for group in outcome.groups] == ["stem", "first+second", "third+head"]
    assert list(count.taken.values()) == expected and count.total == sum(expected)
    assert [[point.step for point in group.curve] for group in outcome.groups] == [
        list(range(steps)) for steps in expected
    ]


def test_a_pass_takes_its_share_of_the_steps_and_at_least_one() -> None:
    trainer = TrainerConfig(steps=10)
    assert [group_steps(2, trainer, share) for share in (1.0, 0.25, 0.01)] == [20, 5, 1]


class Snapshots(Silent):
    """Copies the network's state at every begin, and the modes of the quantizers in every forward pass."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.states: list[dict[str, Tensor]] = []
        self.modes: list[set[str]] = []
        self.tasks: list[str] = []
        for quantizer in activations_of(network.model):
            quantizer.register_forward_hook(lambda q, inputs, out: self.modes[-1].add(q.mode))

    def begin(self, groups: Sequence[str], steps: int) -> None:
        self.states.append({name: value.clone() for name, value in self.network.state().items()})
        self.modes.append(set())

    def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
        self.tasks.append(task)


def test_brecq_learns_the_rounding_first_and_the_steps_then(
    tiny_network: Network, tiny_images: Tensor
) -> None:
    network = tiny_network()
    shots = Snapshots(network)
    units: list[UnitResult] = []
    shots.unit = lambda index, result: units.append(result)  # type: ignore[method-assign]
    outcome = run(
        network, tiny_images, Brecq(lr_rounding=0.05, lr_scale=0.01, scale_steps=1.0), listener=shots, steps=4
    )
    shots.begin((), 0)
    begin, middle, end = shots.states
    taken = [(group.task, group.steps) for group in outcome.groups]
    assert taken[:5] == [("rounding", 4)] * 5
    assert taken[5:] == [("scales", 4)] * 4 + [("scales", 0)]  # the head has no activation to learn
    assert sorted(set(shots.tasks)) == ["rounding", "scales"]
    assert shots.modes[0] == {"off"} and shots.modes[1] == {"on"}
    integers = [name for name in begin if name.endswith("integers")]
    scales = [name for name in begin if name.startswith("activation_quantizers") and name.endswith("scale")]
    assert len(integers) == 10 and len(scales) == 8
    assert any(not torch.equal(begin[name], middle[name]) for name in integers)
    assert all(torch.equal(middle[name], end[name]) for name in integers)
    assert all(torch.equal(begin[name], middle[name]) for name in scales)
    assert all(not torch.equal(middle[name], end[name]) for name in scales)
    assert tuple(units) == outcome.units  # told once, of the finished network


def test_what_is_outside_the_group_is_not_touched(tiny_network: Network, tiny_images: Tensor) -> None:
    network = tiny_network()
    order = [layers_of(low) + activations_of(low) for low in network.low]  # type: ignore[operator]
    frozen: dict[int, list[Tensor]] = {}

    def copies(i: int) -> list[Tensor]:
        return [value.clone() for part in order[i] for value in part.state_dict().values()]

    class Watch(Silent):
        def curve(self, group: str, task: str, points: Sequence[CurvePoint], steps: int) -> None:
            inside = [UNITS.index(name) for name in group.split("+")]
            for i in range(5):
                learns = any(p.requires_grad for part in order[i] for p in part.parameters())
                has_activations = bool(activations_of(network.low[i]))
                assert learns == (i in inside and has_activations)
                if i not in inside:
                    assert all(torch.equal(a, b) for a, b in zip(copies(i), frozen[i], strict=True))

        def unit(self, index: int, result: UnitResult) -> None:
            frozen[index] = copies(index)

    frozen.update({i: copies(i) for i in range(5)})
    full = [value.clone() for module in network.full for value in module.state_dict().values()]
    run(network, tiny_images, QDrop(lr_scale=0.01), groups=MERGED, listener=Watch())
    assert not any(p.requires_grad for p in network.model.parameters())
    assert all(p.grad is None for p in network.model.parameters())
    assert all(layer.soft is None and layer.quantized for layer in layers_of(network.model))
    assert {q.mode for q in activations_of(network.model)} == {"on"}
    now = [value for module in network.full for value in module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(now, full, strict=True))


def test_images_fewer_than_a_batch_are_enough(tiny_network: Network, tiny_images: Tensor) -> None:
    outcome = run(tiny_network(), tiny_images[:3], QDrop(), batch_size=32)
    assert all(torch.isfinite(torch.tensor(unit.error)) for unit in outcome.units)


def test_nothing_reaches_the_screen(
    tiny_network: Network, tiny_images: Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tiny_network(), tiny_images, QDrop())
    assert capfd.readouterr() == ("", "")
