"""What can go wrong because of an input, one class a kind. The command line prints one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ressearch.limits import short


class RessearchError(ValueError):
    """Base class of all errors that a user can fix. The text has one line per mistake, and says all that is needed."""

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each mistake."""
        return (" ".join(str(self).split()),)


class ArchitectureError(RessearchError):
    """The fields do not describe a network."""


class SpaceError(RessearchError):
    """The search space is empty, upside down or names something that does not exist; `key` says where, if known."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class StudyError(RessearchError):
    """The study file, or a study directory, cannot be used."""


class StudyErrors(StudyError):
    """Several mistakes in one study file, each with its line."""

    def __init__(self, errors: Iterable[RessearchError]) -> None:
        self._lines = tuple(dict.fromkeys(line for error in errors for line in error.lines))
        super().__init__("\n".join(self._lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each mistake."""
        return self._lines


class DataError(RessearchError):
    """A data set is unknown, missing or damaged."""


class MissingDataError(DataError):
    """A data set's files are not on this machine; the text says where they were looked for and how to get them."""


class BudgetError(RessearchError):
    """Nothing fits the budget."""


class RegistryError(RessearchError):
    """A name is taken already, or is no name."""


class PluginError(RessearchError):
    """A plugin is missing, was changed, cannot be loaded, or may not run."""


class ResourceError(RessearchError):
    """The study asks for more than the machine has."""


def nearest(name: object, known: Iterable[object]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known name, or the list of known names if none is near."""
    names = [str(item) for item in known]
    # A long text is near to nothing, and comparing it takes the square of its length.
    close = difflib.get_close_matches(name[:80] if isinstance(name, str) else short(name), names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"


def first_line(problem: BaseException) -> str:
    """Return the first line of what an exception says, of at most 300 characters."""
    return (str(problem).strip().splitlines() or ["no message"])[0][:300]
