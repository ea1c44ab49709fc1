"""An interrupted run folder: what is kept there, and when a run resumes from it.

Finished stages and groups lie on the run's own store until the run is complete. Each is found by the hash of
all that decides it, so what is taken up again is what would have been computed.
"""

import shutil
from pathlib import Path

from mrecg import report
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.pipeline.result import write_yaml
from mrecg.runs.identity import refuse_other
from mrecg.runs.layout import CHECKPOINT, CONFIG, DECISIONS, EXPORTED, EXPORTS, PAGE, SUMMARY
from mrecg.system.atomic_write import sweep_up
from mrecg.system.content_store import ContentStore


def begin(config: RunConfig, folder: Path) -> ContentStore:
    """Make a run folder, or take up one of the same run.

    Returns:
        The run's own store.

    Raises:
        ConfigError: The folder is that of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep_up(folder)
    refuse_other(config, folder)
    kept = folder / CHECKPOINT
    if config.resume == "never":
        shutil.rmtree(kept, ignore_errors=True)
        for name in (*EXPORTED.values(), EXPORTS):  # of the network that is replaced
            (folder / name).unlink(missing_ok=True)
    for name in (SUMMARY, DECISIONS):  # of a run before, or of an attempt that failed
        (folder / name).unlink(missing_ok=True)
    write_yaml(folder / CONFIG, plain(config))
    return ContentStore(kept)


def finish(folder: Path, *, light: bool = False) -> None:
    """Leave a complete run folder, once its summary is written: the page, and nothing kept for going on.

    Args:
        light: Whether the page is a small one.
    """
    with report.only_a_warning(folder):
        report.write_report([folder], folder / PAGE, light=light)
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    sweep_up(folder)
