"""``mrecg sweep resume``: the jobs of a sweep that are not done, from its folder."""

from pathlib import Path

from mrecg.cli.quantize import run, run_recorded
from mrecg.cli.resume import shell
from mrecg.config.consent import Consent
from mrecg.config.grammar import hydra_quoted
from mrecg.config.words import believed
from mrecg.errors import ConfigError
from mrecg.runs.manifest import read_command, read_jobs, read_launch


def resume_sweep(folder: Path, *, allow_import: bool, config_dir: Path | None) -> None:
    """Resume a sweep.

    Args:
        allow_import: Whether the user trusts what it names.
        config_dir: A folder of configurations that the user has named.

    Raises:
        MrecgError: It is not a sweep, or asks for what the user has not allowed.
    """
    consent = Consent(str(folder), allow_import, how="--allow-import")
    verb, words = read_command(folder)
    launch, jobs = read_launch(folder), read_jobs(folder)
    flags = ["-m", *(() if config_dir is None else ("-cd", str(config_dir)))]
    place = f"hydra.sweep.dir={hydra_quoted(folder)}"
    if launch.sweeper == "grid" and jobs and all(job.config is not None for job in jobs):
        typed = [word for word in words if word.lstrip("+~").startswith("hydra") and "sweeper" not in word]
        own = believed([*launch.launcher, *typed], consent)
        run_recorded([*flags, *own, place], folder, jobs, consent)
        return
    if launch.config_dir is not None and config_dir is None:
        if not consent.given:
            raise ConfigError(
                f"{folder}: was begun with the configurations in {launch.config_dir}; "
                f"if you trust them, add -cd {shell(launch.config_dir)}"
            )
        flags += ["-cd", launch.config_dir]
    run(verb, [*flags, *believed(words, consent), place], consent=consent)
