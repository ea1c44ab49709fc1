"""Functions of the commands on a composed configuration; Hydra calls them once per run."""

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.text import Text

from mrecg.cli.quick_start import started
from mrecg.config.hydra_compose import from_hydra, mask_written
from mrecg.config.schema import RunConfig
from mrecg.errors import Interrupted, MrecgError
from mrecg.system.redaction import without_secrets
from mrecg.track.terminal import Screen, results_console

log = logging.getLogger(__name__)


def _imported(config: RunConfig) -> None:
    """End the start: what is large and used later is imported before garbage is collected again."""
    if config.model.source in ("torchvision", "timm"):
        import_module("torchvision")
    started()


def _sweeps() -> bool:
    mode = HydraConfig.get().mode
    return mode is not None and mode.name == "MULTIRUN"


def _folder() -> Path:
    """The folder that Hydra has made for this job."""
    from mrecg.cli.resume import STAND_IN

    folder = Path(HydraConfig.get().runtime.output_dir)
    return folder.resolve() if any(part.startswith(STAND_IN) for part in folder.parts) else folder


def _title(folder: Path) -> str:
    return f"run {folder.name.split('-')[0]}" if _sweeps() else "run"


def quantize(tree: DictConfig, choose: Callable[[RunConfig, Path], RunConfig]) -> None:
    """Quantize, and leave a complete run folder with its report.

    Args:
        choose: Takes it and the run's folder; gives what is run instead.
    """
    from mrecg.runs.identity import identity_of, refuse_other
    from mrecg.runs.lock import run_lock
    from mrecg.sweep.job_state import finished

    folder = _folder()
    mask_written(folder)
    config = choose(from_hydra(tree), folder)
    # A run on its own was locked before Hydra wrote anything there.
    with run_lock(folder) if _sweeps() else nullcontext():
        if _sweeps() and finished(folder, identity_of(config)):
            _finish(config, folder)
        else:
            refuse_other(config, folder)  # before anything is written there that says how this run ended
            _quantize(config, folder)


def _finish(config: RunConfig, folder: Path) -> None:
    """Complete the folder of a job that has its result: an engine has started it twice, or it was killed."""
    from mrecg.pipeline.resume import finish
    from mrecg.sweep.job_state import unfinished

    if unfinished(folder):
        finish(folder, light=True)
    log.info("%s is already done", config.name)


def _quantize(config: RunConfig, folder: Path) -> None:
    from mrecg.cli.shortage import Whereabouts, shortage
    from mrecg.pipeline import run as pipeline
    from mrecg.pipeline.result import write_json
    from mrecg.reconstruct.computing import computing_as
    from mrecg.report import load_run, only_a_warning, terminal_table
    from mrecg.runs.layout import LOG, PAGE, SUMMARY
    from mrecg.runs.summary import RunSummary
    from mrecg.track.trackers import commands

    _imported(config)
    display = Screen(f"{_title(folder)}: {config.name}")
    during = Whereabouts(display)
    log.info("%s begins in %s", config.name, folder)
    try:
        with computing_as(config):
            result = pipeline.run(config, folder, display=during, light=_sweeps())
    except KeyboardInterrupt as error:  # not the end of the run: it can be resumed
        log.info("interrupted")
        if not _sweeps():
            raise Interrupted.by(error, go_on=f"mrecg quantize {_go_on(config, folder)}") from error
        raise
    except Exception as raised:
        found = shortage(raised, config, folder, during, go_on=_go_on(config, folder))
        ended = raised if found is None else found
        expected = isinstance(ended, MrecgError)
        reason = without_secrets(str(ended) if expected else f"{type(ended).__name__}: {ended}")
        if expected:
            log.info("failed: %s", reason)  # its one line reaches the screen by itself
        else:
            log.info("failed", exc_info=True)  # in run.log alone: the screen gets a line, see mrecg.cli.main
        if _sweeps():  # the sweep continues; its table comes much later
            where = "" if expected else f" (see {_short(folder / LOG)})"
            sys.stderr.write(f"mrecg: {_title(folder)} failed: {' '.join(reason.split())}{where}\n")
        with suppress(OSError):  # on a full disk it is the error on the screen that counts
            write_json(folder / SUMMARY, RunSummary.failed(config.name, reason).as_dict())
        if found is not None:
            raise found from raised
        raise
    if result.plan.note:
        display.console.print(f"  plan: {result.plan.note}", highlight=False, soft_wrap=True)
    summary = RunSummary.model_validate(result.summary)
    for note in summary.notes or ():
        log.info("%s", note)
    log.info(
        "quantized %s, oscillation %s, seconds %s",
        summary.quantized and asdict(summary.quantized),
        summary.oscillation and asdict(summary.oscillation),
        dict(summary.timing_s),
    )
    if not _sweeps():
        console = results_console()
        with only_a_warning(folder):
            console.print(terminal_table([load_run(folder)]))
        left = [f"report: {_short(folder / PAGE)}"] * (folder / PAGE).exists() + commands(_short(folder))
        for line in left:
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def plan(tree: DictConfig) -> None:
    """Print the plan, and leave plan.json and a picture in two formats."""
    from mrecg.cli.plan_table import bits_table, plan_tables
    from mrecg.cli.plan_view import PlanReasons, PlanView
    from mrecg.pipeline import run as pipeline
    from mrecg.pipeline.result import write_json
    from mrecg.reconstruct.computing import computing_as
    from mrecg.runs.layout import PLAN, PLAN_PICTURES

    folder = _folder()
    mask_written(folder)
    config = from_hydra(tree)
    _imported(config)
    with computing_as(config):
        made, cost = pipeline.plan_only(config, display=Screen(""))
    write_json(folder / PLAN, made.as_dict())
    console = results_console()
    console.print(PlanView(made, title=config.name), highlight=False)
    if made.criteria:
        console.print(Text.assemble("\n", ("All criteria", "bold"), ": capacity, and Δ to the next unit\n"))
    for table in plan_tables(made, width=console.width):
        console.print(table)
        console.print()
    if made.layer_bits:
        console.print(Text.assemble(("Bits", "bold"), " of each layer's weights, and of what it reads\n"))
        console.print(bits_table(made))
        console.print()
    for note in filter(None, (made.note, *made.graph_notes)):
        console.print(f"{note}\n", highlight=False, markup=False)
    console.print(PlanReasons(made, config.planner), highlight=False)
    left = [f"{cost}", f"plan: {_short(folder / PLAN)}"]
    if not config.pictures:
        left[-1] += " (drawn with pictures=true)"
    else:
        from mrecg.report import plan_figure  # not before: matplotlib is large

        drawn = [plan_figure(made, folder / name) for name in PLAN_PICTURES]
        left += [f"picture: {_short(path)}" for path in drawn]
    console.print("\n".join(left), soft_wrap=True, highlight=False)


