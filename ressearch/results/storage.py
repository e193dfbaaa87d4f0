"""Study directories elsewhere: anything that fsspec knows by a URL (``s3://``, ``gs://``, ``file://``, …).

The process that runs a study works in a local directory and copies the record to the URL as it grows, at a pace that
keeps the cost small; checkpoints are written there by the trials themselves, on whichever node they are. Readers have
copies of their own, of all but the trials' `EXAMPLES`, which are read there when they are asked for. A plain path, on
this machine or a shared file system, is used as it is.

What cannot be copied for a while is copied later; what never could stays in the local directory, which a resumed study
on the same machine goes on from.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from ressearch.cache import cache_directory
from ressearch.errors import StudyError
from ressearch.remote import describe, patiently
from ressearch.results.ownership import LOCK, Owner

_PACE, _LONGEST_PACE = 5.0, 60.0
"""Seconds between two copies of a record that grows, and at most while copying fails."""

CHECKPOINTS = "checkpoints"
"""The directory, in a study's, of the checkpoints of trials that have not ended."""

EXAMPLES = "examples"
"""The directory, in a study's, of what `ressearch.results.examples` keeps: a file per trial."""

WEIGHTS = "weights"
"""The directory, in a study's, of trained weights that are kept: a file per trial, written by the trial itself."""

_NOT_COPIED = (".tune", LOCK, CHECKPOINTS, f"{WEIGHTS}/")

_JOURNAL = "journal.jsonl"


def weights_name(trial: int) -> str:
    """Return the name of a trial's file in `WEIGHTS`."""
    return f"{trial:05d}.safetensors"


def is_url(place: str | Path) -> bool:
    """Return whether a study directory is named by a URL."""
    return "://" in str(place)


def _open(url: str) -> tuple[Any, str]:
    """Return (file system, path) of a URL. Raises StudyError if fsspec cannot reach it."""
    try:
        system, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # each file system has its own
        raise StudyError(f"{url}: cannot be reached: {describe(error)}") from None
    return system, path.rstrip("/")


