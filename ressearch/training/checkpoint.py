"""Checkpoints of a trial: what training needs to go on, in one file, written whole or not at all.

They hold tensors, numbers and texts alone and are read with torch's `weights_only`, which runs no code of the file.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import fsspec
import torch

from ressearch.errors import StudyError


def save(path: str, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OSError if the disk does not take it; the former one then stays.

    Args:
        path: where; a URL is anything that fsspec knows (object stores show a file once it is whole).
        state: tensors, numbers and texts.
    """
    if "://" in path:
        with fsspec.open(path, "wb", auto_mkdir=True) as file:
            torch.save(state, file)
        return
    target = Path(path)
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
        with fsspec.open(path, "rb") as file:
            state = torch.load(file, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise StudyError(f"{path}: damaged checkpoint: {str(error).strip().splitlines()[0][:200]}") from None
    if not isinstance(state, dict):
        raise StudyError(f"{path}: damaged checkpoint: expected a mapping")
    return state


def mark(path: str) -> None:
    """Write an empty file."""
    with fsspec.open(path, "wb", auto_mkdir=True):
        pass


def take(path: str) -> bool:
    """Remove a file; returns whether there was one."""
    system, name = fsspec.core.url_to_fs(path)
    if not system.exists(name):
        return False
    system.rm_file(name)
    return True
