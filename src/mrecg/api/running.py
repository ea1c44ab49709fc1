"""A run of a network that is at hand: in memory, or in a run folder from its first step."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mrecg.config.consent import takes_consent
from mrecg.config.schema import RunConfig
from mrecg.data.images import Images
from mrecg.data.sampling import Draw, add_tensor
from mrecg.errors import ConfigError, DataError, Interrupted, MrecgError
from mrecg.graph.intake import unwrap
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.metric import Metric
from mrecg.pipeline.result import Result, write_json
from mrecg.pipeline.resume import begin, finish
from mrecg.reconstruct import computing
from mrecg.reconstruct.events import Listener, Silent
from mrecg.runs.identity import completed, refuse_other
from mrecg.runs.layout import CHECKPOINT, ENVIRONMENT, IMAGES, PAGE, SUMMARY, WEIGHTS_ORIGIN
from mrecg.runs.lock import refuse_links, run_lock
from mrecg.runs.summary import RunSummary
from mrecg.system import machine
from mrecg.system.checked_read import json_object, read_regular
from mrecg.system.redaction import without_secrets
from mrecg.track.terminal import Display
from mrecg.track.trackers import Trackers, commands, tracked


def of_python(config: RunConfig) -> bool:
    """Return whether the network or the images of a run are given by a program."""
    return "python" in (config.model.source, config.data.source)


@dataclass(frozen=True, kw_only=True)
class Followers:
    """Whoever follows a run.

    Attributes:
        display: Shows progress; None: nothing does.
        callbacks: Listeners of the caller.
    """

    display: Display | None
    callbacks: Sequence[Listener] = ()


def refuse_callbacks(callbacks: Sequence[Any]) -> None:
    """Refuse what cannot listen, before any work.

    Raises:
        ConfigError: An object lacks a method of the protocol.
    """
    wanted = [name for name in vars(Silent) if not name.startswith("_")]
    if not isinstance(callbacks, Sequence):
        raise ConfigError(
            f"callbacks: {type(callbacks).__name__} is no list; give [{type(callbacks).__name__}]"
        )
    for each in callbacks:
        if isinstance(each, type):
            raise ConfigError(f"callbacks: {each.__name__} is a class; give an object of it")
        missing = [name for name in wanted if not callable(getattr(each, name, None))]
        if missing:
            raise ConfigError(
                f"callbacks: {type(each).__name__} has no {missing[0]}(); derive it from mrecg.Callback, and "
                "define what it needs"
            )


def refuse_place(config: RunConfig, folder: Path | None) -> None:
    """Refuse a run folder that is a file, and to log a run that has none.

    Raises:
        ConfigError: It is one; or W&B is asked for, and there is no place for its files.
    """
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"save_to: {folder} is a file; name a folder")
    if folder is None and config.logger.wandb != "disabled":
        raise ConfigError(
            f"logger.wandb: {config.logger.wandb} needs save_to, the run folder in which W&B keeps its files"
        )


def quantize_given(
    model: nn.Module, images: Images, config: RunConfig, folder: Path | None, followers: Followers
) -> Result:
    """Quantize a network that is at hand.

    Args:
        images: What it is tuned and measured on.
        folder: The run folder; None: nothing is written.
        followers: Whom to tell of the progress.

    Raises:
        MrecgError: Whatever a user can cause and mend.
        Interrupted: The run was ended from outside; it resumes from its folder.
    """
    # Learned methods need gradients, whatever mode the caller is in.
    with computing.computing_as(config), torch.inference_mode(mode=False), torch.enable_grad():
        if folder is None:
            trackers = Trackers(others=followers.callbacks)
            return pipeline.quantize(model, images, config, display=followers.display, trackers=trackers)
        return _in_folder(model, images, config, folder, followers)


def _in_folder(
    model: nn.Module, images: Images, config: RunConfig, folder: Path, followers: Followers
) -> Result:
    display = followers.display
    folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder)
    with run_lock(folder):
        about = {"origin": "python", "sha256": digest_of_weights(model)}
        refuse_other(config, folder)
        if config.resume != "never":
            refuse_other_inputs(folder, about["sha256"], images)
        own = begin(config, folder)
        device = computing.device_of(config)
        write_json(folder / ENVIRONMENT, machine.describe(device, config.trainer.devices))
        write_json(folder / WEIGHTS_ORIGIN, about)
        drawn = images.drawn.as_dict()
        write_json(folder / IMAGES, {"calibration": drawn, "evaluation": _evaluated(images)})
        with failures_told(config, folder), tracked(config, folder, followers.callbacks) as trackers:
            found = pipeline.quantize(model, images, config, display=display, trackers=trackers, own=own)
            result = replace(found, weights=about, folder=folder)
            pipeline.leave(result, folder, trackers)
        finish(folder)
    if display is not None:
        for line in (f"report: {folder / PAGE}", *commands(folder)):
            display.note(line)
    return result


@contextmanager
def failures_told(config: RunConfig, folder: Path) -> Iterator[None]:
    """Write in a run's folder how it failed, and say how an interrupted one is resumed."""
    try:
        yield
    except KeyboardInterrupt as error:  # not the end of the run
        given = ", model, calibration, ..." if of_python(config) else ""
        given += ", allow_import=True" * takes_consent(config)
        go_on = f"mrecg.resume({str(folder)!r}{given})"
        sys.stderr.write(f"mrecg: interrupted; continue with: {go_on}\n")
        raise Interrupted.by(error, go_on=go_on) from error
    except Exception as error:
        reason = str(error) if isinstance(error, MrecgError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            write_json(folder / SUMMARY, RunSummary.failed(config.name, without_secrets(reason)).as_dict())
        raise


def refuse_other_inputs(folder: Path, model_digest: str | None, images: Images | None) -> None:
    """Refuse another network or other images than those of the run in a folder, interrupted or finished.

    Args:
        folder: The run folder; it need not hold a run.
        model_digest: From `digest_of_weights`; None: no network was given.
        images: What was given; None: nothing was.

    Raises:
        DataError: They are not those that the run was started with.
    """
    finished = completed(folder)
    if not finished and not (folder / CHECKPOINT).is_dir():
        return
    run = f"the {'finished' if finished else 'interrupted'} run in {folder}"
    advice = "give those that it was started with, or choose another folder"
    advice += ", or replace the run by resume='never'" * finished
    before = _kept(folder / WEIGHTS_ORIGIN).get("sha256", model_digest)
    if model_digest not in (None, before):
        raise DataError(
            f"model: its weights (SHA-256 {str(model_digest)[:8]}) are not those of {run} "
            f"({str(before)[:8]}); {advice}"
        )
    if images is None:
        return
    known = _kept(folder / IMAGES)
    if not finished and known.get("evaluation") is not None and _evaluated(images) is None:
        raise DataError(f"evaluation: {run} was started with one; give it again")
    given: dict[str, Callable[[], Draw]] = {"calibration": lambda: images.drawn}
    if images.evaluation is not None:
        given["evaluation"] = images.evaluation.draw  # known of a finished run only
    for part, draw in given.items():
        then = known.get(part) or {}
        if "sha256" in then and (now := draw()).sha256 != then["sha256"]:
            raise DataError(
                f"{part}: the {now.images} images (SHA-256 {now.sha256[:8]}) are not those of {run} "
                f"({then.get('images')}, {str(then['sha256'])[:8]}); {advice}"
            )


def _kept(file: Path) -> dict[str, Any]:
    try:
        return dict(json_object(read_regular(file)))
    except (OSError, ValueError):
        return {}


def _evaluated(images: Images) -> dict[str, Any] | None:
    """What the run will be measured by; which images these are is known when it has been."""
    if images.metric is not None:
        return {"metric": Metric(images.metric).name}
    return None if images.evaluation is None else {"images": len(images.evaluation)}


def digest_of_weights(model: nn.Module) -> str:
    """Hash the weights of a network."""
    digest = hashlib.sha256()
    for name, value in unwrap(model)[0].state_dict().items():
        digest.update(name.encode())
        if hasattr(value, "detach"):
            plain = value.detach().cpu()
            add_tensor(digest, plain.float() if plain.is_floating_point() else plain)
        else:
            digest.update(json.dumps(value, default=repr).encode())
    return digest.hexdigest()
