"""Fuzz the readers of our own files for a while: ``python tests/fuzz/run_atheris.py --seconds 60``.

With atheris (``pip install atheris``; it is optional) coverage guides the inputs. Where it is not
installed, or with ``--plain``, right files are broken at random instead, and that is said. The corpus
is made of the right files, and nothing of it is kept. What was found is written to the file that the
last line names; then the exit code is 1.
"""

import argparse
import importlib
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from mrecg.quant import kernels

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "assets")]
LARGEST = 1 << 16


class Target:
    """Reads inputs: the first byte chooses the reader, the rest is its file.

    Args:
        folder: An empty folder.
        found: Where an input that is neither right nor refused is kept.
    """

    def __init__(self, folder: Path, found: Path) -> None:
        import readers

        self._module: Any = readers
        self.folder, self.found = folder, found
        self.readers = list(readers.readers(folder).values())
        self.executions = self.believed = 0

    def __call__(self, content: bytes) -> None:
        """Read one input; what is found ends the process."""
        if not content:
            return
        reader = self.readers[content[0] % len(self.readers)]
        self.executions += 1
        try:
            self.believed += self._module.try_reader(reader, content[1:], self.folder)
        except Exception:
            self.found.write_bytes(content[1:])
            traceback.print_exc()
            self.report("found a defect")
            print(f"reader of {reader.file}, input kept: {self.found}")  # noqa: T201
            sys.stdout.flush()
            shutil.rmtree(self.folder)
            os._exit(1)  # libFuzzer would catch an exit of another kind

    def seeds(self) -> list[bytes]:
        """The right contents, each behind its reader's byte."""
        return [bytes([number]) + reader.seed for number, reader in enumerate(self.readers)]

    def report(self, how: str) -> None:
        """Say how many inputs were read."""
        print(f"{how}: {self.executions} executions, {self.believed} believed, the others refused")  # noqa: T201
        sys.stdout.flush()


def plain(target: Target, seconds: float, seed: int) -> None:
    """Break right files at random, without coverage."""
    chance, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        number = chance.randrange(len(target.readers))
        target(bytes([number]) + target._module.broken(target.readers[number].seed, chance))
    target.report("plain random mutator (without coverage)")


def guided(atheris: ModuleType, target: Target, seconds: float, corpus: Path) -> None:
    """Let coverage choose the inputs."""
    for number, content in enumerate(target.seeds()):
        (corpus / f"{number}").write_bytes(content)
    begin = time.monotonic()

    def once(content: bytes) -> None:
        target(content)
        if time.monotonic() - begin > seconds:
            target.report("atheris")
            shutil.rmtree(target.folder)
            shutil.rmtree(corpus)
            os._exit(0)

    atheris.Setup(
        [sys.argv[0], f"-max_len={LARGEST}", "-rss_limit_mb=8192", "-verbosity=0", str(corpus)], once
    )
    atheris.Fuzz()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of our own files.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the plain mutator")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    chosen = parser.parse_args()
    atheris: ModuleType | None = None
    if not chosen.plain:
        try:
            import atheris
        except ImportError:
            print("atheris is not installed; a plain random mutator takes its place")  # noqa: T201
    if atheris is not None:
        # Before, and so without instruments: Numba compiles no code that has them.
        for module in pkgutil.iter_modules(kernels.__path__, "mrecg.quant.kernels."):
            if "gpu" not in module.name:
                importlib.import_module(module.name)
        with atheris.instrument_imports(include=["mrecg"]):
            import readers  # noqa: F401
    found = Path.cwd() / "fuzz-found"
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        target = Target(Path(one), found)
        if atheris is None:
            plain(target, chosen.seconds, chosen.seed)
        else:
            guided(atheris, target, chosen.seconds, Path(two))


if __name__ == "__main__":
    main()
