"""Secrets in URLs: what is written, shown or sent has a mask in their place, and only a download has the URL.

A command line and a configuration are masked before anything else sees them. Which mask stands for which URL
is kept in an environment variable, so that jobs in other processes can download, too; no file ever has it.
"""

import json
import os
import re
from itertools import count
from typing import Any
from urllib.parse import unquote

from mrecg.errors import ConfigError
from mrecg.system.variables import SECRETS

MASK = "***"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:(?!,[A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>])+")
"""Up to a space or a quote, or to the next URL of a list."""
_MASKED = re.compile(r"\*\*\*\d*")
_INTERPOLATION = re.compile(r"\$\{[^{}]*\}")
_AROUND = ".,;:)]}"
"""Punctuation after a URL in a sentence or a list."""
_SHORTEST = 3
"""Characters of a secret that is looked for in what a library says."""


def without_secrets(text: str) -> str:
    """Mask in every URL of a text what may give access: user and password, values of the query, the fragment.

    Args:
        text: Any text; what is masked already stays as it is.

    Returns:
        The text with scheme, host, path and the names of the query.

    >>> without_secrets("see https://ann:pw@host/a.pth?token=x&v=1, and https://host/b.pth")
    'see https://***@host/a.pth?token=***&v=***, and https://host/b.pth'
    """
    return _URL.sub(lambda found: _mask(found[0]), text)


def conceal(value: Any) -> Any:
    """Mask the URLs in a value, and remember them for `reveal`.

    Args:
        value: Text, or containers of it.

    Returns:
        The same with a mask in the place of each secret; two URLs never get the same masks.

    Raises:
        ConfigError: A URL holds a secret and an interpolation, so that it can neither be kept nor masked.
    """
    if isinstance(value, dict):
        return {key: conceal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(conceal(inner) for inner in value)
    return _URL.sub(lambda found: _kept(found[0]), value) if isinstance(value, str) else value


def reveal(value: Any) -> Any:
    """Put the URLs back that `conceal` has masked, in this process or in the one that started it.

    Args:
        value: Text, or containers of it.

    Returns:
        The same with the secrets; where they are not known, with the masks.
    """
    if isinstance(value, dict):
        return {key: reveal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(reveal(inner) for inner in value)
    known = _known()
    if not known or not isinstance(value, str):
        return value
    return _URL.sub(lambda found: _tail(found[0], lambda url: known.get(url, url)), value)


def is_masked(text: str) -> bool:
    """Return whether a secret of a URL is missing."""
    return any(_MASKED.search(url) for url in _URL.findall(text))


def unnumbered(url: str) -> str:
    """A masked URL without the numbers that keep masks apart."""
    return _MASKED.sub(MASK, url)


def hide(text: str, url: str) -> str:
    """Take the secrets of a URL out of the text of a library that quotes it, or a part of it.

    Args:
        url: The URL with its secrets.

    Returns:
        The message without them.
    """
    rest = url.partition("://")[2]
    place, _, more = rest.partition("?")
    user = place.rpartition("@")[0]
    parts = [url, user, *user.split(":", 1), more, *re.split(r"[&#]", more)]
    parts += [part.partition("=")[2] for part in parts]
    shown = without_secrets(url)
    for part in sorted({*parts, *map(unquote, parts)}, key=len, reverse=True) if shown != url else ():
        if len(part) >= _SHORTEST:
            text = text.replace(part, shown if part == url else MASK)
    return without_secrets(text)


def _tail(found: str, change: Any) -> str:
    """Change a URL, and leave what follows it in a sentence."""
    url = found
    while url[-1] in _AROUND and not (url[-1] == "}" and url.count("{") >= url.count("}")):
        url = url[:-1]
    return f"{change(url)}{found[len(url) :]}"


def _mask(found: str) -> str:
    return _tail(found, _masked)


def _masked(url: str) -> str:
    scheme, _, rest = url.partition("://")
    rest, hashed, fragment = rest.partition("#")
    place, asked, query = rest.partition("?")
    host, slash, path = place.partition("/")
    if re.search(r":(?!\d*$)", _INTERPOLATION.sub("", host).rpartition("@")[2].rpartition("]")[2]):
        # No port: the first part of a password that holds a / or a ? itself.
        place = f"{MASK}@{place.rpartition('@')[2]}" if "@" in place else MASK
    elif "@" in host:
        user, _, bare = host.rpartition("@")
        place = f"{_secret(user)}@{bare}{slash}{path}"
    pairs = [
        f"{key}={_secret(value)}" if equals else _secret(key)
        for key, equals, value in (pair.partition("=") for pair in query.split("&"))
    ]
    return f"{scheme}://{place}{asked}{'&'.join(pairs)}{hashed}{_secret(fragment)}"


def _secret(text: str) -> str:
    open_already = not _INTERPOLATION.sub("", text).strip(":") or _MASKED.fullmatch(text)
    return text if open_already else MASK


def _kept(found: str) -> str:
    return _tail(found, _remembered)


def _remembered(url: str) -> str:
    masked = _masked(url)
    if masked == url:
        return url
    if _INTERPOLATION.search(url):
        raise ConfigError(
            f"{masked}: has a secret and an interpolation; put the whole URL into the variable, as in "
            "'${oc.env:MY_URL}'"
        )
    known, whole = _known(), url.replace("\\", "")  # which Hydra takes for an escape, and no URL has
    numbered = (masked if i == 1 else masked.replace(MASK, f"{MASK}{i}") for i in count(1))
    unique = next(name for name in numbered if known.get(name, whole) == whole)
    os.environ[SECRETS] = json.dumps({**known, unique: whole})
    return unique


def _known() -> dict[str, str]:
    found: dict[str, str] = json.loads(os.environ.get(SECRETS, "{}"))
    return found
