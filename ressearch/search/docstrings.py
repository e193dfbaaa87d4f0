"""What docstrings say, for people who never see the code: the first line, and the texts of attributes and arguments."""

from __future__ import annotations

import inspect
import re

_ENTRY = re.compile(r" {4}(\w+(?:, \w+)*): (.*)")


def first_line(documented: object) -> str:
    """Return the first line of a docstring, as Markdown."""
    return _markdown((inspect.getdoc(documented) or "").partition("\n")[0])


def texts_of(documented: object) -> dict[str, str]:
    """Return what a docstring's ``Attributes`` or ``Args`` say, by name, as Markdown; names that share a text have it.

    Example:
        >>> class Stay:
        ...     '''A stay.
        ...
        ...     Attributes:
        ...         first, last: days; None
        ...             is not known yet.
        ...     '''
        >>> texts_of(Stay)
        {'first': 'days; null is not known yet.', 'last': 'days; null is not known yet.'}
    """
    found: dict[str, list[str]] = {}
    current: list[str] = []
    is_inside = False
    for line in (inspect.getdoc(documented) or "").splitlines():
        if not line.startswith(" "):
            is_inside = line in ("Attributes:", "Args:") or (is_inside and not line)
        elif is_inside and (entry := _ENTRY.fullmatch(line)):
            current = [entry[2]]
            found |= dict.fromkeys(entry[1].split(", "), current)
        elif is_inside and line.strip():
            current.append(line.strip())
    return {name: _markdown(" ".join(parts)) for name, parts in found.items()}


def _markdown(text: str) -> str:
    """Return a text of a docstring with Markdown's marks, and with YAML's word for None."""
    return re.sub(r"\bNone\b", "null", text.replace("``", "`"))


__all__ = ["first_line", "texts_of"]
