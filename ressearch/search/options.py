"""The options of a sampler or a scheduler: the arguments of the function that makes it, and what each may be."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ressearch.errors import nearest
from ressearch.search.explain import sentence

_NOT_OPTIONS = ("seed", "metric", "mode", "epochs", "return")


def options_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the options that a maker takes, with their annotations."""
    hints = typing.get_type_hints(make, include_extras=True)
    return {name: hint for name, hint in hints.items() if name not in _NOT_OPTIONS}


def problem_with(name: str, make: Callable[..., Any], given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the first option given to `name` that its maker does not take, and why; None if all are well."""
    known = options_of(make)
    for option, value in given.items():
        if option not in known:
            return option, f"no option of '{name}'; {nearest(option, known) if known else 'it has none'}"
        try:
            TypeAdapter(known[option]).validate_python(value, strict=True)
        except ValidationError as error:
            return option, sentence(error.errors()[0], (option,))
    return None
