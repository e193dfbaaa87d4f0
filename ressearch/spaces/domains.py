"""What a key of a search space may be: a choice, a range, or a width to be matched to a budget.

`read` turns what a study file says into a `Domain` and refuses values that describe no domain, naming the key.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ressearch.errors import SpaceError, nearest
from ressearch.limits import ARCHITECTURE, LARGEST_NUMBER, LEAST_STEP, MOST_CHOICES, MOST_STAGES, OPTION, Limit, short
from ressearch.networks.architecture import CHOICES, Architecture
from ressearch.networks.families import Match
from ressearch.networks.skips import skip_options
from ressearch.spaces.trials import Trial
from ressearch.units import parse_count

REGNET_KEYS = ("w0", "wa", "wm")
FAMILY_KEYS = ("depth", "blocks_per_stage", "width", "stages", *REGNET_KEYS)
"""Keys that are no Architecture fields: a few numbers stand for all stages (`ressearch.networks.families`)."""

FIELD_KEYS = tuple(field.name for field in dataclasses.fields(Architecture) if field.name != "skip_options")
KEYS = (*FIELD_KEYS, *FAMILY_KEYS)
"""Every key a space may hold."""

STAGED_KEYS = ("depths", "widths", "strides", "group_width", "bottleneck_ratio", "kernel_size")
"""Keys whose value may be a list, one number per stage."""

_ALWAYS_LISTS = ("depths", "widths", "strides")
_MAY_BE_NULL = ("group_width", "head_width")
_FLOAT_KEYS = ("bottleneck_ratio", "se_ratio", "dropout", "wa", "wm")


@dataclass(frozen=True)
class Choice:
    """One of some values; `options` holds the domains that come with a value."""

    values: tuple[Any, ...]
    options: Mapping[Any, Mapping[str, Domain]] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> float:
        """How many points the domain has."""
        return sum(math.prod(domain.size for domain in self.options.get(value, {}).values()) for value in self.values)

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask `trial` for one of the values (lists under a dotted label, which Optuna can store)."""
        if len(self.values) == 1:
            return self.values[0]
        labels = {label(value): value for value in self.values}
        return labels[trial.suggest_categorical(name, list(labels))]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, evenly or (with `log`) evenly in the logarithm."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def is_integer(self) -> bool:
        """Whether the range holds whole numbers only."""
        return all(isinstance(bound, int) for bound in (self.low, self.high, self.step or 1))

    @property
    def size(self) -> float:
        """How many points the domain has; infinite for a continuous range."""
        if self.is_integer:
            return (int(self.high) - int(self.low)) // int(self.step or 1) + 1
        return math.inf if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def values(self) -> tuple[int, ...]:
        """The whole numbers of the range."""
        return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask `trial` for a number of the range."""
        if self.low == self.high:
            return self.low
        if self.is_integer:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True)
class Matched:
    """A width that is no choice: it follows from the other keys and the cost it is to meet."""

    match: Match

    size = 1.0

    @property
    def values(self) -> tuple[Match, ...]:
        """The match, in place of a value."""
        return (self.match,)

    def suggest(self, trial: Trial, name: str) -> Match:
        """Ask nothing."""
        return self.match


Domain = Choice | Range | Matched


def label(value: Any) -> Any:
    """Return a choice's value as Optuna can store it."""
    return ".".join(map(str, value)) if isinstance(value, tuple | list) else value


def is_per_stage(key: str, domain: Domain) -> bool:
    """Return whether a domain is drawn once per stage."""
    return isinstance(domain, Range) and key in ("depths", "widths")


def read(key: str, value: Any) -> Domain:
    """Read one key's domain as written in a study file. Raises SpaceError naming the key."""
    if key not in KEYS:
        raise SpaceError(f"unknown key; {nearest(key, KEYS)}", key)
    if isinstance(value, Choice | Range | Matched):
        return value
    if isinstance(value, Mapping) and "match" in value:
        return _matched(key, value)
    if isinstance(value, Mapping) and ("low" in value or "high" in value):
        if key in CHOICES or key == "zero_gamma":
            known = CHOICES[key]() if key in CHOICES else ("true", "false")
            raise SpaceError(f"takes names, not a range; known: {', '.join(known)}", key)
        return _range(key, value, is_integer=key not in _FLOAT_KEYS)
    is_one_list = key in _ALWAYS_LISTS and not _is_list_of_lists(value)
    listed = value if isinstance(value, list | tuple) and not is_one_list else [value]
    if not listed:
        raise SpaceError("has no choices: the space is empty", key)
    if len(listed) > MOST_CHOICES:
        raise SpaceError(f"{len(listed)} choices are above {MOST_CHOICES}, the most there can be", key)
    options: dict[Any, dict[str, Domain]] = {}
    values = [_choice(key, item, options) for item in listed]
    return Choice(tuple(dict.fromkeys(values)), options)


def _is_list_of_lists(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(item, list | tuple) for item in value)