def sensitivity(tree: DictConfig) -> None:
    """Print what quantizing each unit and layer alone does, and leave it as files and a picture."""
    from mrecg.cli.sensitivity_view import SensitivityView
    from mrecg.pipeline import sensitivity as stage
    from mrecg.reconstruct.computing import computing_as
    from mrecg.report import sensitivity_figure
    from mrecg.runs.layout import SENSITIVITY, SENSITIVITY_PICTURES, SENSITIVITY_TABLE
    from mrecg.track.trackers import commands, log_sensitivity

    folder = _folder()
    mask_written(folder)
    config = from_hydra(tree)
    with computing_as(config):
        found = stage.run(config, display=Screen(""))
    found.write(folder)
    pictures = [sensitivity_figure(found, folder / name) for name in SENSITIVITY_PICTURES]
    log_sensitivity(config, folder, found)
    console = results_console()
    console.print(SensitivityView(found), highlight=False)
    left = [f"sensitivities: {_short(folder / name)}" for name in (SENSITIVITY, SENSITIVITY_TABLE)]
    left += [f"picture: {_short(path)}" for path in pictures]
    left += commands(_short(folder), runs=False)
    console.print("\n".join(left), soft_wrap=True, highlight=False, markup=False)


def evaluate(tree: DictConfig) -> None:
    """Print the accuracy of the FP model or of a saved run."""
    from mrecg.pipeline import evaluate
    from mrecg.pipeline.result import write_json
    from mrecg.reconstruct.computing import computing_as
    from mrecg.report.tables import percent
    from mrecg.runs.layout import EVALUATION

    mask_written(Path(HydraConfig.get().runtime.output_dir))
    config = from_hydra(tree)
    _imported(config)
    with computing_as(config):
        what, found = evaluate.evaluate(config, display=Screen(""))
    line = f"{what}: top-1 {percent(found.top1)}, top-5 {percent(found.top5)} on {found.images} images"
    results_console().print(line, highlight=False, soft_wrap=True, markup=False)
    values = {"what": what, "top1": found.top1, "top5": found.top5, "images": found.images}
    write_json(_folder() / EVALUATION, values)


def _go_on(config: RunConfig, folder: Path) -> str:
    """The arguments that resume an interrupted run."""
    from mrecg.cli.resume import shell
    from mrecg.config.consent import takes_consent

    return shell(_short(folder), "resume=") + " allow_import=true" * takes_consent(config)


def _short(path: Path) -> Path:
    """The path from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
