"""YAML of which a study file needs little: mappings with text as keys, lists, text, finite numbers, true, false, null.

`load` reads it with the line of every key path and refuses what has no place there: tags, aliases, keys given twice,
brackets within brackets without end, numbers that no computer's float holds.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import yaml

from ressearch.limits import LARGEST_COUNT, short

Path = tuple[str | int, ...]

_DEEPEST = 20
"""Levels of brackets or indentation."""
_LONGEST_TEXT = 10_000
_LONGEST_NUMBER = 100


class YamlError(ValueError):
    """The text is not what a study file may hold; `line` counts from 1, `path` is the key's, where they are known."""

    def __init__(self, message: str, line: int | None = None, path: Path = ()) -> None:
        super().__init__(message)
        self.line, self.path = line, path


class Loaded(NamedTuple):
    """The value of a text, and the line of each key path in it."""

    value: Any
    lines: dict[Path, int]


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and everybody do, and dates as text."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value)} digits", node.start_mark
            )
        return super().construct_yaml_int(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def load(text: str) -> Loaded:
    """Read a text. Raises YamlError."""
    if (at := next((at for at, char in enumerate(text) if not _is_readable(char)), None)) is not None:
        line = text.count("\n", 0, at) + 1
        raise YamlError(f"not valid YAML: the character U+{ord(text[at]):04X} is not text", line)
    try:
        _refuse_what_has_no_place(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Loaded(None, {})
        lines: dict[Path, int] = {}
        _collect_lines(node, (), lines)
        value = loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise YamlError(f"not valid YAML: {problem}", mark.line + 1 if mark else None) from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"not valid YAML: {str(error).splitlines()[0]}") from None
    _require_plain(value, (), lines)
    return Loaded(value, lines)


def _is_readable(char: str) -> bool:
    """Return whether a character may stand in a study file: no control character, no half of one."""
    return char.isprintable() or char in "\n\r\t\x85\xa0\u2028\u2029\ufeff" or (char > "\xa0" and not _is_half(char))


def _is_half(char: str) -> bool:
    return "\ud800" <= char <= "\udfff" or char in "\ufffe\uffff"


def _refuse_what_has_no_place(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise YamlError(f"YAML aliases (*{event.anchor}) are not used in study files", line)
        if (tag := getattr(event, "tag", None)) is not None:
            name = tag.replace("tag:yaml.org,2002:", "!!")
            raise YamlError(f"YAML tags ({short(name)[1:-1]}) are not used in study files", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise YamlError(f"more than {_DEEPEST} levels of brackets or indentation", line)


def _collect_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value) if isinstance(key, yaml.ScalarNode) else "?")
            if here in lines:
                raise YamlError(f"given twice, first on line {lines[here]}", key.start_mark.line + 1, here)
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*path, index), lines)


def _require_plain(value: Any, path: Path, lines: dict[Path, int]) -> None:
    """Raise YamlError for what is no plain value: a number without end, a key that is not text, a text of pages."""
    problem = None
    if isinstance(value, dict):
        for key, nested in value.items():
            if not isinstance(key, str):
                hint = "; put it in quotes (yes, no, on and off mean true and false)" if isinstance(key, bool) else ""
                raise YamlError(f"the key {short(key)} is not text{hint}", lines.get(path), path)
            _require_plain(nested, (*path, key), lines)
    elif isinstance(value, list):
        for index, nested in enumerate(value):
            _require_plain(nested, (*path, index), lines)
    elif isinstance(value, float) and not math.isfinite(value):
        problem = f"{value} is not a finite number"
    elif isinstance(value, int | float) and abs(value) > LARGEST_COUNT:
        problem = f"{short(value)} is beyond {LARGEST_COUNT:.0e}, the largest number there can be"
    elif isinstance(value, str) and len(value) > _LONGEST_TEXT:
        problem = f"a text of {len(value)} characters; expected at most {_LONGEST_TEXT}"
    elif value is not None and not isinstance(value, bool | int | float | str):
        problem = f"a {type(value).__name__} is not used in study files"
    if problem is not None:
        above = (path[:end] for end in range(len(path), -1, -1))
        raise YamlError(problem, next((lines[one] for one in above if one in lines), None), path)


__all__ = ["Loaded", "YamlError", "load"]
