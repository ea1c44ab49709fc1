"""What the verbs do with a composed configuration; Hydra calls these, one call a run."""

import json
import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mrecg.config.compose import from_hydra
from mrecg.errors import MrecgError
from mrecg.progress import Screen, results_console

log = logging.getLogger(__name__)


def _sweeps() -> bool:
    mode = HydraConfig.get().mode
    return mode is not None and mode.name == "MULTIRUN"


def _title() -> str:
    return f"run {HydraConfig.get().job.num}" if _sweeps() else "run"


def quantize(tree: DictConfig) -> None:
    """Quantize, and leave a complete run folder with its report.

    Args:
        tree: Hydra's composed configuration.
    """
    from mrecg import pipeline
    from mrecg.environment import computing
    from mrecg.report import load_run, terminal_table

    config = from_hydra(tree)
    folder = Path(HydraConfig.get().runtime.output_dir)
    display = Screen(f"{_title()}: {config.name}")
    log.info("%s begins in %s", config.name, folder)
    try:
        with computing(threads=config.trainer.threads, kernels=config.trainer.kernels):
            result = pipeline.run(config, folder, display=display)
    except BaseException as error:
        expected = isinstance(error, MrecgError | KeyboardInterrupt)
        reason = str(error) or "interrupted" if expected else f"{type(error).__name__}: {error}"
        if expected:
            log.info("failed: %s", reason)  # its one line reaches the screen by itself
        else:
            log.exception("failed")
        failed = {"schema_version": 1, "run_name": config.name, "status": "failed", "error": reason}
        (folder / "summary.json").write_text(json.dumps(failed, indent=2) + "\n")
        raise
    if result.plan.note:
        display.console.print(f"  plan: {result.plan.note}", highlight=False, soft_wrap=True)
    summary = result.summary
    log.info(
        "quantized %s, oscillation %s, seconds %s",
        summary["quantized"],
        summary["oscillation"],
        summary["timing_s"],
    )
    if not _sweeps():
        console = results_console()
        console.print(terminal_table([load_run(folder)]))
        console.print(f"report: {_short(folder / 'report.html')}", soft_wrap=True, highlight=False)


def plan(tree: DictConfig) -> None:
    """Print the plan, and leave plan.json and a picture in two formats.

    Args:
        tree: Hydra's composed configuration.
    """
    from mrecg import pipeline
    from mrecg.environment import computing
    from mrecg.report import plan_figure
    from mrecg.result import write_json
    from mrecg.verbs.plan_table import plan_tables
    from mrecg.verbs.plan_view import PlanView

    config = from_hydra(tree)
    folder = Path(HydraConfig.get().runtime.output_dir)
    with computing(threads=config.trainer.threads, kernels=config.trainer.kernels):
        made = pipeline.plan_only(config, display=Screen(""))
    write_json(folder / "plan.json", made.as_dict())
    pictures = [plan_figure(made, folder / f"plan.{ending}") for ending in ("png", "svg")]
    console = results_console()
    console.print(PlanView(made, title=config.name), highlight=False)
    if made.criteria:
        console.print("\n[bold]All criteria[/bold]: capacity, and Δ to the next unit\n", highlight=False)
    for table in plan_tables(made, width=console.width):
        console.print(table)
        console.print()
    for note in (made.note, *made.graph_notes):
        if note:
            console.print(note, highlight=False, markup=False)
    left = [f"plan: {_short(folder / 'plan.json')}", *(f"picture: {_short(path)}" for path in pictures)]
    console.print("\n".join(left), soft_wrap=True, highlight=False)


def evaluate(tree: DictConfig) -> None:
    """Print the accuracy of the FP model or of a saved run.

    Args:
        tree: Hydra's composed configuration.
    """
    from mrecg import pipeline
    from mrecg.environment import computing
    from mrecg.result import write_json

    config = from_hydra(tree)
    with computing(threads=config.trainer.threads, kernels=config.trainer.kernels):
        what, found = pipeline.evaluate(config, display=Screen(""))
    line = f"{what}: top-1 {found.top1:.4f}, top-5 {found.top5:.4f} on {found.images} images"
    results_console().print(line, highlight=False, soft_wrap=True)
    values = {"what": what, "top1": found.top1, "top5": found.top5, "images": found.images}
    write_json(Path(HydraConfig.get().runtime.output_dir) / "evaluation.json", values)


def _short(path: Path) -> Path:
    """The path from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
