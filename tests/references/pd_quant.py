"""PD-Quant, arXiv 2212.07048: the difference of predictions, and the correction of activations."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.references.equations import descend, regulariser, squared_error
from tests.references.units import Data, Draws, Outcome, Unit


def pd_quant(
    unit: Unit,
    data: Data,
    draws: Draws,
    tail: Callable[[Tensor], Tensor],
    logits: Tensor,
    *,
    lr: float,
    lr_scale: float,
    weight: float,
    prediction_weight: float,
    temperature: float,
) -> Outcome:
    """QDrop on a doubled batch: mixed inputs for the reconstruction, quantized ones for the prediction."""
    alphas, steps = unit.alphas(), unit.steps()

    def losses(t: int) -> tuple[Tensor, ...]:
        i, (first, *inner) = draws.images[t], draws.masks[t]
        quantized = data.quantized[i]
        mixed = torch.where(first, quantized, data.full[i])
        out, predicting = unit.run(torch.cat((mixed, quantized)), unit.soft(alphas), steps, inner).chunk(2)
        rounding = weight * regulariser(alphas, t, len(draws.images))
        divergence = F.kl_div(
            F.log_softmax(tail(predicting) / temperature, dim=1),
            F.softmax(logits[i] / temperature, dim=1),
            reduction="batchmean",
        )
        reconstruction = squared_error(out, data.target[i], data.importance[i])
        return reconstruction, rounding, prediction_weight * divergence

    history = descend(len(draws.images), [(alphas, lr, False), (steps, lr_scale, True)], losses)
    return Outcome(history, unit.rounded(alphas), alphas, steps)


def corrected(
    full: Tensor, unit: nn.Module, *, steps: int, lr: float, strength: float, batch: int = 32
) -> Tensor:
    """Move a unit's FP inputs towards the statistics of the BatchNorms inside it, batch by batch."""
    if not any(isinstance(part, nn.BatchNorm2d) for part in unit.modules()):
        return full
    return torch.cat([_moved(start, unit, steps, lr, strength) for start in full.split(batch)])


def _moved(start: Tensor, unit: nn.Module, steps: int, lr: float, strength: float) -> Tensor:
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=lr)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=100, min_lr=1e-5)
    for _ in range(steps):
        loss = statistics_error(unit, x) + ((x - start) ** 2).sum(dim=1).mean() / strength
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step(loss.item())
    return x.detach()


def statistics_error(unit: nn.Module, x: Tensor) -> Tensor:
    """Squared distance of each image's mean and deviation before each BatchNorm from its running ones."""
    terms = []

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        (u,) = inputs
        assert norm.running_mean is not None and norm.running_var is not None
        mean, deviation = u.mean((2, 3)), (u.var((2, 3)) + 1e-6).sqrt()
        terms.append(((mean - norm.running_mean) ** 2).sum() / len(u))
        terms.append(((deviation - (norm.running_var + 1e-6).sqrt()) ** 2).sum() / len(u))

    norms = [part for part in unit.modules() if isinstance(part, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    unit(x)
    for hook in hooks:
        hook.remove()
    return torch.stack(terms).sum()
