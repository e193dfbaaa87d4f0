"""The journal: one JSON line for each event, appended as it happens. It is read back line by line, and every value is
checked before it is used: what a kill or a power cut left of a last line is not an event, anything else that is no
event is an error that names its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ressearch.errors import StudyError, nearest
from ressearch.results.schema import CURVES, TRIALS
from ressearch.results.status import Status

Event = dict[str, Any]

_LARGEST = 2**63


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_int(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(test(one) for one in value)


def _test(kind: pa.DataType) -> Callable[[Any], bool]:
    """Return what a value of a column has to pass."""
    if pa.types.is_list(kind):
        return _list_of(_test(kind.value_type))
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        return _is_int
    if pa.types.is_floating(kind):
        return _is_number
    return _is_truth if pa.types.is_boolean(kind) else _is_text


_COLUMNS = {field.name: _test(field.type) for field in TRIALS} | {"devices": _is_number, "examples": _is_int}
_POINT = {field.name: _test(field.type) for field in CURVES if field.name != "trial"}
_WRITTEN = [int if test is _is_int else float for test in _POINT.values()]
_MAPPINGS = ("recipe", "skip_options", "answers")
"""Columns that hold JSON of a mapping."""

_OF_START = (
    *("name", "params", "macs", "activations", "depth", "depths", "widths"),
    *("recipe", "seeds", "started_at"),
)

_ENDS = set(Status) - {Status.RUNNING}

_REQUIRED: dict[str, dict[str, Callable[[Any], bool]]] = {
    "session": {},
    "start": {key: _COLUMNS[key] for key in _OF_START},
    "reopen": {"at": _is_int},
    "epoch": {"results": _list_of(_is_mapping)},
    "end": {"status": lambda value: _is_text(value) and value in _ENDS, "ended_at": _is_int},
    "plan": {"phase": _is_text, "trials": _list_of(_is_int)},
    "finish": {"phase": _is_text, "reason": _is_text},
    "change": {"key": _is_text},
    "restore": {"row": _is_mapping, "curves": _list_of(_is_mapping)},
}
"""The kinds of events, and what each must hold."""

_OF_A_TRIAL = ("start", "reopen", "epoch", "end", "restore")


def check(event: Any) -> None:
    """Raise ValueError, with the key and what was expected, if a value is no event."""
    if not isinstance(event, dict):
        raise ValueError(f"expected a mapping, got {_short(event)}")
    kind = event.get("event")
    if not isinstance(kind, str) or kind not in _REQUIRED:
        raise ValueError(f"event: {_short(kind)} is unknown; {nearest(kind, _REQUIRED)}")
    required = {**_REQUIRED[kind], **({"trial": _is_trial} if kind in _OF_A_TRIAL else {})}
    for key, test in required.items():
        if key not in event or not test(event[key]):
            raise ValueError(f"{key}: {_short(event.get(key))} is not what '{kind}' needs")
    if event.get("at") is not None and not _is_int(event["at"]):
        raise ValueError(f"at: {_short(event['at'])} is no time in milliseconds")
    _check_columns(event["row"] if kind == "restore" else event)
    points = event.get("results" if kind == "epoch" else "curves", ())
    for point in points:
        if _is_usual(point):
            continue
        for key, test in _POINT.items():
            if key not in point or not test(point[key]):
                raise ValueError(f"{key}: {_short(point.get(key))} is not what an epoch needs")
    if kind == "epoch" and len({point["epoch"] for point in points}) != 1:
        raise ValueError("results: expected one or more seeds of one epoch")


def _is_usual(point: Mapping[str, Any]) -> bool:
    """Return whether an epoch's values are of the very types that are written: looked at quickly, for they are many."""
    if list(map(type, map(point.get, _POINT))) != _WRITTEN:
        return False
    return bool(-_LARGEST <= point["seed"] < _LARGEST and -_LARGEST <= point["epoch"] < _LARGEST)


def _is_trial(value: Any) -> bool:
    return _is_int(value) and value >= 0


def _check_columns(values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        test = _COLUMNS.get(key)
        if test is None or value is None:
            continue
        if not test(value):
            raise ValueError(f"{key}: {_short(value)} is not of the type of this column")
        if key in _MAPPINGS and not _is_mapping(_parsed(value)):
            raise ValueError(f"{key}: {_short(value)} is no JSON of a mapping")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def events(journal: Path) -> Iterator[tuple[int, Event]]:
    """Yield (line number, event) of a journal; a last line that was cut short is left out.

    Raises StudyError if the file cannot be read, or a line is no event.
    """
    try:
        lines = journal.read_bytes().split(b"\n")
    except OSError as error:
        raise StudyError(f"{journal}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                return
            raise StudyError(f"{journal}:{number}: damaged line: not valid JSON") from None
        try:
            check(event)
        except ValueError as error:
            raise StudyError(f"{journal}:{number}: damaged line: {error}") from None
        yield number, event


def mend_last_line(journal: Path) -> None:
    """Make the next event start a line of its own: end a last line that lacks its end, remove one that is no event."""
    with journal.open("rb+") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end == len(data):
            return
        try:
            json.loads(data[end:])
        except (ValueError, RecursionError):
            file.truncate(end)
        else:
            file.write(b"\n")
