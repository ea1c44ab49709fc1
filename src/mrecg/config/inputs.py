"""What goes into a run: the model with its weights, and the images.

Part of the schema: no other file holds a default.
"""

from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mrecg.config.fields import OneOf
from mrecg.methods.hyperparameters import STRICT
from mrecg.registry import DATA

PositiveInt = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=1, le=8192)]
"""A side of an image. Beyond this an image alone takes gigabytes, and the system would end the process."""
LARGEST, SMALLEST_STD = 1e6, 1e-6
"""Of a mean or a standard deviation; smaller deviations would make pixels that float32 has no numbers for."""
Mean = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Std = Annotated[float, Field(ge=SMALLEST_STD, le=LARGEST)]
LARGEST_IMAGE = 1 << 26
"""Values of an image: channels times height times width."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreprocessingConfig:
    """What a model wants its images to be; null: what the metadata of its weights says."""

    mean: Annotated[tuple[Mean, ...], Field(min_length=1)] | None = None
    """Channel means, on [0, 1], one a channel or one for all; without metadata ImageNet's."""
    std: Annotated[tuple[Std, ...], Field(min_length=1)] | None = None
    """Channel standard deviations, on [0, 1], one a channel or one for all; without metadata ImageNet's."""
    resize: Pixels | None = None
    """Shorter side before the centre crop, pixels; without metadata as stored."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """How images are resized; without metadata bilinear."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """Which network, and where its weights come from."""

    source: Literal["embedded", "torchvision", "timm", "target", "python"] = "embedded"
    """The package's own model, one of torchvision's or timm's, any importable callable, or one passed in
    Python."""
    name: str = "mobilenet_v2_digits"
    """Name in tables and file names; for source=torchvision and timm the name that their get_model and
    create_model know."""
    target: str | None = None
    """For source=target: dotted path of a class or function that returns an nn.Module."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the model's constructor."""
    weights: str | None = None
    """For source=torchvision and timm: name of published weights to download, for example DEFAULT."""
    checkpoint: str | None = None
    """State dict to load: a file (.safetensors, .pth, .pt, .th), a URL, or pkg://PACKAGE/FILE inside an
    installed package; null: the weights above, or random ones from the seed."""
    checkpoint_key: str | None = None
    """Key of the state dict inside the file, for example model_ema; null: found where only one is there."""
    checkpoint_match: Literal["name", "order"] = "name"
    """Match the file's tensors by name, or one after the other (same number, shapes and kinds)."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Regular expressions and what replaces them in the file's names before they are matched."""
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    """What the checkpoint file's SHA-256 must be; null: recorded, not checked."""
    input_shape: tuple[PositiveInt, Pixels, Pixels] | None = None
    """Channels, height and width of one image, in pixels; null: what the metadata of the weights says."""
    output: str | int | None = None
    """The only output that the quantized network has, of several: its name (keys and places joined by dots)
    or its place; null: all of them."""
    preprocessing: PreprocessingConfig = Field(default_factory=PreprocessingConfig)
    """What the images are made into."""

    @model_validator(mode="after")
    def _goes_together(self) -> "ModelConfig":
        if (self.source == "target") != (self.target is not None):
            raise ValueError(
                "model.target: needs package.module.name for model.source=target, and nothing otherwise"
            )
        if self.weights is not None and (
            self.source not in ("torchvision", "timm") or self.checkpoint is not None
        ):
            raise ValueError(
                "model.weights goes with model.source=torchvision or timm, and without model.checkpoint"
            )
        if self.input_shape is not None and prod(self.input_shape) > LARGEST_IMAGE:
            raise ValueError(
                f"model.input_shape: {list(self.input_shape)} is not right: "
                f"give {LARGEST_IMAGE:,} values at most"
            )
        of_file = {
            "checkpoint_key": self.checkpoint_key is not None,
            "checkpoint_match": self.checkpoint_match != "name",
            "rename": bool(self.rename),
            "sha256": self.sha256 is not None,
        }
        if self.checkpoint is None and any(of_file.values()):
            key = next(key for key, given in of_file.items() if given)
            raise ValueError(f"model.{key}: goes with model.checkpoint only")
        if self.input_shape is None and self.source == "target":
            raise ValueError(
                "model.input_shape: needs [channels, height, width] for model.source=target, "
                "which has no metadata to read it from"
            )
        return self


def sources() -> tuple[str, ...]:
    """Names of all sources of images, and of what stands for having none to read."""
    return (*DATA.names(), "none", "python")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """Where the calibration and the evaluation images come from."""

    source: Annotated[str, OneOf(sources)] = "digits"
    """The embedded digits, folders of images, CIFAR's own files, any Dataset class, what another package
    brings, none (planning by ModCap), or tensors passed in Python."""
    name: str = "digits"
    """Name in tables and summaries."""
    calibration_path: Path | None = None
    """For image_folder: the folder of calibration images, at any depth; labels are not used. For cifar10 and
    cifar100: the folder that holds torchvision's cifar-10-batches-py or cifar-100-python."""
    evaluation_path: Path | None = None
    """For image_folder: the folder of evaluation images, one sub-folder a class or with labels_path; null: no
    evaluation."""
    labels_path: Path | None = None
    """For image_folder: a CSV file with the columns file (below evaluation_path) and label (a class's name or
    index); null: sub-folders are classes."""
    classes_path: Path | None = None
    """For image_folder: the model's classes in order, where evaluation_path has only some of them: a folder
    whose sorted sub-folder names they are, or a text file with a name a line; null: evaluation_path's own."""
    calibration_dataset: str | None = None
    """For dataset: dotted path of a Dataset class or of a function that returns one."""
    calibration_arguments: dict[str, Any] = Field(default_factory=dict)
    """For dataset, and sources of other packages: keyword arguments."""
    evaluation_dataset: str | None = None
    """For dataset: likewise, with labels; null: no evaluation."""
    evaluation_arguments: dict[str, Any] = Field(default_factory=dict)
    """For dataset: its keyword arguments."""
    resize: Pixels | Literal["model", "none"] = "model"
    """Shorter side before the centre crop, pixels; model: as model.preprocessing says; none: as stored."""
    calibration_images: PositiveInt | Literal["all"] = 512
    """Images that calibration and reconstruction use; all: every one that is there."""
    evaluation_images: PositiveInt | None = None
    """Evaluate on a seeded draw of this many images; null: all."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    """Images a forward pass in calibration, caching and evaluation."""
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Processes that read evaluation images; the result does not depend on it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the draw of images; apart from the run's seed, so that seeds compare on the same images."""

    @model_validator(mode="after")
    def _what_is_needed(self) -> "DataConfig":
        if self.source in DATA.others():
            DATA.get(self.source)  # what cannot be loaded is said before any work
        for key in ("calibration_dataset", "evaluation_dataset"):
            if self.source != "dataset" and getattr(self, key) is not None:
                raise ValueError(f"data.{key}: goes with data.source=dataset only")
        if self.source in ("cifar10", "cifar100") and self.calibration_path is None:
            raise ValueError(f"data.calibration_path: needs a folder for data.source={self.source}")
        if self.labels_path is not None and self.evaluation_path is None:
            raise ValueError("data.labels_path: goes with data.evaluation_path")
        return self
