"""Study files as text: values with the line of each key, overrides (``recipe.epochs=5``), errors that name both."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ressearch.errors import StudyError
from ressearch.limits import short
from ressearch.search import plain_yaml
from ressearch.texts import UnreadableError, read_text

_LARGEST = 200_000
"""Bytes; a study file is a page of text."""


@dataclass
class Document:
    """A study file's values, and where each came from.

    Attributes:
        source: the file's path, as the user named it.
        text: the file, verbatim.
        values: the mapping, overrides applied.
        lines: line number, from 1, of each key path.
        overrides: the value, as typed, of each overridden key path.
    """

    source: str
    text: str
    values: dict[str, Any]
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    overrides: dict[tuple[str | int, ...], str] = field(default_factory=dict)

    def position(self, error: Exception) -> int:
        """Return the line that an error of this document names; 0 where it names none, as overrides do."""
        found = re.match(re.escape(self.source) + r":(\d+):", str(error))
        return int(found[1]) if found else 0

    def place(self, path: Sequence[str | int]) -> str:
        """Return ``file:line: key`` for a key path, or ``--set key`` where an override put it."""
        path = tuple(path)
        dotted = ".".join(map(str, path))
        if path and any(override[: len(path)] == path for override in self.overrides):
            return f"--set {dotted}"
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return f"--set {dotted}"
            if path[:end] in self.lines:
                return f"{self.source}:{self.lines[path[:end]]}: {dotted}"
        return f"{self.source}: {dotted}" if dotted else self.source

    def error(self, path: Sequence[str | int], message: str) -> StudyError:
        """Return an error that starts with the place of a key path."""
        return StudyError(f"{self.place(path)}: {message}")


def read(path: str | Path, overrides: Sequence[str] = ()) -> Document:
    """Read a study file and apply overrides, each ``key.path=value`` with a YAML value.

    Raises StudyError if the file is missing, not YAML, or not a mapping, or an override has no ``=``.
    """
    file = Path(path)
    try:
        text = read_text(file, _LARGEST)
    except FileNotFoundError:
        near = [one.name for one in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        close = difflib.get_close_matches(file.name[:80], near, n=1)
        hint = f"; did you mean '{file.parent / close[0]}'?" if close else ""
        raise StudyError(f"{path}: no such file or directory{hint}") from None
    except UnreadableError as error:
        raise StudyError(f"{path}: is no study file: {error}") from None
    return parse(text, str(path), overrides)


def parse(text: str, source: str, overrides: Sequence[str] = ()) -> Document:
    """Parse a study file's text; see `read`."""
    try:
        values, lines = plain_yaml.load(text)
    except plain_yaml.YamlError as error:
        where = f"{source}:{error.line}" if error.line else source
        dotted = f"{'.'.join(map(str, error.path))}: " if error.path else ""
        raise StudyError(f"{where}: {dotted}{error}") from None
    if not isinstance(values, dict):
        kind = "nothing" if values is None else f"a {type(values).__name__}"
        raise StudyError(f"{source}: expected a mapping with the key 'space', got {kind}")
    document = Document(source, text, values, lines)
    for override in overrides:
        apply(document, override)
    return document


def apply(document: Document, override: str) -> None:
    """Put what ``key.path=value`` says into a document's values. Raises as `read`."""
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise StudyError(f"--set {short(override)[1:-1]}: expected key=value, such as recipe.epochs=5")
    try:
        value = plain_yaml.load(text).value
    except plain_yaml.YamlError as error:
        raise StudyError(f"--set {key}={short(text)[1:-1]}: {error}") from None
    target: Any = document.values
    for place, part in enumerate(path[:-1]):
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            raise StudyError(f"--set {short(override)[1:-1]}: '{'.'.join(path[: place + 1])}' holds a value, not keys")
    target[path[-1]] = value
    document.overrides[path] = text
