import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from mrecg.config.schema import RunConfig
from mrecg.config.validate import run_config
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.pipeline import cost
from mrecg.pipeline.cost import estimate, seconds_per_image
from mrecg.planner.schedule import Plan


def units(count: int = 4, *, activations: int = 1000) -> list[UnitFacts]:
    layer = LayerFacts(name="conv", weights=100, stride=1, kernel=(3, 3), kind="dense", macs=10_000)
    unit = UnitFacts(name="u0", layers=(layer,), residual=False, activations=activations)
    return [replace(unit, name=f"u{i}") for i in range(count)]


def plan(*groups: tuple[str, ...]) -> Plan:
    names = tuple(name for group in groups for name in group)
    return Plan(units=names, groups=groups, granularity="mixed")


ALONE = plan(("u0",), ("u1",), ("u2",), ("u3",))
MERGED = plan(("u0",), ("u1", "u2"), ("u3",))


def config(**groups: object) -> RunConfig:
    return run_config({"trainer": {"steps": 100}, "planner": {"name": "modcap"}, **groups})


def test_steps_are_those_of_the_groups_and_judged_merges_cost_twice() -> None:
    found = estimate(units(), MERGED, config(), images=64, per_image=1e-3)
    assert found.steps == 400 and not found.probed and found.probe_steps == 400
    judged = estimate(units(), MERGED, config(planner={"name": "safe"}), images=64, per_image=1e-3)
    assert judged.steps == 600  # both units alone, then both together
    each = config(trainer={"steps": 100, "steps_per": "group"})
    assert estimate(units(), MERGED, each, images=64, per_image=1e-3).steps == 300


def test_a_probe_is_said_to_run_or_what_it_would_add() -> None:
    said = str(estimate(units(), ALONE, config(), images=64, per_image=1e-3))
    assert said.startswith("cost: about 400 steps (") and "a probe (planner=loss) would add 400 steps" in said
    loss = estimate(
        units(), ALONE, config(planner={"name": "loss", "probe_steps": 50}), images=64, per_image=1e-3
    )
    assert loss.probed and loss.probe_steps == 200 and "the probe before it, 200 steps" in str(loss)
    block = estimate(units(), ALONE, config(granularity={"name": "block"}), images=64, per_image=1e-3)
    assert "probe" not in str(block)
    none = config(planner={"name": "loss", "probe_steps": 0})  # it ranks by what nearest rounding leaves
    assert "probe" not in str(estimate(units(), ALONE, none, images=64, per_image=1e-3))


def test_the_line_names_all_that_is_done() -> None:
    best = config(method={"name": "qdrop", "start": "closed_form"}, finish={"name": "network", "steps": 7})
    said = str(estimate(units(), ALONE, best, images=64, per_image=1e-3))
    assert re.fullmatch(
        r"cost: about 400 steps \(.* on this machine\), the closed form of each unit, "
        r"7 steps on the whole network and .* of memory; a probe \(planner=loss\) would add 400 steps \(.*\)",
        said,
    )


def test_time_follows_steps_batch_and_speed_and_memory_the_images() -> None:
    def cost(per_image: float = 1e-2, images: int = 64, **groups: object) -> tuple[float, float]:
        found = estimate(units(), ALONE, config(**groups), images=images, per_image=per_image)
        assert found.seconds is not None and found.memory_mb is not None
        return found.seconds, found.memory_mb

    base = cost()
    assert 1.5 < cost(per_image=2e-2)[0] / base[0] <= 2
    assert cost(trainer={"steps": 200})[0] == pytest.approx(2 * base[0])
    assert cost(images=64_000)[1] > base[1] + 50
    smaller = cost(trainer={"steps": 100, "batch_size": 8})
    assert smaller[0] < base[0]


def test_what_is_not_known_is_not_said() -> None:
    blind = estimate(units(activations=0), ALONE, config(), images=64, per_image=1e-3)
    assert (
        blind.seconds is None and blind.memory_mb is None and str(blind).startswith("cost: about 400 steps; ")
    )
    rtn = estimate(units(), ALONE, config(method={"name": "rtn"}), images=64, per_image=1e-3)
    assert str(rtn) == "cost: no optimisation steps"


@pytest.mark.parametrize(("enough", "passes"), [(60.0, 3), (0.0, 1)])
def test_a_forward_pass_is_measured_per_image(
    enough: float, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "ENOUGH_S", enough)  # a long pass is measured once: who asks waits for it
    seen: list[int] = []
    model = nn.Flatten()
    model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    assert seconds_per_image(model, torch.rand(4, 3, 8, 8)) > 0 and seen == [1, *[4] * passes]
