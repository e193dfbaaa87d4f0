"""`run.json`: what is known of a run besides its trials: versions, machine, process, what was asked for."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ressearch import durable
from ressearch.errors import StudyError

STUDY_FILE, RUN_FILE, LOCK_FILE = "study.yaml", "run.json", ".lock"


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Finalists(_Part):
    count: int = 0


class _Search(_Part):
    baseline: str | None = None
    finalists: _Finalists | None = None


class _Study(_Part):
    search: _Search = _Search()
    recipe: dict[str, Any] = {}


class _Plugin(_Part):
    sha256: str
    file: str | None = None
    registers: list[list[str]] = []


class _Init(_Part):
    file: str
    sha256: str


class _Run(_Part):
    """The keys that commands rely on, and their types; older versions wrote fewer."""

    name: str
    planned_trials: int
    input_shape: list[int]
    num_classes: int
    question: str = ""
    command: str = ""
    overrides: dict[str, str] = {}
    study: _Study = _Study()
    refused_points: dict[str, int] = {}
    split_fingerprint: str = ""
    data_content: str = ""
    class_counts: dict[str, int] = {}
    examples: dict[str, int] = {}
    versions: dict[str, str] = {}
    plugins: dict[str, _Plugin] = {}
    init: _Init | None = None
    machine: dict[str, Any] = {}
    resumed_at: list[str] = []
    host: str | None = None
    pid: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    is_complete: bool = False
    active_seconds: float | None = None
    concurrency: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    record: int | None = None


def require_study(path: Path, name: str | Path) -> None:
    """Raise StudyError if a directory holds no study; `name` is what the user calls it."""
    if not path.is_dir():
        raise StudyError(f"{name}: no such directory; `ressearch run STUDY.yaml --out {name}` makes one")
    if not (path / RUN_FILE).is_file():
        raise StudyError(f"{name}: holds no study (no {RUN_FILE})")


def read_run(directory: Path) -> dict[str, Any]:
    """Return what is known of the run: versions, machine, process, planned trials. Raises StudyError if damaged."""
    file = directory / RUN_FILE
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{file}: damaged: {error}") from None
    if not isinstance(run, dict):
        raise StudyError(f"{file}: damaged: expected a mapping")
    try:
        _Run.model_validate(run)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise StudyError(f"{file}: damaged: {key}: {problem['msg'][0].lower()}{problem['msg'][1:]}") from None
    return run


def write_run(directory: Path, run: dict[str, Any]) -> None:
    """Write what is known of the run, atomically, and force it to the disk."""
    durable.replace_text(directory / RUN_FILE, json.dumps(run, indent=2) + "\n")


def is_alive(run: dict[str, Any], directory: Path | None = None) -> bool:
    """Return whether the process that writes the study still runs (unknown, so yes, on another machine).

    Args:
        run: of the study.
        directory: of the study: its lock, where there is one, says it for processes of this machine.
    """
    if run.get("ended_at") is not None:
        return False
    if run.get("host") != socket.gethostname():
        return True
    held = None if directory is None else _is_locked(directory / LOCK_FILE)
    if held is not None:
        return held
    try:
        os.kill(int(run["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_locked(file: Path) -> bool | None:
    """Return whether a process holds a lock file; None if it cannot be told."""
    try:
        import fcntl

        descriptor = os.open(file, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False
