"""The examples in docs/ run."""

import importlib.util
import inspect
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "custom_module.py"


def test_a_module_of_ones_own_takes_a_few_lines() -> None:
    spec = importlib.util.spec_from_file_location("custom_module", FILE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert len(inspect.getsource(example.main).splitlines()) < 15
    result = example.main(steps=2)
    assert [unit.name for unit in result.units] == ["0", "1", "2", "5"]
    assert [layer for unit in result.network.units for layer in unit.layers] == [
        *("0.0", "1.depthwise", "1.pointwise", "2.depthwise", "2.pointwise", "5")
    ]
    # The blend is a join although nobody listed it: its value is quantized, what only feeds it is not.
    assert result.network.policy.activations == {"_0_1": 4, "relu": 4, "lerp": 4, "relu_1": 4, "lerp_1": 8}
