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
    """What runs on one file system share: calibrations, probes, and groups that are through."""

    folder: Path | None = None
    """Where; any number of processes may use it at a time. null: nothing is shared."""
    limit_mb: Annotated[int, Field(ge=1)] = 4000
    """Size of the folder, at most, MB; what was not used for longest goes first."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointConfig:
    """What a run keeps in its folder to resume from if it is interrupted. Finished groups always are."""

    every_steps: Annotated[int, Field(ge=0)] = 1000
    """Steps of a group between two records of its state; 0: a group that is interrupted begins again."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoggerConfig:
    """Where curves go besides the CSV files of the run folder."""

    wandb: Literal["offline", "online", "disabled"] = "offline"
    """W&B's mode; offline needs no account, and `wandb sync` uploads later."""
    project: Annotated[Name, AfterValidator(_project)] = "mrecg"
    """W&B project."""
    entity: Annotated[Name, AfterValidator(_entity)] | None = None
    """W&B user or team; null: your default."""
    group: Name | None = None
    """W&B group; null: the name of the sweep's folder in a sweep, none otherwise."""
    tags: Annotated[tuple[Tag, ...], AfterValidator(_few)] = ()
    """W&B tags besides the method, the granularity and the bits, which every run gets."""
    artifact: bool = False
    """Whether quantized weights, plan, configuration and summary go to W&B as an artifact."""
