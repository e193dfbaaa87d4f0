"""Checkpoints of a trial: what training needs to go on, in one file, written whole or not at all.

They hold tensors, numbers and texts alone and are read with torch's `weights_only`, which runs no code of the file.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ressearch.errors import StudyError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OSError if the disk does not take it; the former one then stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint onto a device; None if there is none. Raises StudyError if it is damaged."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise StudyError(f"{path}: damaged checkpoint: {str(error).strip().splitlines()[0][:200]}") from None
    if not isinstance(state, dict):
        raise StudyError(f"{path}: damaged checkpoint: expected a mapping")
    return state
