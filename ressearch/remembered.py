"""On-disk cache of machine measurements, so that later processes on this machine need not measure again.

One small JSON file for each entry under ``~/.cache/ressearch`` (``XDG_CACHE_HOME``, or ``RESSEARCH_CACHE``); removing
them only means measuring again. Where nothing can be written, nothing is remembered.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import torch

from ressearch.cache import cache_directory

_PATIENCE = 60.0
"""Seconds to wait for another process that measures the same."""


def remembered(question: dict[str, Any], measure: Callable[[], Any]) -> Any:
    """Return the answer to `question` that this machine gave before, else measure it; one process at a time.

    Args:
        question: what the answer depends on, besides the machine and torch's version.
        measure: gives the answer, as JSON can hold it; None is no answer, and is not remembered.
    """
    file = _file(question)
    if (answer := _read(file)) is not None:
        return answer
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # also a time-out: then both measure
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(file.with_suffix(".lock"), timeout=_PATIENCE))
            if (answer := _read(file)) is not None:  # another process has measured meanwhile
                return answer
        answer = measure()
        if answer is not None:
            keep(question, answer)
    return answer


def keep(question: dict[str, Any], answer: Any) -> Any:
    """Remember an answer, in place of any that was given before, and return it."""
    file = _file(question)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"question": question, "answer": answer}), encoding="utf-8")
        part.replace(file)
    return answer


def recall(question: dict[str, Any]) -> Any:
    """Return the answer to `question` that this machine gave before; None if it never did. Measures nothing."""
    return _read(_file(question))


def _file(question: dict[str, Any]) -> Path:
    machine = {"cpu": cpu_model(), "cores": os.cpu_count(), "torch": torch.__version__}
    key = json.dumps({**question, **machine}, sort_keys=True)
    return cache_directory() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _read(file: Path) -> Any:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads(file.read_text(encoding="utf-8"))["answer"]
    return None


@functools.cache
def cpu_model() -> str:
    """Return the processor's model; a home directory may be shared by machines of several kinds."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
