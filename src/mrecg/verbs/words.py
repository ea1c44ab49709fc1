"""Words after the verbs that are not Hydra's: argparse's parser, whose complaint is one line like any other."""

import argparse
from typing import NoReturn

from mrecg.errors import ConfigError


class Words(argparse.ArgumentParser):
    """Reads the words of a verb; a wrong one is a `ConfigError` that names it."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Args:
            message: argparse's complaint.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{self.prog.removeprefix('mrecg ')}: {message}; see {self.prog} --help")
