"""Hydra's side: the schema as a config node, and the check of a command line before any work."""

import itertools
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from mrecg.config.axes import axes_of, control_configs, searches, sweep_params
from mrecg.config.combine import Combiner
from mrecg.config.explain import explain, refuse_unreadable
from mrecg.config.grammar import hydra_quoted, in_order, literal, parsed
from mrecg.config.paths import CONF, brought
from mrecg.config.resolvers import register_resolvers
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain, require_batch, run_config
from mrecg.errors import ConfigError
from mrecg.methods.registry import METHODS
from mrecg.system.atomic_write import write_durably
from mrecg.system.checked_read import DAMAGED
from mrecg.system.redaction import without_secrets

MAX_CORNERS = 500
"""Corners of a search's space that are checked; of a grid, every job is."""
RECORDED = "recorded"
"""Hydra's name for the configuration of a run folder, where words are laid over that."""
register_resolvers()


def register(recorded: Mapping[str, Any] | None = None) -> None:
    """Give Hydra the schema's keys and defaults, so that any of them can be overridden.

    Args:
        recorded: The resolved configuration of a run, over which words are laid; nothing in it is resolved.
    """
    store = ConfigStore.instance()
    values = plain(RunConfig())
    del values["method"]
    store.store(name="schema", node=_open(values))
    if recorded is not None:
        store.store(name=RECORDED, node=_root_of(recorded))
    others = METHODS.others()
    for name in METHODS:
        if name not in others:
            store.store(group="schema/method", name=name, node=plain(METHODS.get(name).settings()))
    for group, node in brought():
        store.store(group=group, name=node["name"], node=node)


def _open(values: Mapping[str, Any]) -> DictConfig:
    root = OmegaConf.create(dict(values))
    for group in root.values():
        for value in group.values() if isinstance(group, DictConfig) else ():
            if isinstance(value, DictConfig) and not value:
                OmegaConf.set_struct(value, False)  # arguments: the keys are the user's, not ours
    return root


def _root_of(recorded: Mapping[str, Any]) -> DictConfig:
    """A root like config.yaml's whose values are those of a run; a group that is chosen is laid over them."""
    own: Any = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    groups = [part for part in own["defaults"] if isinstance(part, dict)]
    over = [part for part in groups if next(iter(part)).startswith("override ")]
    free = [dict.fromkeys(part) for part in groups if part not in over]
    values: Any = _literal(recorded)
    return _open({**values, "hydra": own["hydra"], "defaults": ["_self_", *free, *over]})


