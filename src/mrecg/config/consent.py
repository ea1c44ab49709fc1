"""Consent: what a run folder or a file asks for beyond computing is done only where the user has said so.

What a user types on a command line is consent. What stands in a run folder from elsewhere is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mrecg.config.inputs import DataConfig, ModelConfig
from mrecg.config.schema import RunConfig
from mrecg.config.validate import imported
from mrecg.errors import ConfigError

OWN_MODELS = ("mrecg.models.cifar.", "mrecg.models.regnet.", "torchvision.models.", "timm.models.")
"""Where a model's definition may come from without consent."""
_READING = ("pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "model_name")
"""Arguments of these definitions that name files or addresses of their own."""
_NO_ADDRESS = ("pkg", "file")
"""Schemes of a checkpoint that stay on this machine."""


@dataclass(frozen=True)
class Consent:
    """Whether what a folder or a file names may run.

    Attributes:
        where: The folder or file, for messages.
        given: Whether the user has said so.
        how: What the user would add to say so.
    """

    where: str
    given: bool
    how: str = "allow_import=true"

    def to(self, model: ModelConfig | None, data: DataConfig | None) -> None:
        """Refuse configurations that name code to import, unless that is allowed.

        Args:
            model: The model; None: it is not going to be built.
            data: The data; None: they are not going to be read.

        Raises:
            ConfigError: There is such code.
        """
        for named in () if self.given else _names(model, data):
            raise self.refusal(f"import and run {named}")

    def to_run(self, config: RunConfig, recorded: RunConfig | None = None) -> None:
        """Refuse to compute what another person has configured, where that takes more than computing.

        Args:
            config: What is going to be run.
            recorded: What the folder says of it; None: the same. What differs there was typed.

        Raises:
            ConfigError: It imports code, or connects to a network.
        """
        known = set(asked(config if recorded is None else recorded))
        for what in () if self.given else asked(config):
            if what in known:
                raise self.refusal(what)

    def to_reading(self, what: str) -> None:
        """Refuse a file whose reader runs what stands in it, unless that is allowed.

        Args:
            what: What would run.

        Raises:
            ConfigError: It is not allowed.
        """
        if not self.given:
            raise self.refusal(f"run {what}")

    def refusal(self, what: str) -> ConfigError:
        """Say what is not done.

        Args:
            what: What would be done.

        Returns:
            The error, which says how to consent.
        """
        return ConfigError(f"{self.where}: would {what}; if you trust that, add {self.how}")


def asked(config: RunConfig) -> Iterator[str]:
    """List what takes consent to run a configuration that was not typed.

    Yields:
        What it would do, for example ``import and run model.target=mine.Net``.
    """
    for named in _names(config.model, config.data):
        yield f"import and run {named}"
    scheme, mark, _ = (config.model.checkpoint or "").partition("://")
    if mark and scheme not in _NO_ADDRESS:
        yield f"connect to model.checkpoint={config.model.checkpoint}"
    if config.logger.wandb == "online":
        yield f"send its curves to W&B (logger.wandb=online, logger.entity={config.logger.entity})"


def takes_consent(config: RunConfig) -> bool:
    """Whether going on with a run from its folder takes consent."""
    return any(asked(config))


def import_paths(model: ModelConfig | None, data: DataConfig | None) -> dict[str, str]:
    """List the keys that name code by its import path, where that is not a definition of a known package.

    Args:
        model: The model; None: it is not going to be built.
        data: The data; None: they are not going to be read.
    """
    found = {}
    if model is not None and model.target is not None and not model.target.startswith(OWN_MODELS):
        found["model.target"] = model.target
    for part in ("calibration_dataset", "evaluation_dataset"):
        if data is not None and (path := getattr(data, part)) is not None:
            found[f"data.{part}"] = path
    return found


def _names(model: ModelConfig | None, data: DataConfig | None) -> Iterator[str]:
    """The overrides that name code to import, or that make a known definition read something."""
    yield from (f"{key}={path}" for key, path in import_paths(model, data).items())
    if model is None:
        return
    if model.target is not None and model.target.startswith(OWN_MODELS) and not _own(model.target):
        yield f"model.target={model.target}"
    for key in model.arguments if model.source != "embedded" else ():
        if key in _READING:
            yield f"model.arguments.{key}={model.arguments[key]}"


def _own(target: str) -> bool:
    """Whether a target is a definition of these packages: a class or constructor of a network."""
    home = next((prefix for prefix in OWN_MODELS if target.startswith(prefix)), None)
    if home is None:
        return False
    found = imported(target)
    if not f"{getattr(found, '__module__', '')}.".startswith(home):
        return False  # what a definition's file has imported
    if home.startswith("mrecg."):
        return True
    names = imported("torchvision.models.list_models" if home.startswith("torch") else "timm.list_models")()
    bases = found.__mro__ if isinstance(found, type) else ()  # by name, because nothing here imports torch
    return any(base.__module__ == "torch.nn.modules.module" for base in bases) or found.__name__ in names
