"""The JSON Schema of study files, for editors: keys are completed, explained and checked while a file is written.

Types, bounds and choices come from `Study` itself, texts from the docstrings' Attributes, names from the registries.
The keys of a space are told by `ressearch.search.space_schema`. A schema sees one value at a time: what
`ressearch check` refuses because values do not go together, or do not suit the data, passes here.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from ressearch.data import AUGMENTATIONS, DATASETS, Options
from ressearch.limits import LONGEST_NAME, MOST_SEEDS
from ressearch.results.ranking import OBJECTIVES
from ressearch.search.docstrings import first_line, texts_of
from ressearch.search.loggers import LOGGERS
from ressearch.search.options import options_of
from ressearch.search.samplers import SAMPLERS
from ressearch.search.schedulers import SCHEDULERS
from ressearch.search.space_schema import skip_schema, space_schema
from ressearch.search.study import Study
from ressearch.units import COUNT_PATTERN, DURATION_PATTERN, SIZE_PATTERN

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"
"""What editors' language servers understand whole."""

_LINE = 120

_TEXTS = {
    "name": "the study's name, and its directory's under `runs/` [the file's name].",
    "question": "what the study is to answer; the report shows it.",
    "seed": "fixes the split of the data and everything that is drawn at random.",
    "space": "the networks: `grid` trains every combination, `search` draws from them.",
    "data": "the data set, how it is read, and which parts are held out.",
    "recipe": "how each network is trained.",
    "search": "how networks are proposed, stopped and judged.",
    "resources": "what a trial gets.",
    "keep_weights": "which trained weights are kept, for `export` to write without training again.",
    "loggers": "other tools to write for.",
    "plugins": "Python files (paths start from the study file) and modules with blocks, skips, ... of one's own.",
}
"""The keys that no docstring lists."""


def schema_text() -> str:
    """Return the schema as the text of a file."""
    return _text(study_schema()) + "\n"


def _text(value: Any, indent: str = "") -> str:
    """Return a value as JSON, on one line wherever it fits."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _LINE or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + _text(one, deeper) for one in value) + f"\n{indent}]"
    parts = (f"{deeper}{json.dumps(key)}: {_text(one, deeper)}" for key, one in value.items())
    return "{\n" + ",\n".join(parts) + f"\n{indent}}}"


def study_schema() -> Schema:
    """Return the schema, with the names that are registered in this process."""
    generated = Study.model_json_schema(schema_generator=_Generator, mode="validation")
    study = _inlined(generated, generated.pop("$defs", {}))
    sections = study["properties"]
    samplers: dict[str, Callable[..., Any]] = {
        "grid": _every_network,
        **{name: one.make for name, one in SAMPLERS.items()},
    }
    _put(sections["search"], "sampler", _named(samplers), may_be_null=True)
    _put(sections["search"], "scheduler", _named(SCHEDULERS))
    _put(sections["search"], "objective", _one_or_several(list(OBJECTIVES)))
    _put(sections["search"], "points", {"type": "array", "items": {"type": ["object", "string"]}})
    _put(sections["recipe"], "augmentation", {"type": "array", "items": {"enum": list(AUGMENTATIONS)}})
    _put(study, "loggers", _one_or_several(list(LOGGERS)))
    names = [name if kind.argument is None else f"{name}:{kind.argument}" for name, kind in DATASETS.items()]
    sections["data"]["properties"]["name"]["examples"] = names
    forms = {"grid": "every combination of these is trained.", "search": "networks are drawn from these."}
    sections["space"]["properties"] = {
        form: {"description": text, "allOf": [{"$ref": "#/definitions/space"}]} for form, text in forms.items()
    }
    sections["space"]["oneOf"] = [{"required": [form]} for form in forms]
    definitions = {"space": space_schema(), "skip": skip_schema()}
    return {"$schema": DIALECT, "title": "A study of ressearch", **study, "definitions": definitions}


def _every_network() -> None:
    """Every network of the space, in order."""


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, told what the validators take that run before a value's type is looked at."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        """Return a model's schema, its keys described by its docstring."""
        model, found = schema["cls"], super().model_schema(schema)
        texts = texts_of(model)
        if (options := "see `ressearch.data.Options`.") in texts.values():
            texts |= {name: text for name, text in texts_of(Options).items() if texts.get(name) == options}
        if model is Study:
            texts = _TEXTS | texts
        for name, text in texts.items():
            if name in found["properties"]:
                found["properties"][name]["description"] = text
        return {**found, "description": first_line(model)}

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Schema:
        """Return what a value may be before such a validator has made it what the model holds.

        Raises LookupError for a validator that has no entry in `_BEFORE`.
        """
        inner = super().function_before_schema(schema)
        return _BEFORE[schema["function"]["function"].__name__](inner)


