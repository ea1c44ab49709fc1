"""Consent: code that a run folder or a file names is imported only where the user has said so.

What a user types on a command line is consent. What stands in somebody's run folder is not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mrecg.config.build import imported
from mrecg.config.inputs import DataConfig, ModelConfig
from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError

OWN_MODELS = ("mrecg.models.cifar.", "mrecg.models.regnet.", "torchvision.models.", "timm.models.")
"""Where a model's definition may come from without consent."""
_PLAIN_HYDRA = re.compile(r"hydra(/(launcher|sweeper)|\.(launcher|sweeper|sweep)(\.\w+)+)=[\w.+-]*")
"""What overrides may ask of Hydra without consent: a preset, or a plain value of one."""


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
        if not self.given and (named := _names(model, data)):
            raise self._refusal(f"import and run {named}")

    def to_words(self, words: Sequence[str]) -> None:
        """Refuse recorded overrides by which Hydra itself would run something, unless that is allowed.

        Args:
            words: The overrides.

        Raises:
            ConfigError: There is one, for example of ``hydra.callbacks``, or a shell command of a launcher.
        """
        for word in words if not self.given else ():
            key = word.lstrip("+~")
            if key.startswith("hydra") and (not _PLAIN_HYDRA.fullmatch(key) or "_target_" in key):
                raise self._refusal(f"let Hydra do {word}")

    def to_reading(self, what: str) -> None:
        """Refuse a file whose reader runs what stands in it, unless that is allowed.

        Args:
            what: What would run.

        Raises:
            ConfigError: It is not allowed.
        """
        if not self.given:
            raise self._refusal(f"run {what}")

    def _refusal(self, what: str) -> ConfigError:
        return ConfigError(f"{self.where}: would {what}; if you trust that, add {self.how}")


def names_code(config: RunConfig) -> bool:
    """Whether going on with a run from its folder takes consent."""
    return _names(config.model, config.data) is not None


def _names(model: ModelConfig | None, data: DataConfig | None) -> str | None:
    """The first override that names code to import."""
    if model is not None and model.target is not None and not _own(model.target):
        return f"model.target={model.target}"
    for part in ("calibration_dataset", "evaluation_dataset"):
        if data is not None and (path := getattr(data, part)) is not None:
            return f"data.{part}={path}"
    return None


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
