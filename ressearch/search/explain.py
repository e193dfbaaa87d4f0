"""What is wrong with a study's values, in words: every complaint of pydantic's as one sentence a person can act on."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from ressearch.limits import short

_SYNONYMS = {"learning_rate": "lr", "dataset": "name", "num_trials": "trials", "num_samples": "trials"}

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "set": "a list",
    "dict": "keys and values",
    "mapping": "keys and values",
    "model": "keys and values",
}
"""What was expected, by how pydantic names its complaint."""

_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "of at most"),
}

Path = tuple[str | int, ...]


def complaints(error: ValidationError, model: type[BaseModel]) -> list[tuple[Path, str]]:
    """Return every complaint as its key path and a sentence; one that follows from another is left out.

    Args:
        error: what pydantic raised.
        model: the model that was asked.
    """
    problems = error.errors()
    found: dict[tuple[Path, str], None] = {}
    for problem in problems:
        path = tuple(part for part in problem["loc"] if not _is_tag(part))
        if problem["type"] == "missing" and _is_misspelt(path, problems):
            continue
        found[path, sentence(problem, path, model)] = None
    return list(found)


def _is_misspelt(path: Path, problems: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a key that is missing stands beside an unknown one that it was meant to be."""
    unknown = [one["loc"] for one in problems if one["type"] == "extra_forbidden"]
    beside = [loc[-1] for loc in unknown if tuple(part for part in loc[:-1] if not _is_tag(part)) == path[:-1]]
    return any(_close(str(one), [str(path[-1])]) for one in beside)


def _close(text: str, names: Sequence[str]) -> list[str]:
    """Return the names that a text may have been meant to be, the likeliest first; of a page its beginning is read."""
    return difflib.get_close_matches(text[:80], names)


def sentence(problem: Mapping[str, Any], path: Path, model: type[BaseModel] = BaseModel) -> str:
    """Say one problem that pydantic found, at a key's path of a model, so that a person knows what to write."""
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys_at(model, problem["loc"][:-1])
        hint = _SYNONYMS.get(str(path[-1]), "")
        close = [hint] if hint in known else _close(str(path[-1]), known)
        return "unknown key; " + (f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}")
    if kind == "missing":
        return "missing"
    if kind == "literal_error":
        expected = str(context["expected"]).replace("True", "true").replace("False", "false")
        names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
        close = _close(value, names) if isinstance(value, str) else []
        return f"{short(value)} is not {expected}" + (f"; did you mean '{close[0]}'?" if close else "")
    if kind == "value_error":
        return " ".join(str(problem["msg"]).removeprefix("Value error, ").split())
    if kind in _BOUNDS:
        key, said = _BOUNDS[kind]
        return f"{short(value)}: expected a number {said} {_bound(context[key])}"
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return f"{short(value)}: expected {bound} items"
    if kind == "int_from_float" or kind == "finite_number":
        return f"{short(value)} is not a {'whole' if kind == 'int_from_float' else 'finite'} number"
    expected = _EXPECTED.get(str(kind).split("_")[0], "")
    return f"{short(value)} is not {expected}" if expected else f"{short(value)}: {str(problem['msg']).lower()}"


def _bound(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


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
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _is_union(annotation: Any) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union


__all__ = ["complaints", "sentence"]
