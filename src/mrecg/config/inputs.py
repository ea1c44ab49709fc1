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
    """What a model requires its images to be. With null the metadata of its weights decides."""

    mean: Annotated[tuple[Mean, ...], Field(min_length=1)] | None = None
    """The mean of each channel, or one for all channels, for pixels in [0, 1]. Without metadata
    ImageNet's."""
    std: Annotated[tuple[Std, ...], Field(min_length=1)] | None = None
    """The standard deviation of each channel, or one for all, for pixels in [0, 1]. Without metadata
    ImageNet's."""
    resize: Pixels | None = None
    """The shorter side before the centre crop, in pixels. Without metadata images are not resized."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """How images are resized. Without metadata `bilinear`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The network, and where its weights come from. Without any they are random."""

    source: Literal["embedded", "torchvision", "timm", "target", "python"] = "embedded"
    """Where the network comes from: the package's own model, torchvision, timm, any importable class or
    function (`target`), or Python."""
    name: str = "mobilenet_v2_digits"
    """The name in tables and file names. For torchvision and timm it chooses the network."""
    target: str | None = None
    """The import path of a class or function that returns an nn.Module. Required by model=target."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the model's constructor."""
    weights: str | None = None
    """The name of published weights of torchvision or timm to download, for example DEFAULT."""
    checkpoint: str | None = None
    """The weights to load: a file (.safetensors, .pth, .pt, .th, .pth.tar), a URL, or pkg://PACKAGE/FILE in
    an installed package. With null they are those of model.weights, or random."""
    checkpoint_key: str | None = None
    """The key of the state dict inside the file, for example model_ema. It is needed only if there are
    several."""
    checkpoint_match: Literal["name", "order"] = "name"
    """Whether the file's tensors are matched by name, or one after the other (same number, shapes and
    kinds)."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Regular expressions and their replacements, applied to the names in the file before they are
    matched."""
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    """The SHA-256 that the checkpoint file must have. With null it is recorded and not checked."""
    input_shape: tuple[PositiveInt, Pixels, Pixels] | None = None
    """Channels, height and width of an image, in pixels. With null they come from the weights' metadata.
    Required by model=target."""
    output: str | int | None = None
    """Which of several outputs the quantized network has: its name (keys joined by dots) or its position.
    With null it has all of them."""
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
    """The images for calibration and for evaluation."""

    source: Annotated[str, OneOf(sources)] = "digits"
    """The kind of data set: the embedded digits, folders of images, CIFAR's own files, any Dataset class, no
    images at all, or tensors passed in Python."""
    name: str = "digits"
    """The name in tables and summaries."""
    calibration_path: Path | None = None
    """The folder of calibration images, at any depth; their labels are not used. For data=cifar10 and
    cifar100 the folder that holds torchvision's cifar-10-batches-py or cifar-100-python."""
    evaluation_path: Path | None = None
    """The folder of evaluation images for data=image_folder, with one sub-folder per class, or with
    data.labels_path. With null nothing is evaluated."""
    labels_path: Path | None = None
    """A CSV file with the columns `file` (below data.evaluation_path) and `label` (the name or index of a
    class). With null each sub-folder is a class."""
    classes_path: Path | None = None
    """The model's classes in order, if data.evaluation_path has only some of them: a folder whose sorted
    sub-folders name them, or a text file with one name per line."""
    calibration_dataset: str | None = None
    """The import path of a Dataset class, or of a function that returns one. Required by data=dataset."""
    calibration_arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of data.calibration_dataset, or of a source that another package brings."""
    evaluation_dataset: str | None = None
    """The import path of a Dataset of images with labels, for data=dataset. With null nothing is
    evaluated."""
    evaluation_arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of data.evaluation_dataset."""
    resize: Pixels | Literal["model", "none"] = "model"
    """The shorter side before the centre crop, in pixels. `model` takes what model.preprocessing says, and
    `none` leaves images as they are stored."""
    calibration_images: PositiveInt | Literal["all"] = 512
    """The number of images that calibration and reconstruction use."""
    evaluation_images: PositiveInt | None = None
    """The number of evaluation images to draw. With null all are used."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    """The number of images per forward pass in calibration, caching and evaluation."""
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """The number of processes that read evaluation images. The result does not depend on it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of the draw of images. It is separate from the run's seed, so that runs with other seeds
    compare on the same images."""

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
