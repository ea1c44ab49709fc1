"""Compose the many jobs of a sweep: what they share is composed once.

Hydra reads every file of the defaults list again for each job, which takes most of its time. Jobs that choose
the same files differ in single values only, and these are put into one tree, as Hydra does it at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf

_MOST_TREES = 64
"""Trees that are kept: more than any axis of files has values, and little memory."""


@dataclass(frozen=True)
class _Word:
    text: str
    key: str
    value: Any
    simple: bool
    """Whether it sets one value, as far as the word alone can tell: it may also choose a file."""


class Combiner:
    """Composes overrides.

    Args:
        compose: What composes them without sharing; it knows all about them.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig]) -> None:
        self._compose = compose
        self._parser = OverridesParser.create()
        self._words: dict[str, _Word] = {}
        self._files: set[str] = set()
        self._trees: dict[tuple[object, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Compose the tree of a job.

        Args:
            overrides: What makes it.

        Returns:
            The tree; it is good until the next call.

        Raises:
            HydraException: What composing these overrides by themselves raises.
        """
        words = [self._word(text) for text in overrides]
        values = self._values(words)
        while values:
            tree = self._tree(words, values)
            if tree is None:
                break
            found = [word.key for word in values if not _is_value(tree, word.key)]
            if not found:
                for word in values:
                    OmegaConf.update(tree, word.key, word.value, merge=True)
                return tree
            self._files.update(found)
            values = self._values(words)
        return self._compose(list(overrides))

    def _word(self, text: str) -> _Word:
        if text not in self._words:
            parsed = self._parser.parse_override(text)
            value = parsed.value()
            plain = value is None or isinstance(value, bool | int | float | str)
            own = (
                parsed.type == OverrideType.CHANGE
                and parsed.package is None
                and not parsed.is_sweep_override()
            )
            key = parsed.key_or_group
            simple = own and plain and "/" not in key and "${" not in str(value)
            self._words[text] = _Word(text, key, value, simple and not key.startswith("hydra."))
        return self._words[text]

    def _values(self, words: Sequence[_Word]) -> list[_Word]:
        """Those that set one value, and that no other word which is no choice of a file touches."""
        others = [word.key for word in words if not word.simple]
        return [
            word
            for word in words
            if word.simple
            and word.key not in self._files
            and not any(f"{word.key}.".startswith(f"{key}.") for key in others)
        ]

    def _tree(self, words: Sequence[_Word], values: Sequence[_Word]) -> DictConfig | None:
        """The tree without some values; each of its users sets the same keys. None where there is none."""
        rest = [word.text for word in words if word not in values]
        key = (tuple(rest), tuple(word.key for word in values))
        if key not in self._trees:
            try:
                tree = self._compose(rest)
            except Exception:  # it does not stand without them; composed whole it does, or says why not
                return None
            if len(self._trees) >= _MOST_TREES:
                del self._trees[next(iter(self._trees))]
            self._trees[key] = tree
        return self._trees[key]


def _is_value(tree: DictConfig, key: str) -> bool:
    """Whether there is a value under a key that is no group of values."""
    place, _, last = key.rpartition(".")
    node = OmegaConf.select(tree, place) if place else tree
    if not isinstance(node, DictConfig) or last not in node.keys():  # noqa: SIM118  # ``in`` hides what is ???
        return False
    return OmegaConf.is_missing(node, last) or not OmegaConf.is_config(node[last])
