"""Large arrays in files that every process of a machine maps: the driver and all its workers share one copy.

An array from `HELD` bytes on is written, block by block, to a file of this process under the cache directory, and read
through the page cache, which the system shares and may drop. The files end with the process; those of a process that
was killed are removed by the next one. Where nothing can be written, arrays stay in memory.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import shutil
import socket
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
import torch
from torch import Tensor

from ressearch.cache import cache_directory
from ressearch.errors import DataError

HELD = 64 * 2**20
"""Bytes from which an array lies in a mapped file."""

_ROOM = 2**28
"""Bytes of the disk that are left free."""


@dataclass(frozen=True)
class Place:
    """Where an array lies in a file: what a process is told that maps it.

    Attributes:
        path: the file.
        offset: of the array's first byte.
        dtype: of NumPy, as text.
        shape: of the array.
        stamp: (size, time of the last change) of the file, so that another file under its name is noticed.
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    stamp: tuple[int, int]

    @classmethod
    def of(cls, path: Path, offset: int, dtype: np.dtype, shape: Sequence[int]) -> Place:
        """Return the place of an array in a file that is there."""
        return cls(str(path.absolute()), offset, dtype.str, tuple(shape), stamp(path))

    def open(self) -> Tensor:
        """Map the array. Raises DataError if the file is gone, or is another than it was."""
        try:
            if stamp(Path(self.path)) != self.stamp:
                raise DataError(f"{self.path}: has changed since it was first read")
            # Copy on write: nobody writes, but torch asks for arrays that could be written to.
            return torch.from_numpy(np.memmap(self.path, np.dtype(self.dtype), "c", self.offset, self.shape))
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path}: {getattr(error, 'strerror', None) or error}") from None


def stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and time of the last change. Raises OSError if it is not there."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


class Sheet:
    """An array that is written block by block, examples first: to a mapped file if it is large, else to memory.

    Args:
        shape: of the whole array.
        dtype: of NumPy.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype | type) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        size = math.prod(self.shape) * self.dtype.itemsize
        self._path = new_file(size) if size >= HELD else None
        self._file = self._path.open("wb") if self._path is not None else None
        self._memory = None if self._file is not None else np.empty(self.shape, self.dtype)
        self._filled = 0

    def append(self, block: np.ndarray) -> None:
        """Write the next examples."""
        block = np.ascontiguousarray(block, self.dtype)
        if self._file is not None:
            self._file.write(block.data)
        else:
            assert self._memory is not None
            self._memory[self._filled : self._filled + len(block)] = block
        self._filled += len(block)

    def done(self) -> tuple[Tensor, Place | None]:
        """Return the array and, if it lies in a file, its place."""
        assert self._filled == self.shape[0], (self._filled, self.shape)
        if self._memory is not None:
            return torch.from_numpy(self._memory), None
        assert self._file is not None
        assert self._path is not None
        self._file.close()
        place = Place.of(self._path, 0, self.dtype, self.shape)
        tensor = place.open()
        _remove_with(tensor, self._path)
        return tensor, place


def hold(array: Tensor) -> tuple[Tensor, Place | None]:
    """Move an array in memory to a mapped file if it is large."""
    if array.nbytes < HELD or not array.is_contiguous() or array.device.type != "cpu":
        return array, None
    sheet = Sheet(tuple(array.shape), array.numpy().dtype)
    for block in array.split(max(1, 2**21 * len(array) // array.nbytes)):
        sheet.append(block.numpy())
    return sheet.done()


def new_file(size: int) -> Path | None:
    """Return a new path for a file of `size` bytes that ends with this process; None where it would find no room."""
    with contextlib.suppress(OSError):
        directory = _directory()
        if shutil.disk_usage(directory).free >= size + _ROOM:
            return directory / uuid.uuid4().hex
    return None


_mine: tuple[int, Path, filelock.BaseFileLock] | None = None


def _directory() -> Path:
    """Return this process' directory, which a lock says is in use; directories of processes that ended are removed."""
    global _mine
    if _mine is not None and _mine[0] == os.getpid() and _mine[1].is_dir():
        return _mine[1]
    above = cache_directory() / "spool"
    above.mkdir(parents=True, exist_ok=True)
    prefix = f"{socket.gethostname()}-"
    for other in above.glob(f"{prefix}*"):
        lock = filelock.FileLock(other / "lock")
        with contextlib.suppress(OSError):  # filelock.Timeout is one
            lock.acquire(timeout=0)
            shutil.rmtree(other, ignore_errors=True)
            lock.release()
    directory = above / f"{prefix}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    # Made under another name first, so that nobody finds it without its lock held.
    fresh = above / f".{directory.name}"
    fresh.mkdir()
    lock = filelock.FileLock(fresh / "lock")
    lock.acquire()
    fresh.replace(directory)
    _mine = (os.getpid(), directory, lock)
    return directory


def _remove_with(tensor: Tensor, path: Path) -> None:
    """Remove a file once nothing in this process uses its array any more."""
    weakref.finalize(tensor.untyped_storage(), _unlink, path, os.getpid())


def _unlink(path: Path, owner: int) -> None:
    if owner == os.getpid():
        path.unlink(missing_ok=True)


@atexit.register
def _end() -> None:
    if _mine is not None and _mine[0] == os.getpid():
        shutil.rmtree(_mine[1], ignore_errors=True)
