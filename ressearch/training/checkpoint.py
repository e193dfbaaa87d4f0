"""Checkpoints of a trial: what training needs to go on, in one file, written whole or not at all.

They hold tensors, numbers and texts alone and are read with torch's `weights_only`, which runs no code of the file.
"""

from __future__ import annotations

import functools
import io
import math
import time
from pathlib import Path
from typing import Any

import torch

from ressearch import durable, remote
from ressearch.errors import StudyError

_PATIENCE = 10.0
"""Seconds for which writing elsewhere is tried: the next epoch writes again, so training need not wait long."""


def save(path: str, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OSError if the disk does not take it; the former one then stays.

    What is written outlasts the process. It is forced to the disk, so that it outlasts a power cut, where that keeps
    the time spent on it below a fiftieth; the others are written beside the last one that was.

    Args:
        path: where; a URL is anything that fsspec knows (object stores show a file once it is whole). One that is
            out of reach is tried again for some seconds.
        state: tensors, numbers and texts.
    """
    local = remote.local_path(path)
    if local is None:
        content = io.BytesIO()
        torch.save(state, content)
        remote.write(path, content.getvalue(), seconds=_PATIENCE)
        return
    target, now = Path(local), time.monotonic()
    target.parent.mkdir(parents=True, exist_ok=True)
    until = _synced_until.get(path, -math.inf)
    if now < until and _epochs(state) > 1:
        durable.replace(_unsynced(target), functools.partial(torch.save, state), is_synced=False)
        return
    durable.replace(target, functools.partial(torch.save, state))
    _unsynced(target).unlink(missing_ok=True)
    end = time.monotonic()
    _synced_until.clear()  # a process trains one trial at a time
    _synced_until[path] = end + _PACE * (end - now)


_PACE = 50
"""How many times as long as a synced checkpoint took no other is synced."""

_synced_until: dict[str, float] = {}


def _unsynced(target: Path) -> Path:
    return target.with_name(f"{target.name}.unsynced")


def load(path: str, device: torch.device) -> dict[str, Any] | None:
    """Read the newest checkpoint onto a device; None if there is none. Raises StudyError if none is whole."""
    local = remote.local_path(path)
    if local is None:
        return _load(path, device)
    found, problem = [], None
    for one in (str(_unsynced(Path(local))), local):
        try:
            state = _load(one, device)
        except StudyError as error:
            problem = error
        else:
            found += [state] if state is not None else []
    if not found and problem is not None:
        raise problem
    return max(found, key=_epochs, default=None)


def _epochs(state: dict[str, Any]) -> int:
    """Return how many epochs a checkpoint has behind it."""
    history = state.get("history")
    return len(history) if isinstance(history, list) else 0


def _load(path: str, device: torch.device) -> dict[str, Any] | None:
    try:
        content = io.BytesIO(remote.read(path) if "://" in path else Path(path).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StudyError(f"{path}: damaged checkpoint: {_first_line(error)}") from None
    try:
        state = torch.load(content, map_location=device, weights_only=True)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # the bytes may be anything, and so is what torch makes of them
        raise StudyError(f"{path}: damaged checkpoint: {_first_line(error)}") from None
    if not isinstance(state, dict):
        raise StudyError(f"{path}: damaged checkpoint: expected a mapping")
    return state


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def remove(path: str) -> None:
    """Remove a trial's checkpoint, if there is one. Raises OSError if it cannot be removed."""
    target = Path(path)
    for one in (target, _unsynced(target)):
        one.unlink(missing_ok=True)


def mark(path: str) -> None:
    """Write an empty file."""
    remote.write(str(Path(path).absolute()) if "://" not in path else path, b"", seconds=_PATIENCE)


def take(path: str) -> bool:
    """Remove a file; returns whether there was one (none, too, where it is out of reach)."""
    try:
        return remote.take(path)
    except OSError:
        return False
