"""Where this machine keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """Return the cache directory: ``RESSEARCH_CACHE``, else ``ressearch`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if (chosen := os.environ.get("RESSEARCH_CACHE")) is not None:
        return Path(chosen)
    return default_directory()


def default_directory() -> Path:
    """Return where the cache is if nobody says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ressearch"
