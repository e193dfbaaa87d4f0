"""The file that holds a search's Optuna study, `optuna.journal`: opened, mended after a kill, written in batches.

The study's own journal is the record; this file only keeps what the sampler was asked and told, for `resume` and for
``optuna-dashboard``. So it is not synced to disk, and what a kill cut off it is told anew from the record. Everything
in it is JSON: reading it runs no code.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from ressearch.errors import StudyError

OPTUNA_FILE = "optuna.journal"
"""Name of the file in the study directory."""


class BatchedBackend(JournalFileBackend):
    """Optuna's journal file, which takes one lock for a batch of writes and syncs none.

    Optuna locks and syncs the file for every key that a sampler answers: some twenty times for one proposal.

    Args:
        file: the journal; a last line that a kill cut short is removed, and a lock that it left behind.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        self._guard = JournalFileSymlinkLock(str(file))
        Path(self._guard._lock_file).unlink(missing_ok=True)  # ours alone: the study directory is locked
        if file.is_file():
            _cut_last_line(file)
        super().__init__(str(file), self._guard)
        self._depth = 0

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Hold the file for the writes that follow."""
        if self._depth == 0:
            self._guard.acquire()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._guard.release()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append to the file."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self.batch(), self._path.open("ab") as file:
            file.write(text.encode())


def open_file(file: Path) -> tuple[JournalStorage, BatchedBackend]:
    """Open the journal of an Optuna study, or begin one. Raises StudyError if it is damaged."""
    try:
        backend = BatchedBackend(file)
        return JournalStorage(backend), backend
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise StudyError(f"{file}: damaged: {said}; remove it to go on without it") from None


def _cut_last_line(file: Path) -> None:
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with file.open("rb+") as opened:
            opened.truncate(end)
