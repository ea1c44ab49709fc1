"""The schema of the planner: how granularity=mixed chooses what to merge."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mrecg.config.fields import OneOf
from mrecg.methods.hyperparameters import STRICT
from mrecg.registry import CRITERIA

PLANNERS = {"safe": ("log_ratio", "squared"), "budget": ("gain",), "pack": ("rise",), "published": ()}
"""Planners that are no criterion: how neighbours compare for them."""


def planners() -> tuple[str, ...]:
    """Names of all planners."""
    return (*CRITERIA.names(), *PLANNERS)


def differences_of(planner: str) -> tuple[str, ...]:
    """How neighbours may compare for a planner, the default first."""
    found: tuple[str, ...] = PLANNERS[planner] if planner in PLANNERS else CRITERIA.get(planner).differences
    return found


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlannerConfig:
    """How granularity=mixed chooses what to merge."""

    name: Annotated[str, OneOf(planners)] = "safe"
    """safe: module capacity ranks, and held-out images decide during the run. Else module capacity, the loss
    or the relative error of a probe run, the smallest predicted error within a budget of time and memory
    (takes trials of merges), Pack-PTQ's packs by the curvature after each unit, or a paper's schedule."""
    accept: Literal["all", "held_out"] | None = None
    """Which planned merges are made. held_out: those after which the network's prediction is closer to the
    full-precision one, on calibration images that nothing learns from, than after the group's units one by
    one, which are optimised, too. all: every one. null: held_out for planner=safe, all for the others."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """For accept=held_out: fraction of the calibration images, at least one of them."""
    merge_count: Annotated[int, Field(ge=0)] | Literal["auto"] = 3
    """Neighbouring pairs to merge, at most (k); chosen pairs that share a unit chain into one group. auto: as
    few as calm the probe's curve to oscillation_threshold. Not used by budget, pack and published."""
    oscillation_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """For merge_count=auto: predicted oscillation index, at most, as a fraction of the block-wise one."""
    time_budget: Annotated[float, Field(ge=1, le=1000)] = 1.5
    """For planner=budget: time of all optimisation steps, at most, as a multiple of that of blocks alone."""
    memory_budget_mb: Annotated[int, Field(ge=1)] | None = None
    """For planner=budget: float32 activations of one group and batch in the optimisation, at most, MB; null:
    no limit."""
    min_gain: Annotated[float, Field(ge=0, le=1)] = 0.02
    """For planner=budget: fraction of the final error that a merge has to take off, by prediction; less is
    taken for the noise of its trial."""
    max_group_size: Annotated[int, Field(ge=2)] = 4
    """Units in one group, at most."""
    merge_boundary: bool = False
    """Whether the first and the last unit may be merged: they have bits of their own, and the loss of logits
    does not compare with that of feature maps."""
    not_comparable: Literal["include", "exclude", "loss"] = "include"
    """What to do with pairs that are not topologically homogeneous (other strides, kinds of layer, shortcut):
    rank them like all others, leave them alone, or rank them by the loss (with modcap; takes a probe run)."""
    stride_factor: Annotated[float, Field(gt=0, le=16)] = 1.6
    """ModCap's factor for a layer of stride 2."""
    difference: Literal["squared", "log_ratio", "fall", "rise", "gain"] | None = None
    """How neighbours compare: squared ((a - b)^2, as published) or log_ratio for modcap, safe and loss, fall
    (squared, where b < a) for loss, rise for error and pack, gain for budget; null: log_ratio for safe, else
    squared, fall, rise and gain, in this order."""
    probe_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps a unit of the probe run for loss, error and budget; null: as many as trainer.steps, for budget
    a quarter of them, but 100; 0: round to nearest."""
    schedule: str | None = None
    """For planner=published: name of the schedule; null: the model's name or the beginning of it."""

    @model_validator(mode="after")
    def _difference_fits(self) -> "PlannerConfig":
        fit = differences_of(self.name)  # what cannot be loaded is said before any work
        if self.difference is not None and self.difference not in fit:
            fitting = ", ".join(fit) or "none"
            raise ValueError(
                f"planner.difference: {self.difference!r} does not go with {self.name}; choose from {fitting}"
            )
        if self.not_comparable == "loss" and self.ranking.name != "modcap":
            raise ValueError(
                f"planner.not_comparable: loss goes with planner=modcap; {self.name} needs it not"
            )
        return self

    @property
    def judged(self) -> bool:
        """Whether held-out images decide which of the planned merges are made."""
        return (self.accept or ("held_out" if self.name == "safe" else "all")) == "held_out"

    @property
    def ranking(self) -> "PlannerConfig":
        """What ranks the pairs: safe is module capacity, and its merges are judged."""
        if self.name != "safe":
            return self
        return replace(self, name="modcap", difference=self.difference or "log_ratio")
