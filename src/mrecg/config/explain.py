"""What Hydra and OmegaConf say in several lines about a command line, in one that says what to write."""

import re
from collections.abc import Callable, Iterator, Sequence

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mrecg.config.keys import unknown_key
from mrecg.config.paths import OTHERS, choices, files
from mrecg.errors import ConfigError, one_of
from mrecg.system.checked_read import read_regular, yaml_mapping

_NOISE = re.compile(r"\s*(full_key: \S*|object_type=\S*|See https://hydra\.cc/\S*( for details)?)")
"""What names Hydra's insides and its manual, and no remedy."""


def refuse_unreadable(overrides: Sequence[str]) -> None:
    """Refuse the first override that is no ``KEY=VALUE`` by Hydra's grammar.

    Raises:
        ConfigError: There is one; Hydra itself would not say which.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    for word in overrides:
        try:
            parser.parse_override(word)
            if not word.partition("=")[0].strip("+~ "):
                raise HydraException("it has no key")
        except HydraException as error:
            reason = _plain(str(error)).partition(" expecting ")[0][:160]
            raise ConfigError(
                f"{word[:80]!r} cannot be read as KEY=VALUE ({reason}): a list is [a,b], nothing is null, "
                "and text with other than letters, digits and -_/.:+% goes into quotes, \"KEY='a b'\""
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
    for pattern, say in _SAID.items():
        if (match := re.search(pattern, text)) and (line := say(match, text, overrides)):
            return line
    cause = error.__cause__
    more = f" ({_plain(str(cause))})" if text.startswith("Error merging override") and cause else ""
    return (_plain(text) or type(error).__name__) + more


def _no_name(match: re.Match[str], text: str, overrides: Sequence[str]) -> str:
    """trainer=3, of which Hydra does not say what it is about."""
    for group, _, name in (word.partition("=") for word in overrides):
        if group in choices("") and name not in choices(group):
            return str(one_of(group, name, choices(group)))
    return ""


def _there_already(match: re.Match[str], text: str, overrides: Sequence[str]) -> str:
    key = next(found for found in match.groups() if found)
    word = next((w for w in overrides if w.lstrip("+").split("=")[0].split("@")[0] == key), f"+{key}=...")
    return f"{word}: {key} is there already; write {word.lstrip('+')}, without +"


LAUNCHERS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}
"""Launchers of other packages that ours are made of, and the extra that installs each."""


def _not_found(match: re.Match[str], text: str, overrides: Sequence[str]) -> str:
    group, _, name = match[1].rpartition("/")
    if group == "hydra/launcher" and name in LAUNCHERS:
        asked = next((word for word in overrides if word.startswith(f"{group}=")), f"{group}={name}")
        return f"{asked}: its package is not installed; pip install 'mrecg[{LAUNCHERS[name]}]'"
    if group in OTHERS and name in OTHERS[group]:  # there, but its package cannot be loaded
        try:
            OTHERS[group].get(name)
        except ConfigError as error:
            return str(error)
    return str(one_of(group or "config", name, choices(group, _own_folders(overrides))))


def _not_there(match: re.Match[str], text: str, overrides: Sequence[str]) -> str:
    found = re.search(r"full_key: (\S+)", text)
    inside = re.match(r"In '([^']+)'", text)
    return _unknown(found[1] if found else match[1], overrides, f", set by {inside[1]}" if inside else "")


def _no_argument(match: re.Match[str], text: str, overrides: Sequence[str]) -> str:
    """A key that was forced on a sweeper or a launcher with +."""
    return _unknown(f"hydra.{match[1].lower()}.{match[2]}", overrides)


def _unknown(key: str, overrides: Sequence[str], by: str = "") -> str:
    """Say that a key does not exist; of a sweeper or a launcher, which other one has it."""
    if not key.startswith("hydra."):
        return unknown_key(key)
    _, node, name = (*key.split("."), "")[:3]
    group = f"hydra/{node}"
    presets = files(group, _own_folders(overrides))
    others = [f"{group}={one}" for one in sorted(presets) if name in yaml_mapping(read_regular(presets[one]))]
    chosen = [word for word in overrides if word.startswith(f"{group}=")]
    what = f"{chosen[-1]} has no such key" if chosen else "unknown key"
    return f"{key}{by}: {what}; " + (
        f"only {' and '.join(others)} can take it"
        if others
        else "mrecg quantize --cfg hydra shows those that there are"
    )


_SAID: dict[str, Callable[[re.Match[str], str, Sequence[str]], str]] = {
    r"^Config group override must be": _no_name,
    r"Multiple values for ([\w/]+)\. To override": _there_already,
    r"force-add of config groups is not supported: '\+\+([\w/]+)=": _there_already,
    r"^([\w/]+) appears more than once": _there_already,
    r"An item is already at '([\w.]+)'": _there_already,
    r"Could not override '([^']+)'": _not_there,
    r"Could not find '([^']+)'": _not_found,
    r"Ambiguous value for argument '([^'=]+)=": lambda match, text, overrides: (
        f"{match[1]}: several values are given; add -m to sweep over them"
    ),
    r"Key '([^']+)' (?:is not in struct|not in ')": _not_there,
    r"^Error in call to target '[\w.]+(Sweeper|Launcher)':[\s\S]*unexpected keyword argument '(\w+)'": (
        _no_argument
    ),
}
"""What Hydra says, and how to say it."""


def _plain(text: str) -> str:
    return " ".join(_NOISE.sub("", " ".join(text.split())).split())


def _own_folders(overrides: Sequence[str]) -> Iterator[str]:
    """Folders of own groups among the overrides."""
    for word in overrides:
        if word.startswith("hydra.searchpath="):
            yield from re.findall(r"file://([^\],'\"]+)", word)
