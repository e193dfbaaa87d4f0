"""Study files as text: YAML with the line of every key, overrides (``recipe.epochs=5``), and errors that name both."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ressearch.errors import StudyError

_LARGEST = 1_000_000
"""Bytes; a study file is a page of text."""

_SYNONYMS = {"learning_rate": "lr", "dataset": "name", "num_trials": "trials", "num_samples": "trials"}


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

    def place(self, path: Sequence[str | int]) -> str:
        """Return ``file:line: key`` for a key path, or ``--set key`` where an override put it."""
        path = tuple(path)
        dotted = ".".join(map(str, path))
        if any(override[: len(path)] == path for override in self.overrides):
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
        if file.stat().st_size > _LARGEST:
            raise StudyError(f"{path}: {file.stat().st_size} bytes is no study file (at most {_LARGEST})")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError) and file.parent.is_dir():
            close = difflib.get_close_matches(file.name, [one.name for one in file.parent.glob("*.y*ml")], n=1)
            hint = f"; did you mean '{file.parent / close[0]}'?" if close else ""
        raise StudyError(f"{path}: {(error.strerror or str(error)).lower()}{hint}") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: not a text file in UTF-8") from None
    return parse(text, str(path), overrides)


def parse(text: str, source: str, overrides: Sequence[str] = ()) -> Document:
    """Parse a study file's text; see `read`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _refuse_aliases(text, source)
        lines: dict[tuple[str | int, ...], int] = {}
        if node is not None:
            _collect_lines(node, (), lines, source)
        values = yaml.safe_load(text)
    except StudyError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise StudyError(f"{where}: not valid YAML: {problem}") from None
    except (RecursionError, ValueError) as error:
        raise StudyError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        kind = "nothing" if values is None else f"a {type(values).__name__}"
        raise StudyError(f"{source}: expected a mapping with the key 'space', got {kind}")
    document = Document(source, text, values, lines)
    for override in overrides:
        _apply(document, override)
    return document


def _refuse_aliases(text: str, source: str) -> None:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise StudyError(f"{source}:{line}: YAML aliases (*{event.anchor}) are not used in study files")


def _collect_lines(
    node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], source: str
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            if here in lines:
                raise StudyError(
                    f"{source}:{key.start_mark.line + 1}: {'.'.join(map(str, here))}: given twice, "
                    f"first on line {lines[here]}"
                )
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*path, index), lines, source)


def _apply(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise StudyError(f"--set {override}: expected key=value, such as recipe.epochs=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise StudyError(f"--set {override}: the value is not valid YAML") from None
    target: Any = document.values
    for place, part in enumerate(path[:-1]):
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            raise StudyError(f"--set {override}: '{'.'.join(path[: place + 1])}' holds a value, not keys")
    target[path[-1]] = value
    document.overrides[path] = text


def explain(error: ValidationError, document: Document, model: type[BaseModel]) -> StudyError:
    """Turn pydantic's first complaint into one line: place, value, what was expected, nearest name."""
    problems = error.errors()
    # An unknown key is often the misspelt one that another complaint misses.
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    path = tuple(part for part in problem["loc"] if not _is_tag(part))
    value = problem["input"]
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            known = _keys_at(model, problem["loc"][:-1])
            hint = _SYNONYMS.get(str(path[-1]), "")
            close = [hint] if hint in known else difflib.get_close_matches(str(path[-1]), known, n=1)
            message = "unknown key; " + (f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}")
        case "missing":
            message = "missing"
        case "literal_error":
            expected = str(problem["ctx"]["expected"])
            names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
            close = difflib.get_close_matches(str(value), names, n=1)
            message = f"{value!r} is not {expected}" + (f"; did you mean '{close[0]}'?" if close else "")
        case "value_error":
            pass
        case _:
            message = f"{_short(value)}: {message[0].lower()}{message[1:]}"
    return document.error(path, message)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the keys of the model that stands at a path of `model`."""
    current: Any = model
    for part in path:
        if _is_tag(part):
            forms = [typing.get_args(one)[0] if typing.get_args(one) else one for one in typing.get_args(current)]
            current = next((one for one in forms if getattr(one, "__name__", "") == str(part)[1:-1]), current)
            continue
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
            if path[-1] is not part and _is_tag(path[path.index(part) + 1]):
                continue
            options = typing.get_args(current) if _is_union(current) else (current,)
            models = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
            current = models[0] if models else current
    return list(current.model_fields) if hasattr(current, "model_fields") else []


def _is_tag(part: str | int) -> bool:
    """Return whether a part of a path is the name of a form, such as ``<Tune>``, that stands in no file."""
    return isinstance(part, str) and part.startswith("<")


def _is_union(annotation: Any) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