class Mirror:
    """A study directory at a URL, and its local working copy.

    Args:
        url: of the study directory.

    Attributes:
        local: the working copy of the process that runs the study.
        problem: why the record could not be copied the last time; None if it could.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._system, self._path = _open(self.url)
        self.local = cache_directory() / "runs" / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self.problem: str | None = None
        self._copied: dict[str, tuple[int, int]] = {}
        self._next, self._pace = 0.0, _PACE
        self._owner = Owner(self._system, self._path, self.url)

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Work on the study, against all other processes; says at the end where the record is, if not at the URL.

        Raises StudyError if another process works on it, or if the record could not be copied to the URL.
        """
        with self._owner.working():
            try:
                yield
            except BaseException:
                if self.problem is not None:
                    logging.getLogger("ressearch").warning(self._unsent)
                raise
            self.finish()
            if self.problem is not None:
                raise StudyError(self._unsent)
            shutil.rmtree(self.local, ignore_errors=True)

    @property
    def _unsent(self) -> str:
        return (
            f"{self.url}: cannot be written ({self.problem}); the whole record is in {self.local}, and "
            f"`ressearch resume {self.url}` on this machine copies it"
        )

    def names(self) -> list[str]:
        """Return the files there, by name; the owner's sign is none. Raises StudyError if it cannot be read."""
        self._system.invalidate_cache()
        try:
            found = patiently(self._system.find, self._path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StudyError(f"{self.url}: cannot be read: {describe(error)}") from None
        names = (name.removeprefix(self._path).lstrip("/") for name in found)
        return [name for name in names if name != LOCK]

    def require_empty(self) -> None:
        """Raise StudyError if the URL holds anything, or this machine what was to be copied there."""
        further = f"nothing was overwritten: `ressearch resume {self.url}` goes on with a study"
        if self.names():
            raise StudyError(f"{self.url}: is not empty; {further}")
        if self.is_unsent:
            raise StudyError(
                f"{self.url}: an earlier record that was to go there is in {self.local}; {further}, removing that "
                "directory gives it up"
            )

    def require_some(self) -> None:
        """Raise StudyError if there is nothing, here or there."""
        if not self.names() and not self.is_unsent:
            raise StudyError(f"{self.url}: holds no study")

    @property
    def is_unsent(self) -> bool:
        """Whether this machine has a working copy, as an earlier process left it that could not copy all of it."""
        return (self.local / _JOURNAL).is_file()

    def pull(self) -> Path:
        """Make the working copy what the URL holds, unless it is ahead of it; returns it."""
        if self.is_unsent:
            here, there = (self.local / _JOURNAL).read_bytes(), self._journal_there()
            if here.startswith(there) and here != there:
                return self.local
            if not there.startswith(here):  # another machine went on: nothing is thrown away
                self.local.rename(self.local.with_name(f"{self.local.name}-{time.time_ns()}"))
        shutil.rmtree(self.local, ignore_errors=True)
        self.fetch(self.local)
        return self.local

    def _journal_there(self) -> bytes:
        try:
            return bytes(patiently(self._system.cat_file, f"{self._path}/{_JOURNAL}"))
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StudyError(f"{self.url}: cannot be read: {describe(error)}") from None

    def fetch(self, target: Path) -> None:
        """Copy what the URL holds into a local directory, checkpoints and the trials' examples left out.

        Raises StudyError if it cannot.
        """
        target.mkdir(parents=True, exist_ok=True)
        for name in self.names():
            if name.startswith((*_NOT_COPIED, f"{EXAMPLES}/")):
                continue
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                patiently(self._system.get_file, f"{self._path}/{name}", str(file))
            except FileNotFoundError:  # gone since it was listed
                file.unlink(missing_ok=True)
                continue
            except OSError as error:
                raise StudyError(f"{self.url}/{name}: cannot be read: {describe(error)}") from None
            if target == self.local:
                self._copied[name] = _state(file)

    def push(self, force: bool = False) -> None:
        """Copy the files that have changed, every few seconds; one that cannot be copied is tried again later.

        Args:
            force: now, not only every few seconds; while copying fails, when it is due.

        Raises OSError if another process has taken the study over.
        """
        if self._owner.has_lost:
            raise OSError(None, "another process has taken the study over")
        now = time.monotonic()
        if now < self._next and (not force or self.problem is not None):
            return
        try:
            self._copy()
        except Exception as error:  # each file system has its own; the record is safe where it is
            self.problem = describe(error)
            self._pace = min(2 * self._pace, _LONGEST_PACE)
        else:
            self.problem, self._pace = None, _PACE
        self._next = time.monotonic() + self._pace

    def finish(self) -> None:
        """Copy the last changes, however long it takes within reason; `problem` says if that was in vain."""
        if self._owner.has_lost:
            self.problem = "another process has taken the study over"
            return
        try:
            patiently(self._copy)
        except Exception as error:
            self.problem = describe(error)
        else:
            self.problem = None

    def _copy(self) -> None:
        for file in sorted(self.local.rglob("*")):
            name = str(file.relative_to(self.local))
            if not file.is_file() or name.startswith(_NOT_COPIED) or name.endswith(".part"):
                continue
            state = _state(file)
            if self._copied.get(name) != state:
                self._system.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)
                self._system.put_file(str(file), f"{self._path}/{name}")
                self._copied[name] = state

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints, once the study has ended; those that cannot be removed only take space."""
        with contextlib.suppress(Exception):
            patiently(self._system.rm, f"{self._path}/{CHECKPOINTS}", recursive=True)


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@functools.cache
def _readers_copies() -> Path:
    """Return the directory of this process's copies of what lies behind URLs; it goes with the process."""
    directory = Path(tempfile.mkdtemp(prefix="ressearch-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def localise(place: str | Path) -> Path:
    """Return a study directory as a local path to read: itself, or a fresh copy of what a URL holds."""
    if not is_url(place):
        return Path(place)
    mirror = Mirror(str(place))
    copy = _readers_copies() / mirror.local.name
    shutil.rmtree(copy, ignore_errors=True)
    mirror.fetch(copy)
    return copy
