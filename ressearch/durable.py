"""Files that outlast a power cut: appended to, or replaced whole, and forced to the disk with their entries.

A process that is killed loses nothing that it has handed to the system; a machine that loses its power loses what was
not forced to the disk. `RESSEARCH_SYNC=0` leaves that to the system (for runs that may be thrown away).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def is_syncing() -> bool:
    """Return whether files are forced to the disk."""
    return os.environ.get("RESSEARCH_SYNC", "1") != "0"


def sync(descriptor: int) -> None:
    """Force a file to the disk."""
    if is_syncing():
        os.fsync(descriptor)


def sync_directory(directory: Path) -> None:
    """Force the entries of a directory to the disk; file systems that cannot are left alone."""
    if not is_syncing() or os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace(target: Path, write: Callable[[IO[bytes]], Any], is_synced: bool = True) -> None:
    """Write a file whole or not at all; the former one stays until then.

    Args:
        target: the file.
        write: writes its bytes into an open file.
        is_synced: force it to the disk before it takes the place of the former one, and its name after.

    Raises OSError if the disk does not take it.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            if is_synced:
                sync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if is_synced:
        sync_directory(target.parent)


def replace_text(target: Path, text: str) -> None:
    """Write a text whole or not at all, and force it to the disk. Raises as `replace`."""
    replace(target, lambda file: file.write(text.encode()))


class Appender:
    """A file that grows by whole records, without a buffer that could hold some back.

    Args:
        path: the file, made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        if is_new:
            sync_directory(path.parent)

    def append(self, record: bytes, is_synced: bool) -> None:
        """Write a record and, if asked, force it to the disk. Raises OSError; a part that was written is taken back."""
        before = os.fstat(self._descriptor).st_size
        try:
            left = memoryview(record)
            while left:
                left = left[os.write(self._descriptor, left) :]
            if is_synced:
                sync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise

    def close(self) -> None:
        """Force the file to the disk and close it."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)
