"""The command line: a table of commands, each imported only when it is called."""

import errno
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mrecg.errors import (
    FULL,
    ConfigError,
    Interrupted,
    MrecgError,
    Terminated,
    allocator_says,
    legible,
    of_input,
    one_of,
    out_of_memory,
)
from mrecg.system.redaction import without_secrets
from mrecg.system.streams import forgiving_streams, lost
from mrecg.system.variables import DEBUG, share_processors

_WORK = ("quantize", "export", "dashboard")
"""Verbs whose results are files; what they print tells of these."""
_HELP = frozenset(("-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i"))
LONGEST = 1000
"""Characters of an error's line, at most: of a longer one its ends are shown."""
Verb = Callable[[Sequence[str]], int | None]
"""The function of a command: takes the arguments after it and returns an exit code; None is 0."""


def _hydra(name: str) -> Verb:
    def verb(arguments: Sequence[str]) -> None:
        from mrecg.cli.quick_start import starting

        with starting():
            from mrecg.cli import quantize

            quantize.run(name, arguments)

    return verb


def _report(arguments: Sequence[str]) -> None:
    from mrecg.cli.report import main as report

    report(arguments)


def _export(arguments: Sequence[str]) -> int:
    from mrecg.cli.export import main as export

    return export(arguments)


def _sweep(arguments: Sequence[str]) -> int:
    from mrecg.cli.sweep import main as sweep

    return sweep(arguments)


def _dashboard(arguments: Sequence[str]) -> None:
    from mrecg.cli.dashboard import main as dashboard

    dashboard(arguments)


def _doctor(arguments: Sequence[str]) -> None:
    from mrecg.cli.doctor import main as doctor

    doctor(arguments)


VERBS: dict[str, tuple[Verb, str]] = {
    "quantize": (_hydra("quantize"), "plan, calibrate, reconstruct, evaluate, save and report; -m sweeps"),
    "plan": (_hydra("plan"), "capacities, merges and what a run costs, in the terminal and as plan.json"),
    "sensitivity": (_hydra("sensitivity"), "which units and layers lose most when quantized alone"),
    "evaluate": (
        _hydra("evaluate"),
        "accuracy of the FP model, of a saved run (run=FOLDER), of a file (path=FILE)",
    ),
    "export": (_export, "a saved run as ONNX, torch.export program or packed integers, checked"),
    "report": (_report, "one self-contained HTML page over any set of run folders"),
    "sweep": (_sweep, "sweep status DIR: the state of a sweep; sweep resume DIR: run what is left of it"),
    "dashboard": (_dashboard, "a W&B workspace and report over a set of run folders, at once or later"),
    "doctor": (_doctor, "what this machine has, what is missing, and what to do about it"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; leaves by `SystemExit`.

    Args:
        argv: Words after ``mrecg``; None: those of the process.
    """
    share_processors()
    try:
        with forgiving_streams():
            _main(list(sys.argv[1:] if argv is None else argv))
    finally:
        if argv is None:  # Python would collect garbage twice as it ends, in a third of a second each time
            gc.disable()


def _main(words: list[str]) -> NoReturn:
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if main_thread else None
    shown, logging.raiseExceptions = logging.raiseExceptions, False  # a log on a full disk is not news
    try:
        sys.exit(_delivered(words, _dispatch(words)))
    except MrecgError as error:
        _say(str(error), error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt as error:
        found = error if isinstance(error, Interrupted) else Interrupted()
        what = "terminated" if isinstance(found, Terminated) else "interrupted"
        sys.stderr.write(f"mrecg: {what}" + (f"; continue with: {found.go_on}\n" if found.go_on else "\n"))
        sys.exit(found.exit_code)
    except OSError as error:  # the file system's, raised anywhere: it names the file and what is wrong
        _say(_of_system(error), error)
        sys.exit(2 if error.errno == errno.ENAMETOOLONG else 1)  # a name that was typed
    except Exception as error:
        if (line := of_input(error)) is not None:
            _say(line, error)
            sys.exit(2)
        if out_of_memory(error):
            reason = allocator_says(error)
            _say(f"out of memory ({reason}); free memory, or lower data.batch_size", error)
            sys.exit(1)
        _say(
            f"{type(error).__name__}: {error} (a defect in mrecg: {DEBUG}=1 shows where; please report it)",
            error,
        )
        sys.exit(1)
    finally:
        if main_thread:
            signal.signal(signal.SIGTERM, before)
        logging.raiseExceptions = shown


def _say(text: str, error: BaseException) -> None:
    """Write the one line of an error, after its traceback if that was requested."""
    if os.environ.get(DEBUG) == "1":
        sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))
    # What a name holds must neither break the line nor steer the terminal; a name need not be UTF-8, either.
    line = legible(without_secrets(" ".join(text.split())))
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    sys.stderr.write(f"mrecg: {line}\n")


def _delivered(words: Sequence[str], code: int) -> int:
    """Say what standard output did not take; a failure only where it was all that the user asked for."""
    sys.stdout.flush()
    error = lost(sys.stdout)
    if error is None:
        return code
    works = bool(words) and words[0] in _WORK and not _HELP.intersection(words)
    works = works or list(words[:2]) == ["sweep", "resume"]
    if not isinstance(error, BrokenPipeError):  # the reader of a pipe may close it
        reason = getattr(error, "strerror", None) or str(error)
        rest = "the results are in the files" if works else "make room, or name another file"
        _say(f"standard output cannot be written to ({reason}); {rest}", error)
    return code if works else code or 1


def _of_system(error: OSError) -> str:
    if error.errno in FULL and error.filename is None:
        return f"no room left to write ({error.strerror}); make room and run it again"
    if error.strerror is None or error.filename is None:
        return f"{type(error).__name__}: {error} (from the system; {DEBUG}=1 shows where)"
    remedy = "make room there" if error.errno in FULL else "make it usable"
    return f"{os.fsdecode(error.filename)}: {error.strerror}; {remedy}, or name another path"


def _terminate(*_: object) -> None:
    """Answer SIGTERM like Ctrl-C, once: what is in the middle ends cleanly."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _dispatch(words: list[str]) -> int:
    if words[:1] in (["help"], ["--help"], ["-h"]) and len(words) > 1:
        words = [*words[1:], "--help"]  # mrecg help VERB
    if not words or words[0] in ("-h", "--help", "help"):
        from mrecg.cli.help import overview

        sys.stdout.write(overview({name: text for name, (_, text) in VERBS.items()}))
        return 0
    if words[0] == "--version" or (words[0] in VERBS and "--version" in words):
        from mrecg.version import __version__

        sys.stdout.write(f"mrecg {__version__}\n")
        return 0
    if "--shell-completion" in words or any(word.startswith("-sc") for word in words):
        from mrecg.cli.completion import complete

        complete(words, list(VERBS))
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        raise one_of("command", verb, VERBS)
    _refuse_no_folder()
    return VERBS[verb][0](rest) or 0


def _refuse_no_folder() -> None:
    """Refuse to work where the current folder was deleted: nothing can be read or written from there.

    Raises:
        ConfigError: It was.
    """
    try:
        Path.cwd()
    except OSError as error:
        place = os.environ.get("PWD", "the current folder")
        raise ConfigError(f"{place}: the current folder no longer exists; cd to one that does") from error
