"""Arguments of the commands: errors, folders and consent are handled in the same way for all."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mrecg.errors import ConfigError


class Words(argparse.ArgumentParser):
    """Reads the arguments of a command; a wrong one is a `ConfigError` that names it."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Args:
            message: argparse's complaint.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{self.prog.removeprefix('mrecg ')}: {message}; see {self.prog} --help")


CONSENT = ("--allow-import", "allow_import=true")
"""Both spellings, which every command takes."""


def plain_words(arguments: Sequence[str]) -> list[str]:
    """Write arguments as argparse takes them: ``run=DIR`` is DIR, ``allow_import=true`` a flag.

    >>> plain_words(["run=a", "-o", "b", "allow_import=true"])
    ['a', '-o', 'b', '--allow-import']
    """
    return [CONSENT[0] if word == CONSENT[1] else word.removeprefix("run=") for word in arguments]


def key_words(arguments: Sequence[str], *, folder: bool) -> list[str]:
    """Write arguments as Hydra's commands and ``export`` take them: ``--allow-import`` is a key.

    Args:
        folder: Whether a word without a key is a run folder or file: ``run=`` or ``path=``, quoted for Hydra.

    >>> key_words(["--allow-import", "bits=w4a4", "no/such"], folder=True)
    ['allow_import=true', 'bits=w4a4', "run='no/such'"]
    """
    words = [CONSENT[1] if word == CONSENT[0] else word for word in arguments]
    if not folder:
        return words
    from mrecg.config.grammar import hydra_quoted

    follows = [False, *(word in _WITH_VALUE for word in words)]
    return [
        word
        if after or word.startswith("-") or ("=" in word and not Path(word).exists()) or not word
        else f"{'path' if Path(word).is_file() else 'run'}={hydra_quoted(word)}"
        for word, after in zip(words, follows, strict=False)
    ]


_WITH_VALUE = ("-cd", "--config-dir", "-c", "--cfg", "-p", "--package", "-cn", "--config-name", "-cp")
"""Hydra's flags whose value is the next word."""
