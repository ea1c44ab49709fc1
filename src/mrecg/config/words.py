"""Words of a command line that a sweep's folder has recorded: which of them are taken from there."""

import re
from collections.abc import Sequence
from dataclasses import fields

from mrecg.config.consent import Consent
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError

HYDRA = re.compile(r"hydra(/(launcher|sweeper)|\.(launcher|sweeper|sweep)(\.[A-Za-z]\w*)+)=[\w.+-]*")
"""What recorded words may ask of Hydra without consent: a preset, or a plain value of one."""
ELSEWHERE = re.compile(r"\.(\w*(address|folder|dir|python|path)\w*|init)\b")
"""Values of a launcher that name a place or a program."""
_KEY = re.compile(r"[A-Za-z]\w*(\.[\w-]+)*")
_CHOICE = re.compile(r"(?!.*\.\.)[\w.,+ ()\[\]-]*")
"""Names of files of a group, without a way out of its folder."""
_PLAIN = re.compile(r"\$\{(?!hydra)\w+(\.\w+)*\}")
"""An interpolation that only looks at another value of the configuration."""
_NAMES = {field.name for field in fields(RunConfig)} | {"experiment", "sweep"}
_NOT_RECORDED = ("resume", "run", "path")
"""Keys by which one folder would name another."""


def believed(words: Sequence[str], consent: Consent) -> list[str]:
    """Look through recorded words for what asks for more than a configuration.

    Args:
        words: The words, as a folder has them.
        consent: Whether the user trusts the folder.

    Returns:
        The words without ``allow_import``, which only a user can give.

    Raises:
        ConfigError: A word is a flag, or names another folder; or without consent: it has Hydra run
            something, reads the environment, or is nothing that the package's own configuration knows.
    """
    kept = [word for word in words if _key(word).partition(".")[0] != "allow_import"]
    for word in kept:
        if word.lstrip().startswith("-"):
            raise ConfigError(f"{consent.where}: holds the flag {word}; flags are taken from you only")
        if _key(word) in _NOT_RECORDED and word not in ("resume=auto", "resume=never"):
            raise ConfigError(f"{consent.where}: holds {word}, which names another folder")
        if not consent.given and (what := _asks(word)):
            raise consent.refusal(f"{what} {word}")
    return kept


def recordable(word: str) -> bool:
    """Whether a word for Hydra is believed when it is found in a folder."""
    return not _asks(word)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0].strip()


def _asks(word: str) -> str:
    """What a word would have done beyond setting a value; empty: nothing."""
    key, value = _key(word), word.partition("=")[2]
    bare = re.sub(r"[\\'\"\s]", "", word)  # Hydra takes escapes and quotes away
    if bare.count("${") != len(_PLAIN.findall(bare)):
        return "resolve"
    if key.startswith("hydra"):
        plain = HYDRA.fullmatch(word.lstrip("+~")) and not ELSEWHERE.search(key)
        return "" if plain and "_target_" not in key else "let Hydra do"
    if not _KEY.fullmatch(key) or key.partition(".")[0] not in _NAMES:
        return "take"
    group = (CONF / key).is_dir()
    return "" if not group or _CHOICE.fullmatch(value) else "take"
