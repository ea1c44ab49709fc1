"""What must hold for every network of conf/model and for everything odd: from the trace to the loaded run."""

import os
from pathlib import Path

import odd_nets
import torch
from conf_networks import LIMIT, each, names, network
from torch import Tensor
from unit_contract import check_contract

import mrecg
from mrecg.config.merging import PlannerConfig
from mrecg.config.schema import GranularityConfig
from mrecg.graph.cut import Cut, cut
from mrecg.planner.plan import make_plan

ONE_A_FAMILY = ("efficientnet_lite0", "embedded", "mobilenet_v3_small", "resnet20_cifar", "shufflenet_v2")
"""Networks of conf/model that are also exported, besides the odd ones. All of them, for some minutes more:
``MRECG_EXPORT_ALL=1 python -m pytest tests/contracts/test_networks.py -k loaded_run``."""
ALL = os.environ.get("MRECG_EXPORT_ALL") == "1"
SIBLINGS = (
    *("efficientnet_lite1", "efficientnet_lite2", "mnasnet2_0", "mobilenet_v2_050", "mobilenet_v2_075"),
    *("mobilenet_v2_140", "mobilenet_v2_035", "regnet_x_3_2gf", "regnet_x_600mf", "regnet_x_800mf"),
    *("resnet32_cifar", "resnet34", "resnet56_cifar"),
)
"""Networks that differ from another in numbers of channels and blocks alone: they are cut, not quantized."""
every_network = each(["timm", *names(), *odd_nets.NETS])
every_kind = each(name for name in ("timm", *names(), *odd_nets.NETS) if ALL or name not in SIBLINGS)


def images_of(shape: tuple[int, int, int], count: int = 4) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@every_network
@torch.no_grad()
def test_it_is_cut_and_planned(name: str) -> None:
    model, shape, _, blocks = network(name)
    images = images_of(shape)
    for found in (cut(model, "layer", input_shape=shape, max_unit_layers=LIMIT), blocks):
        check_contract(found.graph, found.units)
        assert max(len(unit.layers) for unit in found.units) <= LIMIT
        assert relative(found.graph(images), model(images)) < 1e-5
    check_plans(found)


@every_kind
@torch.no_grad()
def test_from_the_trace_to_the_loaded_run(name: str, tmp_path: Path) -> None:
    model, shape, _, found = network(name)
    images = images_of(shape)
    expected = model(images)
    with torch.enable_grad():
        result = mrecg.quantize(
            model,
            images,
            weight_bits=4,
            activation_bits=4,
            method="brecq_joint",
            merge_count=1,
            steps=2,
            progress=False,
            planner={"name": "modcap"},
            calibration={"weight_range": "minmax", "activation_range": "minmax"},
            trainer={"batch_size": 2, "chunk": 2, "log_every": 1, "device": "cpu"},
            data={"batch_size": 4},
        )
    assert [unit.name for unit in result.units] == [unit.name for unit in found.units]
    reassembled = images
    for unit in result.network.full:
        reassembled = unit(reassembled)
    assert relative(reassembled, expected) < 1e-5
    outputs = result.model(images)
    assert outputs.isfinite().all() and not torch.equal(outputs, expected)
    result.save(tmp_path / "run")
    assert torch.equal(mrecg.load(tmp_path / "run", model=model).model(images), outputs)
    check_files(name, result, images, tmp_path)


def check_files(name: str, result: mrecg.Result, images: Tensor, folder: Path) -> None:
    """Every exported file does what the network does, but where a value lies between two integers."""
    odd = name in odd_nets.NETS
    if not odd and name not in ONE_A_FAMILY and not ALL:
        return
    # Programs of torch.export take longer to make, and hold no more than what the odd ones have.
    for ending, runs in ((".onnx", 2), (".pt2", 1)) if odd else ((".onnx", 2),):
        made = mrecg.export(result, folder / f"q{ending}", images=images, batch_size=len(images))
        assert made.bytes == (folder / f"q{ending}").stat().st_size and len(made.agreements) == runs
        for found in made.agreements:
            assert found.images == len(images) == found.same + len(found.ties), found
            assert all(tie.distance < 1e-3 for tie in found.ties), found.ties


def check_plans(found: Cut) -> None:
    facts = [unit.facts for unit in found.units]
    for count in (0, 1, 3):
        plan = make_plan(
            facts,
            {layer: 4 for unit in found.units for layer in unit.layers},
            granularity=GranularityConfig(name="mixed"),
            planner=PlannerConfig(name="modcap", merge_count=count),
            model="any",
        )
        assert len(plan.merges) == count or (len(plan.merges) < count and plan.note)
        assert [unit for group in plan.groups for unit in group] == [unit.name for unit in facts]
        assert len(plan.not_comparable) == len(facts) - 1
        assert all(capacity > 0 for capacity in plan.criteria[0].capacities)
    stages = make_plan(
        facts, {}, granularity=GranularityConfig(name="stage"), planner=PlannerConfig(), model="any"
    )
    whole = make_plan(
        facts, {}, granularity=GranularityConfig(name="network"), planner=PlannerConfig(), model="any"
    )
    assert len(whole.groups) == 1 <= len(stages.groups) <= len(facts)
    assert len(stages.groups) == facts[-1].stage + 1
