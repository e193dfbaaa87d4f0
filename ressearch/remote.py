"""Calls to file systems elsewhere (anything that fsspec knows by a URL), repeated while what hinders them may pass.

Such a call fails with whatever its library raises, often no OSError (botocore's are none). Here an error that says what
there is (no such file, no permission, a wrong argument) is passed on at once; any other is waited out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec
import tenacity
from fsspec.implementations.local import LocalFileSystem

Answer = TypeVar("Answer")

LASTING = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
    TypeError,
    ValueError,
)
"""Errors that repeating a call does not mend."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds before a failed call is repeated the first time, and at most."""

PATIENCE = 60.0
"""Seconds for which a call is repeated."""


class UnreachableError(OSError):
    """A call that failed for as long as it was repeated. `strerror` says how it failed last."""


def patiently(call: Callable[..., Answer], *arguments: Any, seconds: float | None = None, **keywords: Any) -> Answer:
    """Return what a call returns, repeated with growing pauses while it fails by an error that may pass.

    Args:
        call: what to call.
        arguments: of the call.
        seconds: for how long it is repeated [`PATIENCE`].
        keywords: of the call.

    Raises UnreachableError if it fails for all that time; an error of `LASTING` at once.
    """
    repeat = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        wait=tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
        stop=tenacity.stop_after_delay(PATIENCE if seconds is None else seconds),
        reraise=True,
    )
    try:
        return repeat(call, *arguments, **keywords)
    except Exception as error:
        if _may_pass(error):
            raise UnreachableError(None, describe(error)) from error
        raise


def describe(error: BaseException) -> str:
    """Return an error as one line: its text, else its kind."""
    text = getattr(error, "strerror", None) or str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]


def write(url: str, content: bytes, seconds: float | None = None) -> None:
    """Write a file whole. Raises as `patiently` does."""
    system, path = fsspec.core.url_to_fs(url)

    def put() -> None:
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, content)

    patiently(put, seconds=seconds)


def read(url: str) -> bytes:
    """Return a file's content. Raises as `patiently` does; FileNotFoundError if there is none."""
    system, path = fsspec.core.url_to_fs(url)
    return bytes(patiently(system.cat_file, path))


def take(url: str) -> bool:
    """Remove a file; returns whether there was one. Raises as `patiently` does."""
    system, path = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    if not patiently(system.exists, path):
        return False
    with contextlib.suppress(FileNotFoundError):  # removed by a call whose answer was lost
        patiently(system.rm_file, path)
    return True


def local_path(place: str) -> str | None:
    """Return the path on this machine (or a file system that it mounts) that a path or URL names; None elsewhere."""
    if "://" not in place:
        return place
    system, path = fsspec.core.url_to_fs(place)
    return path if isinstance(system, LocalFileSystem) else None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, LASTING)
