"""Targets of the engine, and which of them its numbers miss."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """An upper limit of one number.

    Attributes:
        key: The number in the JSON of a network.
        name: In tables.
        cpu: The limit on a CPU.
        cuda: The limit on a GPU.
        factor: Multiplies the number in tables: 100 for percent.
        unit: Follows the number.
        only: The one network that has the target; empty: all.
    """

    key: str
    name: str
    cpu: float
    cuda: float
    factor: float = 1.0
    unit: str = ""
    only: str = ""

    def limit(self, device: str) -> float:
        """The limit on a device."""
        return self.cuda if device.startswith("cuda") else self.cpu

    def text(self, value: float) -> str:
        """Write a number of this kind."""
        return f"{self.factor * value:.2f}".rstrip("0").rstrip(".") + self.unit

    def missed(self, network: str, found: dict[str, Any], device: str) -> bool:
        """Return whether a network's number is above the limit that holds for it."""
        return self.only in ("", network) and found[self.key] > self.limit(device)


TARGETS = (
    Target("overhead", "step / floor", 1.3, 1.5),
    Target("lightning_share", "Lightning", 0.03, 0.05, factor=100, unit=" %"),
    Target("calibration_passes", "activation ranges, passes", 4.0, 4.0),
    Target("weight_ranges_s", "weight ranges", 3.0, 3.0, unit=" s", only="efficientnet_lite0"),
    Target("prefix_passes", "cache, passes", 2.5, 2.5),
)


def missed(content: dict[str, Any]) -> Iterator[tuple[str, Target, float]]:
    """List what is above its limit.

    Args:
        content: The JSON of `benchmarks.engine`.

    Yields:
        Network, target and number.
    """
    for name, found in content["networks"].items():
        for target in TARGETS:
            if target.missed(name, found, content["device"]["device"]):
                yield name, target, found[target.key]