def _literal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(inner) for inner in value]
    return literal(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Checked:
    """A command line that composes.

    Attributes:
        multirun: Whether Hydra will sweep.
        folder: The sweep's folder; None for a single run.
        run: The run's folder; None for a sweep.
        tree: What Hydra has composed for a single run; None for a sweep.
    """

    configs: tuple[RunConfig, ...]
    multirun: bool
    folder: Path | None
    run: Path | None
    tree: DictConfig | None = None


def check(
    arguments: Sequence[str],
    recorded: Mapping[str, Any] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Compose and validate every run of a command line before any work.

    Args:
        arguments: What follows the verb: overrides and Hydra's own flags.
        recorded: The resolved configuration of a run, over which they are laid; None: they stand alone.
        progress: Called for each job of a sweep that is checked, with their number, and that of all.

    Returns:
        The configurations.

    Raises:
        ConfigError: A key, a value or a choice is wrong; one line that says which.
    """
    words = parsed(in_order(arguments))
    overrides = list(words.overrides)
    if recorded is not None and any(word.startswith("method=") for word in overrides):
        recorded = {key: value for key, value in recorded.items() if key != "method"}  # it has other keys
    register(recorded)
    name = "config" if recorded is None else RECORDED
    if words.config_dir:
        place = hydra_quoted(f"file://{Path(words.config_dir).resolve()}")
        overrides.append(f"hydra.searchpath=[{place}]")
    with _as_config_error(overrides), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra's, with the path of its source; what matters is an error
        with _hydra():
            return _check(overrides, multirun=words.multirun, name=name, progress=progress)


@contextmanager
def _as_config_error(overrides: Sequence[str]) -> Iterator[None]:
    """Turn whatever composing raises into a `ConfigError`: all of it comes from what was typed."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, OSError, *DAMAGED) as error:
        raise ConfigError(explain(error, overrides)) from error


def _check(
    overrides: list[str], *, multirun: bool, name: str, progress: Callable[[int, int], None] | None
) -> Checked:
    refuse_unreadable(overrides)
    fixed, axes = axes_of(overrides)
    first = compose(name, [*fixed, *(axis[0] for axis in axes)], return_hydra_config=True)
    search = searches(first)
    fixed, axes = axes_of(overrides, search=search)
    mode = OmegaConf.select(first, "hydra.mode")
    multirun = multirun or (mode is not None and getattr(mode, "name", str(mode)) == "MULTIRUN")
    if axes and not multirun:
        raise ConfigError(f"{axes[0][0].split('=')[0]}: several values are given; add -m to sweep over them")
    own = sweep_params(first) if multirun else {}
    named = {override.split("=")[0].lstrip("+~") for override in overrides}
    _, extra = axes_of([f"{key}={own[key]}" for key in own if key not in named], keep=True, search=search)
    total = math.prod(len(axis) for axis in (*axes, *extra))
    # A single run is composed already; composing takes a quarter of a second.
    one = OmegaConf.masked_copy(first, [str(key) for key in first if key != "hydra"])
    combined: Callable[[Sequence[str]], DictConfig] = lambda _: one  # noqa: E731
    if axes or extra:
        combined = Combiner(lambda words: compose(name, words))
    configs = []
    for combination in itertools.islice(itertools.product(*axes, *extra), MAX_CORNERS if search else None):
        configs.append(_from_hydra_of(combined([*fixed, *combination]), [*fixed, *combination]))
        if progress is not None and total > 1:
            progress(len(configs), total)
    if multirun:
        configs += control_configs(first, configs)
        folder = Path(str(OmegaConf.select(first, "hydra.sweep.dir")))
        return Checked(tuple(configs), multirun, folder, None)
    return Checked(tuple(configs), multirun, None, Path(str(OmegaConf.select(first, "hydra.run.dir"))), first)


def mask_written(folder: Path) -> None:
    """Mask the secrets in what Hydra has written of a run: a user's own YAML files may hold some.

    Args:
        folder: Hydra's output folder.
    """
    for file in (*(folder / ".hydra").glob("*.yaml"), folder.parent / "multirun.yaml"):
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            if (masked := without_secrets(text)) != text:
                write_durably(file, masked.encode(errors="surrogateescape"))


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

    Raises:
        ConfigError: A mandatory value is missing, or something is wrong with another.
    """
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    if missing := sorted(_missing(values)):
        raise ConfigError(f"{missing[0]}: needs a value, for example {missing[0]}=...")
    # Groups that only overlay others leave nothing but, where none is chosen, no key at all.
    made = run_config(
        {str(key): value for key, value in values.items() if key not in ("experiment", "sweep")}
    )
    if made.data.calibration_images != "all":
        require_batch(made, made.data.calibration_images)
    return made


def _missing(values: Mapping[Any, Any]) -> Iterator[str]:
    """Mandatory keys without a value: `OmegaConf.missing_keys`, in a fraction of its time."""
    for key, value in values.items():
        if value == "???":
            yield str(key)
        elif isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in _missing(value))


def run_composed(job: Any, tree: DictConfig, folder: Path) -> None:
    """Hand a single run over to Hydra as it was checked: `run` would compose it twice more, in half a second.

    Args:
        job: The function of the verb, which takes Hydra's tree.
        tree: What `check` has composed.

    Raises:
        Exception: Whatever the job raised.
    """
    with read_write(tree):
        tree.hydra.run.dir = literal(str(folder))
    try:
        with _hydra() as hydra, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="hydra")  # with paths of its source
            hydra.config_loader.load_configuration = lambda **_: tree
            hydra.run(config_name="config", task_function=job, overrides=[])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, tree.hydra.overrides.task)) from error


@contextmanager
def _hydra() -> Iterator[Any]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="mrecg"):
        yield GlobalHydra.instance().hydra


def run(job: Any, arguments: Sequence[str], recorded: Mapping[str, Any] | None = None) -> None:
    """Hand a command line over to Hydra.

    Args:
        job: The function of the verb, which takes Hydra's tree.
        arguments: Overrides and Hydra's own flags.
        recorded: The resolved configuration of a run, over which they are laid; None: they stand alone.

    Raises:
        Exception: Whatever the job raised.
    """
    import sys

    import hydra

    register(recorded)
    GlobalHydra.instance().clear()
    before = sys.argv
    flags = parsed(arguments)
    if flags.hydra_help:
        arguments = ["--hydra-help"]  # beside which Hydra takes no overrides
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back here, where they are turned into one line
    sys.argv = ["mrecg", *in_order(arguments)]
    name = "config" if recorded is None else RECORDED
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="hydra")  # with paths of its source
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, flags.overrides)) from error
    finally:
        sys.argv = before
