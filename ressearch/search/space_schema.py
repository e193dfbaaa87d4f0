"""The JSON Schema of a space: what each key may be, as `ressearch.spaces.domains.read` takes it."""

from __future__ import annotations

from typing import Any

from ressearch.errors import SpaceError
from ressearch.limits import ARCHITECTURE, LARGEST_NUMBER, LEAST_STEP, MOST_CHOICES, MOST_STAGES, OPTION, Limit
from ressearch.networks.architecture import CHOICES, Architecture
from ressearch.networks.cost import Cost
from ressearch.networks.skips import SKIPS, skip_options
from ressearch.search.docstrings import first_line, texts_of
from ressearch.spaces.domains import KEYS, read
from ressearch.units import COUNT_PATTERN

Schema = dict[str, Any]

_TEXTS = {
    "depth": "the papers' depth: weighted layers on the main path; with `w0`, `wa`, `wm` RegNet's: blocks.",
    "blocks_per_stage": "blocks of every stage.",
    "width": "output channels of the first stage, doubled at each later one; or `{match: macs, target: 40M}`.",
    "stages": "number of stages.",
    "w0": "RegNet's first width, a multiple of 8.",
    "wa": "RegNet's growth of the width from block to block.",
    "wm": "RegNet's factor between the widths of stages, above 1.",
}
"""The keys that are no fields of an Architecture."""


def space_schema() -> Schema:
    """Return what `space.grid` and `space.search` may be: keys with a value, a list of choices, or a range."""
    texts = texts_of(Architecture) | _TEXTS
    properties = {key: {"description": texts[key], "anyOf": _forms(key)} for key in KEYS}
    return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}


def skip_schema() -> Schema:
    """Return what a choice of `skip` with options of its own may be, such as ``{scaled: {alpha: [0.1, 1.0]}}``."""
    styles = {
        name: {
            "description": first_line(style),
            "type": "object",
            "properties": {option: _option(option, default) for option, default in skip_options(name).items()},
            "additionalProperties": False,
        }
        for name, style in SKIPS.items()
    }
    return {
        "type": "object",
        "properties": styles,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _forms(key: str) -> list[Schema]:
    """Return the forms that the value of a key may have."""
    if key in CHOICES:
        names: Schema = {"enum": list(CHOICES[key]())}
        named = [names, {"$ref": "#/definitions/skip"}] if key == "skip" else [names]
        return [*named, _several({"anyOf": named})]
    if _takes(key, True):
        return [{"type": "boolean"}, _several({"type": "boolean"})]
    limit = ARCHITECTURE[key]
    is_whole = not _takes(key, limit.least + 0.5)
    number = _number(limit, is_whole)
    per_stage = {"type": "array", "items": number, "minItems": 1, "maxItems": MOST_STAGES}
    is_list = _takes(key, [[1, 1]]) and read(key, [1, 2]).values == ((1, 2),)
    if is_list:
        forms = [number, per_stage, _several(per_stage)]
    else:
        one = [
            number,
            *([per_stage] if _takes(key, [[1, 1]]) else []),
            *([{"type": "null"}] if _takes(key, None) else []),
        ]
        forms = [*(form for form in one if form is not per_stage), _several({"anyOf": one})]
    costs = [name for name in Cost._fields if _takes(key, {"match": name, "target": "1M"})]
    return [*forms, _range(number), *([_match(costs)] if costs else [])]


def _takes(key: str, value: Any) -> bool:
    """Return whether a space takes a value for a key."""
    try:
        read(key, value)
    except SpaceError:
        return False
    return True


def _several(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": MOST_CHOICES}


def _number(limit: Limit, is_whole: bool) -> Schema:
    return {"type": "integer" if is_whole else "number", "minimum": limit.least, "maximum": limit.most}


def _range(number: Schema) -> Schema:
    """Return the form ``{low: 8, high: 32, step: 4}``."""
    step = {"type": number["type"], "minimum": LEAST_STEP, "maximum": LARGEST_NUMBER}
    return {
        "type": "object",
        "properties": {
            "low": {"description": "the least, included.", **number},
            "high": {"description": "the most, included.", **number},
            "step": {"description": "between two values.", "anyOf": [step, {"type": "null"}]},
            "log": {"description": "drawn evenly in the logarithm.", "type": "boolean"},
        },
        "required": ["low", "high"],
        "additionalProperties": False,
    }


def _match(costs: list[str]) -> Schema:
    """Return the form ``{match: macs, target: 40M}``."""
    target = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": COUNT_PATTERN}]}
    return {
        "type": "object",
        "properties": {
            "match": {"description": "the cost that every network is to meet.", "enum": costs},
            "target": {"description": "a count, such as `40M`.", **target},
            "tolerance": {
                "description": "the largest deviation, as a share of the target.",
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "default": 0.02,
            },
        },
        "required": ["match", "target"],
        "additionalProperties": False,
    }


def _option(option: str, default: float) -> Schema:
    """Return what an option of a skip style may be."""
    number = _number(ARCHITECTURE.get(option, OPTION), is_whole=False)
    return {"default": default, "anyOf": [number, _several(number), _range(number)]}


__all__ = ["skip_schema", "space_schema"]
