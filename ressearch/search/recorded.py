"""What the columns of a trial on record that hold JSON say: its recipe, and what its sampler answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ressearch.errors import StudyError
from ressearch.training import Recipe


def recipe_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's recipe as values by key. Raises StudyError if it is none."""
    values = _mapping(row, "recipe")
    for key in ("lr", "epochs"):
        if not isinstance(values.get(key), int | float | dict):
            raise StudyError(f"trial {row.get('trial')}: what is on record is no recipe: {key} is missing or no number")
    return values


def recipe_of(row: Mapping[str, Any]) -> Recipe:
    """Return a trial's recipe. Raises StudyError if it is none."""
    try:
        return Recipe.model_validate(recipe_values(row))
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"])) or "its keys do not go together"
        raise StudyError(f"trial {row.get('trial')}: what is on record is no recipe: {key}") from None


def answers_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sampler answered for each key of the space. Raises StudyError if that is no mapping."""
    return _mapping(row, "answers")


def _mapping(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    try:
        values = json.loads(row[column])
    except (ValueError, TypeError, KeyError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise StudyError(f"trial {row.get('trial')}: what is on record in '{column}' is no mapping")
    return values


__all__ = ["answers_of", "recipe_of", "recipe_values"]
