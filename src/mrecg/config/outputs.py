"""The schema's groups of what a run leaves: what is shared, what it goes on from, where curves go."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mrecg.config.methods import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SharedConfig:
    """What runs on one file system share: calibrations, probes, and groups that are through."""

    folder: Path | None = None
    """Where; any number of processes may use it at a time. null: nothing is shared."""
    limit_mb: Annotated[int, Field(ge=1)] = 4000
    """Size of the folder, at most, MB; what was not used for longest goes first."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointConfig:
    """What a run keeps in its folder to go on from, should it be interrupted. Finished groups always are."""

    every_steps: Annotated[int, Field(ge=0)] = 1000
    """Steps of a group between two records of its state; 0: a group that is interrupted begins anew."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoggerConfig:
    """Where curves go besides the CSV files of the run folder."""

    wandb: Literal["offline", "online", "disabled"] = "offline"
    """W&B's mode; offline needs no account, and `wandb sync` uploads later."""
    project: str = "mrecg"
    """W&B project."""
    entity: str | None = None
    """W&B user or team; null: your default."""
    group: str | None = None
    """W&B group; null: the name of the sweep's folder in a sweep, none otherwise."""
    tags: tuple[str, ...] = ()
    """W&B tags besides the method, the granularity and the bits, which every run gets."""
    artifact: bool = False
    """Whether quantized weights, plan, configuration and summary go to W&B as an artifact."""
