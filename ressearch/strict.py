"""What the sections of a study file have in common: unknown keys are refused, and true is no number."""

from __future__ import annotations

import json
import typing
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from ressearch.limits import short


class Section(BaseModel):
    """A part of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false, which pydantic would take for 1 and 0, where they are not what is asked for."""
        field = cls.model_fields.get(str(info.field_name))
        if field is not None and _holds_bool(value) and not _takes_bool(field.annotation):
            said = short(json.dumps(value, default=str))[1:-1]
            raise ValueError(f"{said}: expected a number or a text, not true or false")
        return value


def _holds_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_holds_bool, value)))


def _takes_bool(annotation: Any) -> bool:
    """Return whether a type takes true and false somewhere, or anything at all."""
    if annotation is bool or annotation is Any or isinstance(annotation, bool):
        return True
    return any(_takes_bool(one) for one in typing.get_args(annotation))
