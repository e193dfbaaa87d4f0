"""Checkpoints of a trial: what training needs to go on, in one file, written whole or not at all.

They hold tensors, numbers and texts alone and are read with torch's `weights_only`, which runs no code of the file.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ressearch import remote
from ressearch.errors import StudyError

_PATIENCE = 10.0
"""Seconds for which writing elsewhere is tried: the next epoch writes again, so training need not wait long."""


def save(path: str, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OSError if the disk does not take it; the former one then stays.

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
    target = Path(local)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def load(path: str, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint onto a device; None if there is none. Raises StudyError if it is damaged."""
    try:
        content = io.BytesIO(remote.read(path) if "://" in path else Path(path).read_bytes())
        state = torch.load(content, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise StudyError(f"{path}: damaged checkpoint: {str(error).strip().splitlines()[0][:200]}") from None
    if not isinstance(state, dict):
        raise StudyError(f"{path}: damaged checkpoint: expected a mapping")
    return state


def mark(path: str) -> None:
    """Write an empty file."""
    remote.write(str(Path(path).absolute()) if "://" not in path else path, b"", seconds=_PATIENCE)


def take(path: str) -> bool:
    """Remove a file; returns whether there was one (none, too, where it is out of reach)."""
    try:
        return remote.take(path)
    except OSError:
        return False
