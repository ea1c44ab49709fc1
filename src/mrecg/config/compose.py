"""Hydra's side: the schema as a config node, and the check of a command line before any work."""

import itertools
import os
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mrecg.config.build import plain, run_config
from mrecg.config.explain import explain, refuse_unreadable
from mrecg.config.methods import METHODS
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError
from mrecg.stored import DAMAGED

MAX_CHECKED = 500
"""Combinations of a sweep that are checked before the first one runs."""


def register() -> None:
    """Give Hydra the schema's keys and defaults, so that any of them can be overridden."""
    store = ConfigStore.instance()
    values = plain(RunConfig())
    del values["method"]
    root = OmegaConf.create(values)
    for group in root.values():
        for value in group.values() if isinstance(group, DictConfig) else ():
            if isinstance(value, DictConfig) and not value:
                OmegaConf.set_struct(value, False)  # arguments: the keys are the user's, not ours
    store.store(name="schema", node=root)
    for name, kind in METHODS.items():
        store.store(group="schema/method", name=name, node=plain(kind()))


@dataclass(frozen=True)
class Checked:
    """A command line that composes.

    Attributes:
        configs: The configuration of every run.
        multirun: Whether Hydra will sweep.
        folder: The sweep's folder; None for a single run.
        run: The run's folder; None for a sweep.
    """

    configs: tuple[RunConfig, ...]
    multirun: bool
    folder: Path | None
    run: Path | None


def check(arguments: Sequence[str]) -> Checked:
    """Compose and validate every run of a command line before any work.

    Args:
        arguments: What follows the verb: overrides and Hydra's own flags.

    Returns:
        The configurations.

    Raises:
        ConfigError: A key, a value or a choice is wrong; one line that says which.
    """
    register()
    parsed = parse(arguments)
    overrides = list(parsed.overrides)
    if parsed.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(parsed.config_dir).resolve()}]")
    GlobalHydra.instance().clear()
    with _as_config_error(overrides), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra's, with the path of its source; what matters is an error
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="mrecg"):
            return _check(overrides, multirun=parsed.multirun)


def parse(arguments: Sequence[str]) -> Namespace:
    """Read Hydra's flags.

    Args:
        arguments: What follows the verb.

    Returns:
        What Hydra's own parser makes of them.

    Raises:
        ConfigError: A flag is wrong, or would leave mrecg's own configuration.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # one line, like any other mistake
    parsed: Namespace = parser.parse_args(list(arguments))
    for flag in ("config_name", "config_path"):
        if getattr(parsed, flag) is not None:
            raise ConfigError(
                f"--{flag.replace('_', '-')}: {getattr(parsed, flag)} cannot replace mrecg's own configuration; "
                "for values of your own give --config-dir DIR and a file in it, for example "
                "DIR/experiment/mine.yaml as experiment=mine"
            )
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        raise ConfigError(f"--config-dir: {parsed.config_dir} is no folder; give one with groups of your own")
    return parsed


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; see mrecg VERB --help")


@contextmanager
def _as_config_error(overrides: Sequence[str]) -> Iterator[None]:
    """Turn whatever composing raises into a `ConfigError`: all of it comes from what was typed."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, OSError, *DAMAGED) as error:
        raise ConfigError(explain(error, overrides)) from error


def _check(overrides: list[str], *, multirun: bool) -> Checked:
    refuse_unreadable(overrides)
    fixed, axes = _axes(overrides)
    first = compose("config", [*fixed, *(axis[0] for axis in axes)], return_hydra_config=True)
    search = _searches(first)
    fixed, axes = _axes(overrides, search=search)
    mode = OmegaConf.select(first, "hydra.mode")
    multirun = multirun or (mode is not None and getattr(mode, "name", str(mode)) == "MULTIRUN")
    if axes and not multirun:
        raise ConfigError(f"{axes[0][0].split('=')[0]}: several values are given; add -m to sweep over them")
    own = sweep_params(first) if multirun else {}
    named = {override.split("=")[0].lstrip("+~") for override in overrides}
    _, extra = _axes([f"{key}={own[key]}" for key in own if key not in named], keep=True, search=search)
    configs = []
    for combination in itertools.islice(itertools.product(*axes, *extra), MAX_CHECKED):
        config = compose("config", [*fixed, *combination])
        configs.append(_from_hydra_of(config, [*fixed, *combination]))
    folder = Path(str(OmegaConf.select(first, "hydra.sweep.dir"))) if multirun else None
    run = None if multirun else Path(str(OmegaConf.select(first, "hydra.run.dir")))
    return Checked(tuple(configs), multirun, folder, run)


