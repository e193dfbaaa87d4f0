"""Who works on a study directory behind a URL: an object there that names host, process and last sign of life.

Where the file system can create a file only if there is none (local ones, S3, Google's), two processes never both own a
study. Elsewhere both write, wait a moment and look who wrote last. An owner that is gone from this machine is replaced
at once; one on another machine when it has given no sign for some minutes, which takes clocks that agree to a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from ressearch.errors import StudyError
from ressearch.remote import describe, patiently

LOCK = ".lock"
"""The object's name in the study directory."""

BEAT, EXPIRY = 20.0, 180.0
"""Seconds between two signs of life, and without any after which an owner counts as gone."""

SETTLE = 2.0
"""Seconds to wait for another process that writes at the same moment."""

_ours: set[str] = set()
"""Tokens of the owners of this process."""


class Owner:
    """A process that works on a study.

    Args:
        system: fsspec's file system.
        directory: the study directory in it.
        url: of the directory, for messages.
    """

    def __init__(self, system: Any, directory: str, url: str) -> None:
        self._system, self._directory, self._url = system, directory, url
        self._path = f"{directory}/{LOCK}"
        self._token = secrets.token_hex(8)
        self._has_ended = threading.Event()
        self.has_lost = False

    @contextlib.contextmanager
    def working(self) -> Iterator[Owner]:
        """Own the study meanwhile. Raises StudyError if another process does."""
        try:
            self._take()
        except OSError as error:
            raise StudyError(f"{self._url}: cannot be reached: {describe(error)}") from None
        _ours.add(self._token)
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            yield self
        finally:
            self._has_ended.set()
            _ours.discard(self._token)
            with contextlib.suppress(Exception):
                if self._is_ours():
                    self._system.rm_file(self._path)

    def _take(self) -> None:
        held = self._read()
        if held is not None and not _is_gone(held):
            raise self._refusal(held)
        is_exclusive = held is None and self._create()
        if not is_exclusive:
            self._write()
            time.sleep(SETTLE)
        now = self._read()
        if now is None or now.get("token") != self._token:
            raise self._refusal(now or {})

    def _create(self) -> bool:
        """Create the object if there is none; returns whether this file system can."""
        patiently(self._system.makedirs, self._directory, exist_ok=True)
        self._system.invalidate_cache()
        try:
            patiently(self._write, "xb")
        except FileExistsError:  # another process's, or ours, if an answer was lost and the call repeated
            return True
        except (NotImplementedError, ValueError, TypeError):
            return False
        return True

    def _write(self, mode: str = "wb") -> None:
        sign = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token, "at": time.time()}
        with self._system.open(self._path, mode) as file:
            file.write(json.dumps(sign).encode())

    def _read(self) -> dict[str, Any] | None:
        try:
            sign = json.loads(patiently(self._system.cat_file, self._path))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return sign if isinstance(sign, dict) else {}

    def _is_ours(self) -> bool:
        return bool(json.loads(self._system.cat_file(self._path)).get("token") == self._token)

    def _beat(self) -> None:
        """Give signs of life until the end, or until another process has taken the study over."""
        while not self._has_ended.wait(BEAT):
            with contextlib.suppress(Exception):  # out of reach: the next sign may get there
                if not self._is_ours():
                    self.has_lost = True
                    return
                self._write()

    def _refusal(self, held: dict[str, Any]) -> StudyError:
        silent = max(0.0, time.time() - float(held.get("at", time.time())))
        return StudyError(
            f"{self._url}: another process works on this study (process {held.get('pid', '?')} on "
            f"{held.get('host', 'an unknown machine')}, last sign of life {silent:.0f} s ago); end it, or wait until "
            f"it has been silent for {EXPIRY:.0f} s"
        )


def _is_gone(held: dict[str, Any]) -> bool:
    """Return whether an owner has ended without saying so."""
    silent = time.time() - float(held.get("at", 0.0))
    if silent > EXPIRY:
        return True
    if held.get("host") != socket.gethostname() or held.get("token") in _ours:
        return False
    pid = held.get("pid")
    if pid == os.getpid():  # a process before us had our number, as the first of a container has
        return True
    try:
        os.kill(int(pid or 0), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError):
        return False
    return False
