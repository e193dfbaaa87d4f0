"""Memory of the process: blocks that a step frees are kept for the next one.

The C library gives large freed blocks back to the kernel at once, and the next step's activations, as large, are then
faulted in page by page again: a fifth of the time of a small network's step on a CPU (`benchmarks/`).
"""

from __future__ import annotations

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 2**30


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc, once per process, to keep freed blocks of up to 1 GiB; returns whether it took it (Linux alone)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    kept = (mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT), mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT - 1))
    return all(kept)
