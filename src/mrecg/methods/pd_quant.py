"""PD-Quant: QDrop, the difference of the network's predictions, and corrected activations.

Source: Liu et al., PD-Quant: Post-Training Quantization based on Prediction Difference Metric,
arXiv 2212.07048, and its published code.
"""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.methods import qdrop
from mrecg.methods.hyperparameters import STRICT
from mrecg.methods.passes import Correction, Family, Pass, Prediction
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PdQuant(QDrop):
    """QDrop, and the network's prediction through its full-precision rest (KL divergence)."""

    name: Literal["pd_quant"] = "pd_quant"
    lr_rounding: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Adam's learning rate for the rounding variables."""
    prediction_weight: Annotated[float, Field(ge=0)] = 10.0
    """The factor on the KL divergence of the prediction. With 0 it is left out, and so is the full-precision
    rest that each step runs for it."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """The temperature that divides the logits. With null: 4, for networks with depthwise convolutions 1."""
    correction_steps: Annotated[float, Field(ge=0, le=1)] = 0.025
    """The steps that correct the activations of each batch of 32 images towards BatchNorm's statistics, as a
    fraction of all steps (published: 500 of 20,000). 0 switches the correction off."""
    correction_lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate for the corrected activations."""
    correction_strength: Annotated[float, Field(gt=0)] | None = None
    """How far corrected activations may move: their squared change is divided by this. With null: 0.02, for
    networks with depthwise convolutions 0.005, for RegNet 0.01, for MNasNet 0.001."""


@register(PdQuant)
def passes(config: PdQuant, family: Family) -> tuple[Pass, ...]:
    """Build the method's passes; see `PassBuilder`."""
    (task,) = qdrop.passes(config, family)
    prediction = Prediction(
        weight=config.prediction_weight,
        temperature=family.temperature if config.temperature is None else config.temperature,
    )
    correction = Correction(
        steps=config.correction_steps,
        lr=config.correction_lr,
        strength=family.strength if config.correction_strength is None else config.correction_strength,
    )
    return (
        replace(
            task,
            prediction=prediction if prediction.weight else None,
            correction=correction if correction.steps else None,
        ),
    )
