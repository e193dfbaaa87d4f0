"""The last net of the command: whatever nobody foresaw still ends in one line, and its details in a file.

Files that cannot be read or written are no defect: `file_problem` says which and why. Anything else is: `keep` writes
the traceback to a file that a bug report can hold.
"""

from __future__ import annotations

import datetime
import errno
import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

from ressearch.limits import short

EXIT_CODE = 70
"""What sysexits.h calls an internal software error."""

_LONGEST_LINE = 2_000


def file_problem(error: OSError) -> str | None:
    """Return which file cannot be read or written and why, in a line; None where the error is about no file."""
    if error.errno is None or error.strerror is None:
        return None
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
        return None
    where = f"{readable(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror.lower()}"


def keep(error: BaseException) -> str:
    """Write an unforeseen error's details to a file; returns the line that says so."""
    details = "".join(traceback.format_exception(error, limit=-50))
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = f"{when}\n{platform.platform()}, Python {platform.python_version()}\n{short(sys.argv, 2000)}\n\n{details}"
    kind = type(error).__name__
    try:
        handle, name = tempfile.mkstemp(prefix="ressearch-defect-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return f"{kind}: this is a defect of ressearch; its details could not be written down: {short(str(error))}"
    return f"{kind}: this is a defect of ressearch; the details are in {Path(name)}"


def readable(text: str) -> str:
    """Return a text as one line that any terminal can show: what cannot be printed is escaped, pages are cut."""
    line = " ".join(text.split())
    if len(line) > _LONGEST_LINE:
        line = f"{line[:_LONGEST_LINE]}..."
    return "".join(char if char.isprintable() else _escaped(char) for char in line)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def unspeakable(argument: str) -> str | None:
    """Return the first character of an argument that no system takes in a file's name: a NUL, half a character."""
    for char in argument:
        try:
            if char == "\0" or not os.fsencode(char):
                return char
        except UnicodeEncodeError:
            return char
    return None


def leave_quietly() -> None:
    """Have the interpreter write nothing more to an output that nobody reads any longer."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):  # it is no file
            continue


__all__ = ["EXIT_CODE", "file_problem", "keep", "leave_quietly", "readable", "unspeakable"]
