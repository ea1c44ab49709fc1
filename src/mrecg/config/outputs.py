"""The schema's groups of what a run leaves: what is shared, what it resumes from, where curves go."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from mrecg.methods.hyperparameters import STRICT

LONGEST_NAME, LONGEST_TAG, MOST_TAGS = 128, 64, 50
"""What W&B takes; it would refuse more when the run has begun, and keep nothing of it."""


def _fits(most: int) -> AfterValidator:
    def check(text: str) -> str:
        if not text.strip() or len(text) > most or not text.isprintable():
            raise ValueError(f"W&B takes 1 to {most} printable characters")
        return text

    return AfterValidator(check)


def _project(name: str) -> str:
    if set(name) & set("/\\#?%:"):
        raise ValueError("W&B takes no project with / \\ # ? % or : in its name")
    return name


def _entity(name: str) -> str:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError("W&B takes letters, digits, - . and _ in the name of a user or team")
    return name


def _few(tags: tuple[str, ...]) -> tuple[str, ...]:
    if len(tags) > MOST_TAGS:
        raise ValueError(f"W&B takes {MOST_TAGS} tags at most, and these are {len(tags)}")
    return tags


Name = Annotated[str, _fits(LONGEST_NAME)]
Tag = Annotated[str, _fits(LONGEST_TAG)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SharedConfig:
    """What runs on one file system share: calibrations, probes, and finished groups."""

    folder: Path | None = None
    """The folder for shared results. Any number of processes may use it at the same time. With null nothing
    is shared."""
    limit_mb: Annotated[int, Field(ge=1)] = 4000
    """The largest size of the folder, MB. What was not used for longest is removed first."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointConfig:
    """What a run keeps to resume from if it is interrupted, in addition to finished groups."""

    every_steps: Annotated[int, Field(ge=0)] = 1000
    """The number of steps of a group between two records of its state. With 0 an interrupted group begins
    again."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoggerConfig:
    """Where curves go in addition to the CSV files of the run folder."""

    wandb: Literal["offline", "online", "disabled"] = "offline"
    """The mode of W&B. `offline` needs no account, and `wandb sync` uploads later."""
    project: Annotated[Name, AfterValidator(_project)] = "mrecg"
    """The W&B project."""
    entity: Annotated[Name, AfterValidator(_entity)] | None = None
    """The W&B user or team. With null it is your default."""
    group: Name | None = None
    """The W&B group. With null it is the name of the sweep's folder in a sweep, and none otherwise."""
    tags: Annotated[tuple[Tag, ...], AfterValidator(_few)] = ()
    """W&B tags in addition to the method, the granularity and the bits, which every run gets."""
    artifact: bool = False
    """Whether quantized weights, plan, configuration and summary go to W&B as an artifact."""