def saved_overrides(folder: Path) -> list[str]:
    """Read the overrides that made a run, as Hydra has kept them.

    Args:
        folder: The run folder.

    Returns:
        The overrides.

    Raises:
        ConfigError: They cannot be read.
    """
    file = folder / ".hydra" / "overrides.yaml"
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, yaml.YAMLError, OmegaConfBaseException, *DAMAGED) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"resume={folder}: is {folder} a run folder? ({reason})") from error
    if not isinstance(found, list):
        raise ConfigError(f"resume={folder}: {file} holds no overrides")
    return [str(word) for word in found]


def sweep_params(config: DictConfig) -> dict[str, str]:
    """Read the axes of a sweep file.

    Args:
        config: The composed tree with its hydra node.

    Returns:
        The values of each axis by key, as an override has them.

    Raises:
        ConfigError: An axis is a YAML list: Hydra would take it for one value.
    """
    params = OmegaConf.select(config, "hydra.sweeper.params")
    found: Any = {} if params is None else OmegaConf.to_container(params)
    for key, value in found.items():
        if isinstance(value, list | dict):
            several = ",".join(map(str, value))
            raise ConfigError(
                f"hydra.sweeper.params.{key}: a YAML list would be one value, not an axis; "
                f'write "{several}" (a list as a value goes into quotes, too)'
            )
    return {str(key): str(value) for key, value in found.items()}


def _searches(config: DictConfig) -> bool:
    return str(OmegaConf.select(config, "hydra.sweeper._target_")).endswith(".SearchSweeper")


def _axes(
    overrides: Sequence[str], *, keep: bool = False, search: bool | None = None
) -> tuple[list[str], list[list[str]]]:
    """Separate plain overrides from those that sweep, these as lists of plain ones.

    A search chooses between the ends of an interval or a range, so that the ends stand for all values.
    """
    fixed: list[str] = []
    axes: list[list[str]] = []
    loader = GlobalHydra.instance().config_loader()  # which knows what glob() can match
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        key, value = override.get_key_element(), override.value()
        if isinstance(value, IntervalSweep):
            if search is False:
                raise ConfigError(
                    f"{key}: an interval has no list of values; hydra/sweeper=search chooses from it"
                )
            axes.append([f"{key}={value.start}", f"{key}={value.end}"])
        elif override.is_sweep_override():
            values = list(override.sweep_string_iterator())
            if search and override.is_range_sweep() and len(values) > 2:
                values = [values[0], values[-1]]
            axes.append([f"{key}={value}" for value in values])
        elif keep:
            axes.append([override.input_line or ""])
        else:
            fixed.append(override.input_line or "")
    return fixed, axes


def _from_hydra_of(config: DictConfig, overrides: Sequence[str]) -> RunConfig:
    """Check a composed tree; where an experiment brought keys of another method, say so."""
    try:
        return from_hydra(config)
    except ConfigError as error:
        presets = [word for word in overrides if word.startswith("experiment=")]
        methods = [word for word in overrides if word.startswith(("method=", "method.name="))]
        if presets and methods and str(error).startswith("method.") and ": unknown key" in str(error):
            raise ConfigError(
                f"{error}; {presets[-1]} sets it for the method that it is made for: leave {methods[-1]} "
                "out, or leave the experiment out"
            ) from None
        raise


def from_hydra(config: DictConfig) -> RunConfig:
    """Turn Hydra's tree into the checked configuration.

    Args:
        config: The composed tree, without the hydra node.

    Returns:
        The configuration.

    Raises:
        ConfigError: A mandatory value is missing, or something is wrong with another.
    """
    missing = sorted(str(key) for key in OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{missing[0]}: needs a value, for example {missing[0]}=...")
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    # Groups that only overlay others leave nothing behind but, where none is chosen, no key at all.
    made = run_config(
        {str(key): value for key, value in values.items() if key not in ("experiment", "sweep")}
    )
    if made.trainer.batch_size > made.data.calibration_images:
        raise ConfigError(
            f"trainer.batch_size: {made.trainer.batch_size} is not right: a step takes each image once; give "
            f"at most data.calibration_images={made.data.calibration_images}"
        )
    return made


def run(job: Any, arguments: Sequence[str]) -> None:
    """Hand a command line over to Hydra.

    Args:
        job: The function of the verb, which takes Hydra's tree.
        arguments: Overrides and Hydra's own flags.

    Raises:
        Exception: Whatever the job raised.
    """
    import sys

    import hydra

    register()
    GlobalHydra.instance().clear()
    before = sys.argv
    parsed = parse(arguments)
    if parsed.hydra_help:
        arguments = ["--hydra-help"]  # beside which Hydra takes no overrides
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back here, where they are turned into one line
    sys.argv = ["mrecg", *arguments]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="hydra")  # with paths of its source
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, parsed.overrides)) from error
    finally:
        sys.argv = before
