import pytest
import torch

from benchmarks.clock import interleaved, ratios, spread, timed
from benchmarks.machine import rounded

CPU = torch.device("cpu")


def test_things_take_turns_and_warm_up() -> None:
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = interleaved(runs, rounds=2, warmup=1, device=CPU)
    assert {name: len(own) for name, own in times.items()} == {"a": 2, "b": 2, "c": 2}
    assert "".join(calls) == "cab" + "abc" + "bca"
    assert timed(lambda: None, CPU) >= 0
    assert interleaved({"a": lambda: None}, rounds=0, warmup=0, device=CPU) == {"a": []}


def test_spread_is_the_middle_half() -> None:
    assert spread([1.0]) == 0 and spread([2.0, 2.0, 2.0]) == 0
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert ratios([2.0, 6.0], [1.0, 2.0]) == [2.0, 3.0]


def test_numbers_are_written_with_four_digits() -> None:
    assert rounded({"a": [1.23456, 2], "b": (123456.0,), "c": None}) == {
        "a": [1.235, 2],
        "b": [123500.0],
        "c": None,
    }
