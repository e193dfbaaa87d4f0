"""What was measured once on this machine, remembered for later processes, so that a repeated study chooses alike.

One small JSON file an entry under ``~/.cache/ressearch`` (``XDG_CACHE_HOME``, or ``RESSEARCH_CACHE``); removing them
only means measuring again. Where nothing can be written, nothing is remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import torch


def directory() -> Path:
    """Return where measurements are kept."""
    if (chosen := os.environ.get("RESSEARCH_CACHE")) is not None:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ressearch"


def remembered(question: dict[str, Any], measure: Callable[[], Any]) -> Any:
    """Return the answer to `question` that this machine gave before, else measure it; one process at a time.

    Args:
        question: what the answer depends on, besides the machine and torch's version.
        measure: gives the answer, as JSON can hold it.
    """
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    key = json.dumps({**question, **machine}, sort_keys=True)
    file = directory() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        return json.loads(file.read_text(encoding="utf-8"))["answer"]
    with contextlib.ExitStack() as stack:
        can_write = False
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(file.parent / ".lock", timeout=60))
            can_write = True
        with contextlib.suppress(OSError, ValueError, KeyError):  # another process has measured meanwhile
            return json.loads(file.read_text(encoding="utf-8"))["answer"]
        answer = measure()
        if can_write:
            with contextlib.suppress(OSError):
                part = file.with_suffix(f".{os.getpid()}.part")
                part.write_text(json.dumps({"question": question, "answer": answer}), encoding="utf-8")
                part.replace(file)
    return answer
