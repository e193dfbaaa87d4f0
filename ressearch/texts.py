"""Small text files that a user names: read whole, or refused in one line."""

from __future__ import annotations

from pathlib import Path

from ressearch.limits import short


class UnreadableError(ValueError):
    """A file cannot be read as text; its text is why."""


def read_text(path: str | Path, most: int) -> str:
    """Return a text file of at most `most` bytes.

    Raises FileNotFoundError if there is none, UnreadableError if it is no file, too large, or no text in UTF-8.
    """
    file = Path(path)
    try:
        if file.exists() and not file.is_file():  # a device or a pipe would never end
            raise UnreadableError("is a directory" if file.is_dir() else "is not a file")
        size = file.stat().st_size
        if size > most:
            raise UnreadableError(f"{size} bytes; expected at most {most}")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("not a text file in UTF-8") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError((error.strerror or str(error)).lower()) from None
    except UnreadableError:
        raise
    except ValueError:  # a NUL
        raise UnreadableError(f"{short(str(path))} is not a file's name") from None


__all__ = ["UnreadableError", "read_text"]
