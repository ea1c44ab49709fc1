"""Memory of an optimisation step: parameters with their state, and tensors kept for the backward pass."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.optim.optimizer import register_optimizer_step_post_hook

MB = 2**20


@dataclass
class Footprint:
    """Watches all optimisation steps inside its ``with`` block and keeps the largest of each number.

    Attributes:
        optimiser_mb: Parameters that are learned, their gradients and the optimiser's moments.
        saved_mb: Tensors that autograd keeps from the forward for the backward pass, each storage once.
    """

    optimiser_mb: float = 0.0
    saved_mb: float = 0.0
    _saved: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def __enter__(self) -> "Footprint":
        self._hooks = saved_tensors_hooks(self._keep, lambda tensor: tensor)
        self._hooks.__enter__()
        self._handle = register_optimizer_step_post_hook(self._stepped)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()
        self._hooks.__exit__(*error)

    def numbers(self) -> dict[str, float]:
        """The attributes by name."""
        return {"optimiser_mb": self.optimiser_mb, "saved_mb": self.saved_mb}

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def _stepped(self, optimizer: torch.optim.Optimizer, *unused: Any) -> None:
        learned = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in learned if p.grad is not None]
        moments = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
        own = sum(t.numel() * t.element_size() for t in [*learned, *gradients, *moments])
        self.optimiser_mb = max(self.optimiser_mb, own / MB)
        self.saved_mb = max(self.saved_mb, sum(self._saved.values()) / MB)
        self._saved.clear()
