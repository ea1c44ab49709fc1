"""Keep freed memory instead of giving it back to the system after every operation.

The C library maps large blocks one by one and unmaps them when they are freed. An optimisation step frees
and takes the same activations again and again, and touching fresh pages then costs more than the arithmetic
does (``python -m benchmarks.allocator`` tells how much).
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_KEPT = 1 << 30
"""Larger blocks, which only the cache has, are still given back at once."""
_ALL = 2**31 - 1
_USUAL_MAP, _USUAL_TRIM = 32 << 20, 64 << 20
"""Largest threshold that glibc itself adapts to, after a few large blocks."""


@contextmanager
def recycling() -> Iterator[None]:
    """Keep blocks up to 1 GiB for reuse inside the ``with`` block; at its end what is free goes back.

    Without glibc (macOS, Alpine) it does nothing.
    """
    try:
        library = ctypes.CDLL(None)
        adjust, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        yield
        return
    adjust(_MMAP_THRESHOLD, _LARGEST_KEPT)
    adjust(_TRIM_THRESHOLD, _ALL)
    try:
        yield
    finally:
        adjust(_MMAP_THRESHOLD, _USUAL_MAP)
        adjust(_TRIM_THRESHOLD, _USUAL_TRIM)
        trim(ctypes.c_size_t(0))
