"""Resume an interrupted run from its folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from mrecg.api.arguments import refuse_without_values
from mrecg.api.running import (
    Followers,
    digest_of_weights,
    failures_told,
    of_python,
    quantize_given,
    refuse_callbacks,
    refuse_other_inputs,
)
from mrecg.config.consent import Consent
from mrecg.config.schema import RunConfig
from mrecg.data.batches import Keys
from mrecg.data.given_labels import from_python
from mrecg.errors import ConfigError
from mrecg.graph.intake import unwrap
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.result import Result, load
from mrecg.reconstruct import computing
from mrecg.reconstruct.events import Listener
from mrecg.runs.identity import read_config
from mrecg.runs.layout import CHECKPOINT, SUMMARY, WEIGHTS
from mrecg.runs.lock import refuse_links, run_lock
from mrecg.track.terminal import Screen


@computing.keeping_draws()
def resume(
    folder: Path | str,
    model: nn.Module | None = None,
    calibration: Any = None,
    *,
    evaluation: Any = None,
    progress: bool = True,
    callbacks: Sequence[Listener] = (),
    image_key: str | int | None = None,
    label_key: str | int | None = None,
    allow_import: bool = False,
) -> Result:
    """Resume an interrupted run with its own settings. The result has the bits of an undisturbed run.

    A run that is complete is loaded. Images that are given must be its own then, too.

    Args:
        folder: The run folder.
        model: The full-precision network, if the run was started from Python. Other runs build theirs.
        calibration: The calibration images, as they were given to `quantize`.
        evaluation: The evaluation images or function, as they were given to `quantize`.
        progress: Whether to show progress on standard error.
        callbacks: Objects that are told what the run does, and what it takes from the folder.
        image_key: Where images are in an item or batch, as for `quantize`.
        label_key: Where labels are in an item or batch, as for `quantize`.
        allow_import: Whether a model or data set may be imported if the folder names it by its import path.
            That runs its code.

    Returns:
        The result, as `quantize` would have returned it.

    Raises:
        ConfigError: The folder is no run folder, or the network or images of a run from Python are missing.
        DataError: The network or the images are not those of the run.
    """
    folder = Path(folder)
    refuse_callbacks(callbacks)
    config = replace(read_config(folder), resume="auto", allow_import=False)
    finished = (folder / WEIGHTS).is_file() and (folder / SUMMARY).is_file()
    finished = finished and not (folder / CHECKPOINT).is_dir()
    python, read = of_python(config), calibration is not None or evaluation is not None
    if not python and (read or (model is not None and not finished)):
        raise ConfigError(
            f"{folder}: the run builds its model and reads its images itself; give the folder alone"
        )
    if model is not None:
        unwrap(model)
        refuse_without_values(model)
    images = None
    if python and (read or not finished):
        for value, what in ((model, "model"), (calibration, "calibration images")):
            if value is None:
                raise ConfigError(
                    f"{folder}: its {what} came from Python; call mrecg.resume(folder, model, calibration, "
                    "...) with what the run was started with"
                )
        keys = Keys(image_key, label_key)
        images = from_python(config.data, calibration, evaluation, keys=keys, drawn=True)
    if finished:
        refuse_other_inputs(folder, None if model is None else digest_of_weights(model), images)
        return load(folder, model=model, allow_import=allow_import)
    followers = Followers(display=Screen(config.name) if progress else None, callbacks=callbacks)
    if model is None or images is None:
        return _built(config, folder, followers, allow_import=allow_import)
    return quantize_given(model, images, config, folder, followers)


def _built(config: RunConfig, folder: Path, followers: Followers, *, allow_import: bool) -> Result:
    Consent(str(folder), allow_import).to_run(config, config)
    refuse_links(folder)
    with run_lock(folder), failures_told(config, folder), computing.computing_as(config):
        return pipeline.run(config, folder, display=followers.display, others=followers.callbacks)
