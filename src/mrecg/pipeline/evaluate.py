"""Measure a network by itself: in full precision, that of a run, or that of an exported file."""

import torch
from torch import nn

from mrecg.config.consent import Consent
from mrecg.config.schema import RunConfig
from mrecg.data import images as data
from mrecg.data.images import Images
from mrecg.errors import DataError
from mrecg.formats.runners import image_shape, open_file
from mrecg.models.build import build
from mrecg.models.preprocessing import assumed, resolve
from mrecg.pipeline.accuracy import Accuracy, accuracy, scores_of
from mrecg.pipeline.result import load
from mrecg.reconstruct import computing
from mrecg.system.tf32 import float32_as, has_tf32
from mrecg.track.terminal import Display, Quiet


def evaluate(config: RunConfig, *, display: Display | None = None) -> tuple[str, Accuracy]:
    """Measure the configured FP model, the run that ``config.run`` names, or the file at ``config.path``.

    Args:
        display: Shows progress.

    Returns:
        What was measured, and its accuracy.
    """
    device = computing.device_of(config)
    if config.path is not None:
        what, source = str(config.path), config
        model, said = open_file(config.path, allow_import=config.allow_import)
        preprocessing = said or assumed(config, image_shape(model), what)
        if said is None and display is not None:
            display.note(f"{what} does not say what its images are; {preprocessing.origin}")
        device = torch.device("cpu")  # where every one of these files runs
    elif config.run is None:
        built = build(config.model, seed=config.seed)
        what, model, source = f"{config.model.name} (FP)", built.model, config
        preprocessing = built.preprocessing
        if display is not None and (note := built.weights.note()):
            display.note(note)
    else:
        result = load(config.run, allow_import=config.allow_import)
        Consent(str(config.run), config.allow_import).to(None, result.config.data)
        what, model, source = str(config.run), result.model, result.config
        preprocessing = resolve(source.model)
    images = data.load(source.data, preprocessing=preprocessing, calibration=False)
    if not len(images):
        raise DataError(f"data={images.name}: has no images to evaluate on; see data.evaluation_path")
    model = model.to(device)
    for note in images.check_labels(_outputs(model, images, device)):
        (display or Quiet()).note(note)
    precision = source.precision
    if precision == "tf32" and not has_tf32(device):  # of a run that was made elsewhere
        precision = 32
        (display or Quiet()).note(
            f"{what} was made in tf32, which {device} does not have: measured in float32"
        )
    with float32_as(precision), (display or Quiet()).stage("evaluate", len(images)) as advance:
        return what, accuracy(model, images.batches(), device=device, progress=advance)


@torch.no_grad()
def _outputs(model: nn.Module, images: Images, device: torch.device) -> int:
    """Show a classifier one image before the work begins, and count its outputs."""
    assert images.evaluation is not None
    image = images.evaluation.dataset[0]
    if isinstance(image, DataError):
        raise image
    x = image[0].unsqueeze(0).to(device, memory_format=torch.channels_last)
    return scores_of(model(x)).shape[1]
