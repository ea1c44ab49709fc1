"""A metric of the user's own: a function of a network that gives one number, or several by name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mrecg.errors import DataError, MrecgError, short
from mrecg.pipeline.accuracy import borrowed

Function = Callable[[nn.Module], Any]
"""Measures a network: returns a number, or numbers by name."""
_ALONE = "metric"


@dataclass(frozen=True)
class Metric:
    """Measures networks by a function that a user brings.

    Attributes:
        function: Takes a network in evaluation mode, on the run's device; called without gradients.
    """

    function: Function

    @property
    def name(self) -> str:
        """Name of a metric that is one number: the function's."""
        name = getattr(self.function, "__name__", None) or type(self.function).__name__
        return _ALONE if name == "<lambda>" else str(name)

    @torch.no_grad()
    def __call__(self, model: nn.Module, device: torch.device, what: str) -> dict[str, float]:
        """Measure a network, which is left as it was.

        Args:
            model: The network.
            device: Where it is measured.
            what: What it is, for messages.

        Returns:
            The numbers by name. An error of the function itself passes through, with a note on what it
            measured.

        Raises:
            DataError: It has returned something else.
        """
        with borrowed(model, device):
            try:
                found = self.function(model)
            except MrecgError:
                raise
            except Exception as error:
                error.add_note(f"mrecg: raised by evaluation={self.name}, which was given {what}")
                raise
        if not isinstance(found, Mapping):
            return {self.name: self._number(found)}
        if not found:
            raise DataError(f"evaluation: {self.name} returned no numbers; return at least one")
        return {str(key): self._number(value) for key, value in found.items()}

    def _number(self, value: Any) -> float:
        """Take a number of Python, numpy or torch."""
        try:
            if isinstance(value, str | bytes | bool):
                raise TypeError
            return float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, RuntimeError) as error:
            shown = short(repr(value), 60)
            raise DataError(
                f"evaluation: {self.name} returned {shown}; return a number, or a mapping of names to numbers"
            ) from error


def refuse_not_finite(found: Mapping[str, float]) -> None:
    """Refuse numbers of the full-precision network that nothing can be compared with.

    Raises:
        DataError: One of them is NaN or infinite.
    """
    for key, value in found.items():
        if not math.isfinite(value):
            raise DataError(
                f"evaluation: {key} of the full-precision network is {value}; check its weights, the images "
                "and the function"
            )
