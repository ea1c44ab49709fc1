"""PD-Quant: QDrop, the difference of the network's predictions, and corrected activations.

Source: Liu et al., PD-Quant: Post-Training Quantization based on Prediction Difference Metric,
arXiv 2212.07048, and its published code.
"""

from dataclasses import replace

from mrecg.config.methods import PdQuant
from mrecg.reconstruct.methods import qdrop
from mrecg.reconstruct.methods.base import Correction, Family, Pass, Prediction


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
