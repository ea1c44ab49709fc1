"""Errors: what was wrong, the value, the choices, what to do.

Every error that a user can cause is a `MrecgError`. The command line prints its message as one line and exits
with its ``exit_code``; the Python API raises it.
"""

import errno
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system for no room: a full disk, a quota, a limit on the size of a file."""
_NO_MEMORY = ("out of memory", "t allocate memory", "not enough memory", "ALLOC_FAILED", "bad_alloc")
"""Messages of torch and the libraries below it for that, each a plain RuntimeError."""


class MrecgError(Exception):
    """The base of every error that a user can cause and mend."""

    exit_code = 1


class ConfigError(MrecgError):
    """A key is unknown, a value has the wrong type or range, or a name is not among the choices."""

    exit_code = 2


class DataError(MrecgError):
    """Images, labels or results of runs are missing, damaged or of the wrong shape."""

    exit_code = 2


class CheckpointError(MrecgError):
    """Weights or a saved run cannot be loaded."""

    exit_code = 2


class GraphError(MrecgError):
    """A model cannot be traced, or has no weight layer to quantize."""


class DeviceError(MrecgError):
    """One of the processes that share a reconstruction has ended."""


class Interrupted(KeyboardInterrupt):  # as the exception that it is a kind of
    """The run was ended from outside: by Ctrl-C, or by SIGTERM when a machine is reclaimed.

    Attributes:
        exit_code: What a shell expects: 128 and the signal's number.
        go_on: The command that resumes the run; empty where there is none.
    """

    exit_code = 130
    go_on = ""

    @classmethod
    def by(cls, cause: KeyboardInterrupt, *, go_on: str) -> "Interrupted":
        """Say how to continue after an interrupt.

        Args:
            go_on: The command.

        Returns:
            An interrupt of the same kind.
        """
        made = type(cause)() if isinstance(cause, Interrupted) else cls()
        made.go_on = go_on
        return made


class Terminated(Interrupted):
    """The run was ended by SIGTERM."""

    exit_code = 143


class RunError(MrecgError):
    """A resource ran out during the run, for example memory or room on the disk."""


class DivergenceError(RunError):
    """The loss of a group is not finite, or has grown far beyond its start."""


class ExportError(MrecgError):
    """A network cannot be written to a file, or the file does not do what the network does."""


class PlanError(MrecgError):
    """A plan cannot be made, or does not hold every unit exactly once."""

    exit_code = 2


def one_of(
    what: str, value: object, choices: Iterable[object], *, error: type[MrecgError] = ConfigError
) -> MrecgError:
    """Build the error for a value that is not among its choices.

    Args:
        what: The key or thing that has the value.
        value: The value found.
        choices: All values that are right, in the order to print.
        error: The class of the error.

    Returns:
        The error, ready to raise.

    >>> str(one_of("method", "qdorp", ["rtn", "qdrop"]))
    "method: 'qdorp' is not a choice (did you mean 'qdrop'?); choose from rtn, qdrop"
    """
    names = [str(choice) for choice in choices]
    close = get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return error(f"{what}: {value!r} is not a choice{hint}; choose from {', '.join(names)}")


def short(text: object, most: int = 80) -> str:
    """Cut what may be of any length, so that the line which names it can be read.

    Args:
        text: A name, a value, or what a library says.
        most: Characters to keep.

    Returns:
        The text in one line.

    >>> short("a" * 9, most=5)
    'aa...'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def few(names: Iterable[object], most: int = 8) -> str:
    """List names, of which there may be thousands.

    Args:
        most: How many to write out.

    Returns:
        The first ones, each cut, and how many more there are.

    >>> few("abcd", most=2)
    'a, b and 2 more'
    """
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(short(name, 30) for name in every[:most]) + more


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left, on the CPU or on a GPU.

    Args:
        error: Any error; torch's own types are known by their words, without an import of torch.

    Returns:
        Whether it does.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    True
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return isinstance(error, MemoryError) or told


def allocator_says(error: BaseException) -> str:
    """Take from an allocator's paragraph that there is no memory, and how much it was to be.

    Args:
        error: An error of which `out_of_memory` is true.

    Returns:
        A sentence or two, without the stop.

    >>> allocator_says(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB. See"))
    'CUDA out of memory. Tried to allocate 2.00 GiB'
    """
    said = " ".join(str(error).split()) or type(error).__name__
    telling = (*_NO_MEMORY, "Tried to allocate")
    parts = [part for part in said.split(". ") if any(words in part for words in telling)]
    return (". ".join(parts[:2]) or said)[:200]


def legible(text: str, *, escaped: bool = True) -> str:
    r"""Make text of foreign origin safe to print: nothing in it steers a terminal, or fails to be encoded.

    Args:
        text: For example a name from a folder or file.
        escaped: Whether control characters are shown, as ``\x1b``; else they are left out.

    Returns:
        The text without control characters, without those that turn the direction of writing, and without
        lone surrogates (bytes of a name that is no UTF-8). Line breaks stay where ``escaped`` is false.

    >>> legible("a\x1b[31mb"), legible("a\x1b[31mb\n", escaped=False)
    ('a\\x1b[31mb', 'a[31mb\n')
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _shown(c, escaped=escaped) for c in text)


def _shown(character: str, *, escaped: bool) -> str:
    if escaped:
        return ascii(character)[1:-1]
    if unicodedata.category(character) == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    # Other characters of format join letters and emoji; these reorder what stands around them.
    turns = unicodedata.bidirectional(character) in _TURNS
    return "" if turns or (unicodedata.category(character) == "Cc" and character != "\n") else character


_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_LIBRARIES = ("hydra", "omegaconf", "antlr4", "pydantic", "pydantic_core", "argparse")
"""Packages that read what a user has written: what they raise is about that."""


def of_input(error: BaseException) -> str | None:
    """Say in one line what was wrong with the user's input, if an unforeseen error is about that.

    Args:
        error: Any error; packages are known by name, without an import.

    Returns:
        The line; None where it may be a defect.

    >>> of_input(ValueError("embedded null byte"))
    'a name or value holds a NUL character, which no path can; leave it out'
    >>> of_input(ValueError("not enough values to unpack")) is None
    True
    """
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "a name or value holds a NUL character, which no path can; leave it out"
    if isinstance(error, UnicodeError):
        return f"a name or text holds characters that cannot be encoded or read as text ({error}); rename it"
    homes = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    return " ".join(str(error).split()) or type(error).__name__ if homes & set(_LIBRARIES) else None
