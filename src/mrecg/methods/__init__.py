"""Methods: what each learns, in which passes over the network; one file for each, and no torch.

A method of one's own is a frozen pydantic dataclass with its hyper-parameters, and a function that makes
passes of them, registered by `register`; see docs/how-to/extending.md.
"""

from mrecg.methods.hyperparameters import STRICT, LearnedActivations, LearnedRounding, MethodSettings
from mrecg.methods.passes import Correction, Family, LearnRounding, LearnScales, Pass, Prediction, Solve
from mrecg.methods.registry import METHODS, Method, optimises, passes_of, register

__all__ = [
    "METHODS",
    "STRICT",
    "Correction",
    "Family",
    "LearnRounding",
    "LearnScales",
    "LearnedActivations",
    "LearnedRounding",
    "Method",
    "MethodSettings",
    "Pass",
    "Prediction",
    "Solve",
    "optimises",
    "passes_of",
    "register",
]
