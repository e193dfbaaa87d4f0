"""What can go wrong because of an input, one class a kind. The command line prints one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RessearchError(ValueError):
    """Base of every error that a user can mend; its text is one line and needs no traceback."""


class ArchitectureError(RessearchError):
    """The fields do not describe a network."""


class SpaceError(RessearchError):
    """The search space is empty, upside down or names something that does not exist; `key` says where, if known."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class StudyError(RessearchError):
    """The study file, or a study directory, cannot be used."""


class DataError(RessearchError):
    """A data set is unknown, missing or damaged."""


class MissingDataError(DataError):
    """A data set's files are not on this machine; the text says where they were looked for and how to get them."""


class BudgetError(RessearchError):
    """Nothing fits the budget."""


class ResourceError(RessearchError):
    """The study asks for more than the machine has."""


def nearest(name: object, known: Iterable[object]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known name, or the list of known names if none is near."""
    names = [str(item) for item in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"


def first_line(problem: BaseException) -> str:
    """Return the first line of what an exception says, of at most 300 characters."""
    return (str(problem).strip().splitlines() or ["no message"])[0][:300]
