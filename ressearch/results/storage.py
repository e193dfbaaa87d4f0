"""Study directories elsewhere: anything that fsspec knows by a URL (``s3://``, ``gs://``, ``file://``, …).

The process that runs a study works in a local directory and copies the record to the URL as it grows, at a pace that
keeps the cost small; checkpoints are written there by the trials themselves, on whichever node they are. A plain path,
on this machine or a shared file system, is used as it is.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import fsspec

from ressearch.errors import StudyError
from ressearch.training.remembered import directory as cache

_PACE = 5.0
"""Seconds between two copies of a record that grows."""

CHECKPOINTS = "checkpoints"
"""The directory, in a study's, of the checkpoints of trials that have not ended."""

_NOT_COPIED = (".tune", ".lock", CHECKPOINTS)


def is_url(place: str | Path) -> bool:
    """Return whether a study directory is named by a URL."""
    return "://" in str(place)


def _open(url: str) -> tuple[Any, str]:
    """Return (file system, path) of a URL. Raises StudyError if fsspec cannot reach it."""
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise StudyError(f"{url}: cannot be reached: {str(error).splitlines()[0]}") from None
    return system, path.rstrip("/")


class Mirror:
    """A study directory at a URL, and its local working copy.

    Args:
        url: of the study directory.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._system, self._path = _open(self.url)
        self.local = cache() / "runs" / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._copied: dict[str, tuple[int, int]] = {}
        self._last = 0.0

    def names(self) -> list[str]:
        """Return the files there, by name."""
        try:
            found = self._system.find(self._path) if self._system.exists(self._path) else []
        except OSError as error:
            raise StudyError(f"{self.url}: cannot be read: {error}") from None
        return [name.removeprefix(self._path).lstrip("/") for name in found]

    def pull(self) -> Path:
        """Make the local copy what the URL holds, checkpoints left out; returns it."""
        shutil.rmtree(self.local, ignore_errors=True)
        self.local.mkdir(parents=True)
        for name in self.names():
            if not name.startswith(_NOT_COPIED):
                target = self.local / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._system.get_file(f"{self._path}/{name}", str(target))
        return self.local

    def push(self, force: bool = False) -> None:
        """Copy the files that have changed; not more often than every few seconds unless forced."""
        if not force and time.monotonic() - self._last < _PACE:
            return
        for file in sorted(self.local.rglob("*")):
            name = str(file.relative_to(self.local))
            if not file.is_file() or name.startswith(_NOT_COPIED) or name.endswith(".part"):
                continue
            state = (file.stat().st_size, file.stat().st_mtime_ns)
            if self._copied.get(name) != state:
                self._system.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)
                self._system.put_file(str(file), f"{self._path}/{name}")
                self._copied[name] = state
        self._last = time.monotonic()

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints, once the study has ended."""
        if self._system.exists(f"{self._path}/{CHECKPOINTS}"):
            self._system.rm(f"{self._path}/{CHECKPOINTS}", recursive=True)


def localise(place: str | Path) -> Path:
    """Return a study directory as a local path: itself, or a fresh copy of what a URL holds."""
    return Mirror(str(place)).pull() if is_url(place) else Path(place)
