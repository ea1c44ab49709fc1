"""Files that are there whole, or not at all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_durably(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole, or as it was before, whatever happens.

    Args:
        file: The file; its folder must be there.
        content: What it will hold.

    Raises:
        OSError: It could not be written; nothing is left behind. The error names the file.
    """
    if file.exists() and not file.is_file():  # a pipe or a device, such as /dev/stdout, stays what it is
        file.write_bytes(content)
        return
    try:
        _write(file.resolve() if file.is_symlink() else file, content)
    except OSError as error:  # a write names no file, and the temporary one is nothing to the user
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error


def _write(file: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:80]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    except OSError:
        pass  # not every file system can
    finally:
        os.close(folder)


def _umask() -> int:
    # Python can only read it by setting it; a temporary file would be its owner's alone otherwise.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
