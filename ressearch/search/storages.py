"""Optuna storage URLs (`search.storage`): whether one can be used, found out before anything is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ressearch.errors import StudyError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_EXAMPLE = "sqlite:///search.db or postgresql://HOST/NAME"


def problem_with_url(text: str) -> str | None:
    """Return why a text is no storage URL that could be opened here; None if it is. Opens and makes nothing."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(text)
        url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        return f"{text!r}: no database '{text.partition(':')[0]}' is known; expected {_EXAMPLE}"
    except (ArgumentError, ValueError):
        return f"{text!r} is no Optuna storage URL, such as {_EXAMPLE}"
    except ImportError as error:
        return f"{text!r} needs the package {error.name}, which is not installed"
    return _problem_with_file(url) if url.get_backend_name() == "sqlite" else None


def _problem_with_file(url: URL) -> str | None:
    if url.database in (None, "", ":memory:"):
        return f"'{url}' is kept in memory and lost with the process; name a file, such as sqlite:///search.db"
    file = Path(str(url.database))
    if file.is_dir():
        return f"'{url}': {file} is a directory"
    if not file.parent.is_dir():
        return f"'{url}': no directory {file.parent}"
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        return f"'{url}': {file} cannot be written"
    if file.is_file() and file.stat().st_size and not file.read_bytes()[:16].startswith(b"SQLite format 3"):
        return f"'{url}': {file} is no SQLite database"
    return None


def require_storage(text: str | None, name: str, place: str) -> None:
    """Raise StudyError if a storage cannot be reached, or holds another search of a study's name.

    Args:
        text: its URL; None is no storage.
        name: of the study.
        place: where it is asked for, for the message.
    """
    if text is None:
        return
    import optuna
    from sqlalchemy.engine import make_url

    url = make_url(text)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return
    try:
        names = optuna.get_all_study_names(text)
    except Exception as error:  # whatever a database's driver raises
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StudyError(f"{place}: {text!r} cannot be opened: {said[:200]}") from None
    if name in names:
        raise StudyError(
            f"{place}: {text!r} holds a search named '{name}' already; give this one another name, or another storage"
        )
