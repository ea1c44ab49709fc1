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
    """What chooses the merges. `safe` ranks by module capacity, and held-out images decide during the run.
    `loss` and `error` rank by a probe run, `budget` tries merges within a budget of time and memory, `pack`
    uses the curvature of the predictions, and `published` a paper's schedule."""
    accept: Literal["all", "held_out"] | None = None
    """Which planned merges are made. With `held_out` the units of each planned group are also optimised one
    by one, and held-out calibration images decide. With null it is `held_out` for planner=safe and `all` for
    the others."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """The fraction of the calibration images that decide for planner.accept=held_out, at least one image."""
    merge_count: Annotated[int, Field(ge=0)] | Literal["auto"] = 3
    """The most neighbouring pairs to merge (k). Pairs that share a unit form one longer group. `auto` merges
    the fewest that bring the predicted oscillation down to planner.oscillation_threshold. Not used by budget,
    pack and published."""
    oscillation_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The target of planner.merge_count=auto: the oscillation index as a fraction of the block-wise one."""
    time_budget: Annotated[float, Field(ge=1, le=1000)] = 1.5
    """The most time that all optimisation steps may take for planner=budget, as a multiple of blocks
    alone."""
    memory_budget_mb: Annotated[int, Field(ge=1)] | None = None
    """The most memory for the float32 activations of a group and batch for planner=budget, MB. With null
    there is no limit."""
    min_gain: Annotated[float, Field(ge=0, le=1)] = 0.02
    """The fraction of the final error that a merge has to take off, by prediction, for planner=budget. A
    smaller gain is taken for noise."""
    max_group_size: Annotated[int, Field(ge=2)] = 4
    """The most units in a group."""
    merge_boundary: bool = False
    """Whether the first and the last unit may be merged. They have bits of their own, and the loss of logits
    does not compare with that of feature maps."""
    not_comparable: Literal["include", "exclude", "loss"] = "include"
    """What to do with pairs that differ in strides, kinds of layer or shortcut: `include` ranks them like all
    others, `exclude` leaves them alone, and `loss` ranks them by the loss of a probe run (planner=modcap
    only)."""
    stride_factor: Annotated[float, Field(gt=0, le=16)] = 1.6
    """The factor of module capacity for a layer of stride 2."""
    difference: Literal["squared", "log_ratio", "fall", "rise", "gain"] | None = None
    """How two neighbours are compared. `squared` ((a - b)^2, as published) and `log_ratio` fit modcap, safe
    and loss, `fall` fits loss, `rise` error and pack, `gain` budget. With null: `log_ratio` for safe,
    `squared` for modcap, and for the others the one that is named for them alone."""
    probe_steps: Annotated[int, Field(ge=0)] | None = None
    """The steps per unit of the probe run for loss, error and budget; 0 rounds to nearest. With null:
    trainer.steps, and for budget a quarter of them, but at least 100."""
    schedule: str | None = None
    """The name of the schedule for planner=published. With null it is found by the model's name."""

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
