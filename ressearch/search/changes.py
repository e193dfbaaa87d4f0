"""What of a study file may change before a study goes on: nothing by itself, and what only extends it when it is asked
for. A study whose recipe, space or data changed half way would compare networks that were not trained alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ressearch.data.registry import IN_MEMORY
from ressearch.errors import StudyError
from ressearch.results.run_file import STUDY_FILE
from ressearch.results.tables import Tables
from ressearch.search import documents
from ressearch.search.study import Study


class Change(NamedTuple):
    """A key of a study file that is not what the study began with."""

    key: str
    old: Any
    new: Any


def _is_more(old: Any, new: Any) -> bool:
    """Return whether a bound was raised, or lifted."""
    return old is not None and (new is None or new > old)


def _is_any(old: Any, new: Any) -> bool:
    return True


_EXTENDING: dict[str, Callable[[Any, Any], bool]] = {
    "search.trials": _is_more,
    "search.budget": _is_more,
    "search.finalists.count": _is_more,
    "resources": _is_any,
    "keep_weights": _is_any,
    "loggers": _is_any,
    "question": _is_any,
    # The split's fingerprint says whether the data are the same, wherever they lie.
    "data.root": _is_any,
    "data.memory": _is_any,
    "data.verify": _is_any,
}
"""Keys, or sections, that may change when it is asked for, and how."""

_OF_SEARCH = ("search.trials", "search.budget")


def changes_of_file(directory: Path, run: Mapping[str, Any]) -> list[Change]:
    """Return what a study's file says otherwise than what the study began with; the data are not looked at.

    Comments, order and layout make no difference. Raises StudyError if the file is no study file.
    """
    overrides = [f"{key}={value}" for key, value in run.get("overrides", {}).items()]
    document = documents.read(directory / STUDY_FILE, overrides)
    document.values.setdefault("name", run["name"])
    try:
        study = Study.from_values(document.values)
    except ValidationError:
        raise StudyError(f"{directory / STUDY_FILE}: is no study file of this version") from None
    return changes_of(study, json.loads(json.dumps(document.values, default=str)), run)


def changes_of(study: Study, stated: Mapping[str, Any], run: Mapping[str, Any]) -> list[Change]:
    """Return what a study says otherwise than what `run.json` says that it began with.

    A default that another version of the package has otherwise is no change: the file says what it said.

    Args:
        study: as its file is now.
        stated: what the file states, without defaults.
        run: of the study.
    """
    began = run.get("study")
    if not began:  # written by a version that did not record it
        return []
    old, new = _flat(began), _flat(study.model_dump(mode="json"))
    if set(new) - set(old):  # an older version did not know these keys: it ran with what are their defaults now
        try:
            old = {**_flat(Study.from_values(began).model_dump(mode="json")), **old}
        except ValidationError:
            old = {**{key: value for key, value in new.items() if key not in old}, **old}
    before = run.get("stated")
    return [
        Change(key, old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if not _same(old.get(key), new.get(key))
        and (_at(stated, key) is not None if before is None else _at(stated, key) != _at(before, key))
    ]


def _at(values: Any, key: str) -> Any:
    """Return what a file states of a dotted key: of itself, or of the key above that holds a value; else None."""
    for part in key.split("."):
        if not isinstance(values, Mapping):
            break
        values = values.get(part)
    return values


def _same(old: Any, new: Any) -> bool:
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _flat(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a mapping's values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        here = (*path, str(key))
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, here)
        else:
            flat[".".join(here)] = value
    return flat


def accept(study: Study, changes: list[Change], tables: Tables, is_asked: bool, directory: str | Path) -> None:
    """Raise StudyError if a study cannot go on with what has changed.

    Args:
        study: as it is to go on.
        changes: what it says otherwise than before.
        tables: what is on record.
        is_asked: changes that extend the study are asked for.
        directory: of the study, as the user names it.
    """
    if not changes:
        return
    elsewhere = f"put it back, or run the changed file into a new directory (`ressearch run {STUDY_FILE} --out NEW`)"
    for change in changes:
        if not _extends(change):
            raise StudyError(f"{_say(study, change)}; a study goes on as it began: {elsewhere}")
        later = sorted({row["phase"] for row in tables.trials.values()} - {"search"})
        if change.key.startswith(_OF_SEARCH) and later:
            raise StudyError(
                f"{_say(study, change)}; its search is closed, for trials of the phase '{later[-1]}' followed from it: "
                f"{elsewhere}"
            )
    if not is_asked:
        said = "; ".join(_say(study, change) for change in changes)
        raise StudyError(f"{said}: `ressearch resume {directory} --accept-changes` goes on so; else put it back")


def _extends(change: Change) -> bool:
    for key, test in _EXTENDING.items():
        if change.key == key or change.key.startswith(f"{key}."):
            return test(change.old, change.new)
    return False


def _say(study: Study, change: Change) -> str:
    return f"{study.place(*change.key.split('.'))}: {change.new!r}, but the study began with {change.old!r}"


def require_same_data(study: Study, run: Mapping[str, Any], directory: str | Path) -> None:
    """Raise StudyError if the data are not those that the study began with."""
    began, held = run.get("split_fingerprint"), run.get("data_content")
    is_same = not began or study.splits().fingerprint == began
    # What a file holds may be decoded a little otherwise elsewhere; arrays are handed over as they are.
    if study.data.name.startswith(IN_MEMORY) and held:
        is_same = is_same and study.dataset.content == held
    if not is_same:
        raise StudyError(
            f"{study.place('data', 'name')}: the examples of '{study.data.name}' are not those that {directory} began "
            "with; a study keeps its data: bring them back, or run into a new directory"
        )