def _choice(key: str, item: Any, options: dict[Any, dict[str, Domain]]) -> Any:
    """Check one value of a choice; a mapping ``{name: {option: domain}}`` puts its domains into `options`."""
    if key == "skip" and isinstance(item, Mapping) and len(item) == 1:
        name, nested = next(iter(item.items()))
        _choice(key, name, options)
        options[name] = _options(name, nested)
        return name
    if key in CHOICES:
        if not isinstance(item, str) or item not in CHOICES[key]():
            raise SpaceError(f"{short(item)} is unknown; {nearest(item, CHOICES[key]())}", key)
        return item
    if key == "zero_gamma":
        if not isinstance(item, bool):
            raise SpaceError(f"{short(item)} is not true or false", key)
        return item
    if isinstance(item, list | tuple):
        if key not in STAGED_KEYS:
            raise SpaceError(f"{short(list(item))} is a list; expected one number", key)
        if not item or any(isinstance(part, list | tuple) or part is None for part in item):
            raise SpaceError(f"{short(list(item))} is not a list of numbers, one per stage", key)
        if len(item) > MOST_STAGES:
            raise SpaceError(f"{len(item)} stages are above {MOST_STAGES}, the most there can be", key)
        return tuple(_choice(key, part, options) for part in item)
    if item is None and key in _MAY_BE_NULL:
        return None
    is_number = isinstance(item, int | float) and not isinstance(item, bool)
    if not is_number or (key not in _FLOAT_KEYS and not isinstance(item, int)):
        kind = "number of at least 0" if key in _FLOAT_KEYS else "whole number of at least 1"
        raise SpaceError(f"{short(item)} is not a {kind}", key)
    _require_within(key, item, ARCHITECTURE[key])
    return item


def _require_within(key: str, number: float, limit: Limit, part: str = "") -> None:
    """Raise SpaceError for a number beyond its limit; `part` says which of the key's, such as ``low: ``."""
    if (why := limit.refusal(number)) is not None:
        raise SpaceError(f"{part}{why}", key)


def _options(skip: str, nested: Any) -> dict[str, Domain]:
    known = skip_options(skip)
    if not isinstance(nested, Mapping):
        raise SpaceError(f"'{skip}': expected its options, such as {{name: value}}, got {short(nested)}", "skip")
    domains: dict[str, Domain] = {}
    for option, value in nested.items():
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise SpaceError(f"{short(option)} is no option of '{skip}'; {hint}", "skip")
        limit = ARCHITECTURE.get(option, OPTION)
        if isinstance(value, Mapping):
            whole = all(isinstance(value.get(part, 1), int) for part in ("low", "high", "step"))
            is_integer = whole and value.get("step") is not None
            try:
                domains[option] = _range("skip", value, is_integer=is_integer, limit=limit)
            except SpaceError as error:
                raise SpaceError(f"{skip}.{option}: {error}", error.key) from None
            continue
        numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise SpaceError(f"{skip}.{option}: {short(number)} is not a number", "skip")
            _require_within("skip", number, limit, f"{skip}.{option}: ")
        if not 1 <= len(numbers) <= MOST_CHOICES:
            raise SpaceError(f"{skip}.{option}: {len(numbers)} choices; expected 1 to {MOST_CHOICES}", "skip")
        domains[option] = Choice(numbers)
    return domains


_MATCHED_COSTS = ("params", "macs", "activations")


def _matched(key: str, value: Mapping[str, Any]) -> Matched:
    if key != "width":
        raise SpaceError("only 'width' can be matched to a cost", key)
    known = ("match", "target", "tolerance")
    for part in value:
        if part not in known:
            raise SpaceError(f"{short(part)} is no part of a matched width; {nearest(part, known)}", key)
    if not isinstance(value["match"], str) or value["match"] not in _MATCHED_COSTS:
        raise SpaceError(f"match: {short(value['match'])} is unknown; {nearest(value['match'], _MATCHED_COSTS)}", key)
    if "target" not in value:
        raise SpaceError("target: missing; a matched width needs a count such as 40M", key)
    try:
        target = parse_count(value["target"])
    except ValueError as error:
        raise SpaceError(f"target: {error}", key) from None
    tolerance = value.get("tolerance", 0.02)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise SpaceError(f"tolerance: {short(tolerance)} is not a fraction between 0 and 1", key)
    return Matched(Match(value["match"], target, float(tolerance)))


def _range(key: str, value: Mapping[str, Any], *, is_integer: bool, limit: Limit | None = None) -> Range:
    known = ("low", "high", "step", "log")
    for part in value:
        if part not in known:
            raise SpaceError(f"{short(part)} is no part of a range; {nearest(part, known)}", key)
    for part in ("low", "high"):
        if part not in value:
            raise SpaceError(f"the range has no '{part}'", key)
    low, high, step, log = value["low"], value["high"], value.get("step"), value.get("log", False)
    for part, number in (("low", low), ("high", high), ("step", step)):
        if part == "step" and number is None:
            continue
        wanted = int if is_integer else int | float
        if isinstance(number, bool) or not isinstance(number, wanted):
            raise SpaceError(f"{part}: {short(number)} is not a {'whole ' if is_integer else ''}number", key)
        if part != "step":
            _require_within(key, number, limit or ARCHITECTURE[key], f"{part}: ")
    if low > high:
        raise SpaceError(f"the range is upside down: low {low} is above high {high}", key)
    if step is not None and not LEAST_STEP <= step <= LARGEST_NUMBER:
        raise SpaceError(f"step: {short(step)} is not within {LEAST_STEP:g} and {LARGEST_NUMBER:g}", key)
    if not isinstance(log, bool):
        raise SpaceError(f"log: {short(log)} is not true or false", key)
    if log and (low <= 0 or step not in (None, 1)):
        raise SpaceError("log needs a low above 0 and no step", key)
    return Range(low, high, step, log) if is_integer else Range(float(low), float(high), step, log)
