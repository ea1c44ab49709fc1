"""A format that keeps the network's state in a plain torch file, and images of noise."""

import io
from functools import partial

import torch
from torch import Tensor

from mrecg.config.inputs import DataConfig
from mrecg.config.schema import RunConfig
from mrecg.data import source
from mrecg.data.preprocessing import Preprocessing
from mrecg.formats import registry
from mrecg.formats.checkpoint import Quantized
from mrecg.formats.subjects import ModuleSubject


def make(quantized: Quantized, config: RunConfig, shape: tuple[int, ...], opset: int | None) -> registry.Made:
    """Make the content; the subjects run it, and are compared with the network before it is written."""
    content = io.BytesIO()
    torch.save(quantized.network.state(), content)
    return registry.Made(content.getvalue(), [ModuleSubject(quantized.model)], lambda bits: 8)


registry.register("state", registry.Format(file="state.pt", make=make))


def read(shape: tuple[int, ...], classes: int, index: int) -> tuple[Tensor, int]:
    """Read one image, normalised, and its label."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(index)), index % classes


def calibration(config: DataConfig, preprocessing: Preprocessing) -> source.Part:
    """Name the images to draw from; none is read yet."""
    given = config.calibration_arguments
    names = [str(i) for i in range(given["images"])]
    return source.Part(names, partial(read, preprocessing.input_shape, given["classes"]))


source.register("noise", source.Source(calibration, lambda config, preprocessing: None))