def _quantity(pattern: str) -> Callable[[Schema], Schema]:
    """Return how a quantity is written: a number, or a text such as ``40M``."""
    return lambda inner: {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": pattern}]}


_BEFORE: dict[str, Callable[[Schema], Schema]] = {
    "parse_count": _quantity(COUNT_PATTERN),
    "parse_size": _quantity(SIZE_PATTERN),
    "parse_duration": _quantity(DURATION_PATTERN),
    "parse_milliseconds": _quantity(DURATION_PATTERN),
    "_true_is_no_number": lambda inner: inner,
    "_to_mapping": lambda inner: {"anyOf": [{"type": "string"}, inner]},
    "to_trials": lambda inner: {"anyOf": [{"enum": ["best", "finalists", "all", "none"]}, inner]},
    "to_tuple": lambda inner: {"anyOf": [inner["items"], inner]},
    "to_name": lambda inner: {**inner, "minLength": 1, "maxLength": LONGEST_NAME, "pattern": r"^[^/\\]*$"},
    "_count_to_seeds": lambda inner: {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MOST_SEEDS},
            {**inner, "minItems": 1, "uniqueItems": True},
        ]
    },
}
"""What the validators take that run before a value's type is looked at, by their names."""


def _inlined(schema: Any, definitions: Mapping[str, Schema]) -> Any:
    """Return a schema with definitions in the place of references to them.

    Draft 7 ignores what stands beside a reference, descriptions among it. Generated titles, and defaults of whole
    sections, which their keys state too, are left out.
    """
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = {"title", "$ref", "properties", *(["default"] if isinstance(schema.get("default"), dict) else [])}
    found = {key: _inlined(value, definitions) for key, value in schema.items() if key not in left_out}
    if "properties" in schema:
        found["properties"] = {name: _inlined(one, definitions) for name, one in schema["properties"].items()}
    if "$ref" in schema:
        found = {**_inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions), **found}
    return found


def _put(section: Schema, key: str, value: Schema, may_be_null: bool = False) -> None:
    """Put what a key of a section may be in the place of what its type says; text and default stay."""
    kept = {name: text for name, text in section["properties"][key].items() if name in ("description", "default")}
    forms = {"anyOf": [{"type": "null"}, *value["anyOf"]]} if may_be_null else value
    section["properties"][key] = {**kept, **forms}


def _one_or_several(names: list[str]) -> Schema:
    return {"anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}}]}


def _named(makers: Mapping[str, Callable[..., Any]]) -> Schema:
    """Return what a sampler or scheduler may be: a name, or a mapping of its name and the options of its maker."""
    forms: list[Schema] = []
    for name, make in makers.items():
        options = {option: _option(make, option, hint) for option, hint in options_of(make).items()}
        properties = {"name": {"const": name}, **options}
        forms += [
            {"const": name, "description": first_line(make)},
            {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False},
        ]
    return {"anyOf": forms}


def _option(make: Callable[..., Any], option: str, hint: Any) -> Schema:
    default = inspect.signature(make).parameters[option].default
    return {**TypeAdapter(hint).json_schema(), "default": default}


__all__ = ["DIALECT", "schema_text", "study_schema"]
