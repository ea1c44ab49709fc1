"""What Hydra and OmegaConf say in several lines about a command line, in one that says what to write."""

import re
from collections.abc import Iterator, Sequence

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from mrecg.config.build import unknown_key
from mrecg.config.paths import choices
from mrecg.errors import ConfigError, one_of

_NOISE = re.compile(r"\s*(full_key: \S*|object_type=\S*|See https://hydra\.cc/\S*( for details)?)")
"""What names Hydra's insides and its manual, and no remedy."""


def refuse_unreadable(overrides: Sequence[str]) -> None:
    """Refuse the first override that is no ``KEY=VALUE`` by Hydra's grammar.

    Args:
        overrides: The overrides.

    Raises:
        ConfigError: There is one; Hydra itself would not say which.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    for word in overrides:
        try:
            parser.parse_override(word)
        except OverrideParseException as error:
            reason = _plain(str(error))[:160]
            raise ConfigError(
                f"{word[:80]!r} cannot be read as KEY=VALUE ({reason}): a list is [a,b], nothing is null, and "
                "text with other than letters, digits and -_/.:+% goes into quotes, \"KEY='a b'\""
            ) from None


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Say in one line what Hydra says in several.

    Args:
        error: What it raised.
        overrides: What was asked for.

    Returns:
        The line.
    """
    text = str(error)
    if text.startswith("Config group override must be"):  # trainer=3; Hydra does not say which
        for group, _, name in (word.partition("=") for word in overrides):
            if group in choices("") and name not in choices(group):
                return str(one_of(group, name, choices(group)))
    if match := _ADDED.search(text):
        key = next(found for found in match.groups() if found)
        word = next((w for w in overrides if w.lstrip("+").split("=")[0].split("@")[0] == key), f"+{key}=...")
        return f"{word}: {key} is there already; write {word.lstrip('+')}, without +"
    if match := re.search(r"Could not override '([^']+)'", text):
        return unknown_key(match[1])
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, name = match[1].rpartition("/")
        return str(one_of(group or "config", name, choices(group, _own_folders(overrides))))
    if match := re.search(r"Ambiguous value for argument '([^'=]+)=", text):
        return f"{match[1]}: several values are given; add -m to sweep over them"
    if match := re.search(r"Key '([^']+)' is not in struct", text):
        found = re.search(r"full_key: (\S+)", text)
        return unknown_key(found[1] if found else match[1])
    cause = error.__cause__
    more = f" ({_plain(str(cause))})" if text.startswith("Error merging override") and cause else ""
    return (_plain(text) or type(error).__name__) + more


_ADDED = re.compile(
    r"Multiple values for ([\w/]+)\. To override|force-add of config groups is not supported: '\+\+([\w/]+)="
    r"|^([\w/]+) appears more than once|An item is already at '([\w.]+)'"
)
"""How Hydra refuses a + before what exists."""


def _plain(text: str) -> str:
    return " ".join(_NOISE.sub("", " ".join(text.split())).split())


def _own_folders(overrides: Sequence[str]) -> Iterator[str]:
    """Folders of own groups among the overrides."""
    for word in overrides:
        if word.startswith("hydra.searchpath="):
            yield from re.findall(r"file://([^\],'\"]+)", word)
