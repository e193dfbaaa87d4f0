"""SearchSpace: choices and ranges over Architecture fields, sampled define-by-run, bounded by a budget.

A space maps keys to domains. Keys are Architecture's fields and four that describe uniform families: ``depth`` (the
papers' depth), ``blocks_per_stage``, ``width`` (of the first stage, doubled at each later one) and ``stages``. A
domain is one value, a list of choices, or a range ``{low, high, step, log}`` as in Optuna's ``suggest_*``. A range over
``depths`` or ``widths`` is drawn for each stage. A choice may bring options of its own:
``skip: [identity, {scaled: {alpha: {low: 0.1, high: 1.0}}}]``.

Points that describe no network, or that cost more than the budget, are never proposed.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ressearch.architecture import CHOICES, Architecture
from ressearch.cost import Budget, Cost, cost
from ressearch.errors import ArchitectureError, BudgetError, SpaceError, nearest
from ressearch.families import depths_for, widths_for
from ressearch.layers import Shape
from ressearch.skips import skip_options

FAMILY_KEYS = ("depth", "blocks_per_stage", "width", "stages")
_FIELD_NAMES = tuple(field.name for field in dataclasses.fields(Architecture) if field.name != "skip_options")
KEYS = (*_FIELD_NAMES, *FAMILY_KEYS)
"""Every key a space may hold."""

_STAGED = ("depths", "widths", "strides", "group_width")
_EXCLUSIVE = (
    ("depth", "depths"),
    ("depth", "blocks_per_stage"),
    ("blocks_per_stage", "depths"),
    ("width", "widths"),
)
_ATTEMPTS = 2000


NO_BUDGET = Budget()


class Trial(Protocol):
    """What a space needs of a sampler: three methods of `optuna.Trial`."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of `choices`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number between `low` and `high`, both included."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number between `low` and `high`."""


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
        labels = {_label(value): value for value in self.values}
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

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask `trial` for a number of the range."""
        if self.low == self.high:
            return self.low
        if self.is_integer:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


Domain = Choice | Range


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Networks to choose among.

    Args:
        parameters: domains by key, as in a study file: ``{"block": ["basic", "bottleneck"], "depth": [20, 56],
            "width": {"low": 8, "high": 32, "step": 8}}``.
        budget: bounds on cost; dearer points are never proposed.
        input_shape: (channels, height, width) of the data, for costs.
        num_classes: classes of the data, for costs.

    Raises:
        SpaceError: a key or value is unknown, a range is upside down, or nothing in the space is a network.
        BudgetError: nothing in the space fits the budget.

    Example:
        >>> space = SearchSpace({"depth": [8, 20], "skip": ["none", "identity"], "width": 8})
        >>> space.size, [network.depth for network in space.enumerate()]
        (4, [8, 8, 20, 20])
    """

    parameters: Mapping[str, Any]
    budget: Budget = NO_BUDGET
    input_shape: Shape = (3, 32, 32)
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if not self.parameters:
            raise SpaceError("the space is empty: name at least one choice, such as depth: [8, 20]")
        object.__setattr__(self, "parameters", {key: _domain(key, value) for key, value in self.parameters.items()})
        for one, other in _EXCLUSIVE:
            if one in self.parameters and other in self.parameters:
                raise SpaceError(f"{one} and {other} say the same thing: keep one", other)
        self._require_networks()

    @property
    def size(self) -> float:
        """How many points the space has, networks or not; `math.inf` if a range is continuous."""
        staged = {key: domain for key, domain in self.parameters.items() if _is_per_stage(key, domain)}
        counts = [domain.size for key, domain in self.parameters.items() if key not in staged and key != "stages"]
        stages = self.parameters.get("stages", Choice((self._default_stages,)))
        per_stages = sum(math.prod(domain.size**count for domain in staged.values()) for count in _values(stages))
        return math.prod(counts) * per_stages

    @property
    def _default_stages(self) -> int:
        lengths = {
            len(value)
            for key in _STAGED
            for value in _values(self.parameters.get(key, Choice(())))
            if isinstance(value, tuple)
        }
        return lengths.pop() if len(lengths) == 1 else 3

    def suggest(self, trial: Trial) -> Architecture:
        """Draw one network, define-by-run, from an `optuna.Trial` or anything with its ``suggest_*`` methods.

        Raises ArchitectureError if the point drawn describes no network, BudgetError if it is too dear.
        """
        architecture, price = self._network(trial)
        if not self.budget.allows(price):
            raise BudgetError(f"{architecture.name} costs {price}, more than {self.budget}")
        return architecture

    def _network(self, trial: Trial) -> tuple[Architecture, Cost]:
        """Draw one network and its cost; costing it also proves that its fields fit each other and the input."""
        architecture = self._draw(trial)
        return architecture, cost(architecture, self.input_shape, self.num_classes)

    def _draw(self, trial: Trial) -> Architecture:
        drawn: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for key, domain in self.parameters.items():
            if _is_per_stage(key, domain):
                continue
            drawn[key] = domain.suggest(trial, key)
            if isinstance(domain, Choice):
                for option, nested in domain.options.get(drawn[key], {}).items():
                    options[option] = nested.suggest(trial, f"{drawn[key]}.{option}")
        stages = drawn.pop("stages", None) or next(
            (len(drawn[key]) for key in _STAGED if isinstance(drawn.get(key), tuple)), self._default_stages
        )
        for key, domain in self.parameters.items():
            if _is_per_stage(key, domain):
                drawn[key] = tuple(domain.suggest(trial, f"{key}[{stage}]") for stage in range(stages))
        return assemble(drawn, stages, options)

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every distinct network within the budget, in grid order: the last key varies fastest.

        Raises SpaceError if a range is continuous: then there is no end of them.
        """
        if math.isinf(self.size):
            raise SpaceError("a continuous range has no end of networks: give it a step, or sample")
        seen = set()
        path = _Path()
        while path.next():
            try:
                architecture = self.suggest(path)
            except (ArchitectureError, BudgetError):
                continue
            if architecture not in seen:
                seen.add(architecture)
                yield architecture

    def sample(self, n: int, seed: int = 0) -> list[Architecture]:
        """Draw `n` networks at random, each key evenly; the same seed gives the same list.

        Raises BudgetError if what fits the budget is too rare to be found.
        """
        trial = RandomTrial(seed)
        return [self.sample_one(trial) for _ in range(n)]

    def sample_one(self, trial: Trial) -> Architecture:
        """Draw from `trial` until a network within the budget is found. Raises as `sample` does."""
        problem: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self.suggest(trial)
            except (ArchitectureError, BudgetError) as error:
                problem = error
        if isinstance(problem, BudgetError):
            raise BudgetError(f"nothing in the space fits the budget ({self.budget}); {self._cheapest()}")
        raise SpaceError(f"nothing in the space is a network: {problem}")

    def filter(
        self, max_params: int | None = None, max_macs: int | None = None, max_activations: int | None = None
    ) -> SearchSpace:
        """Return the space without the networks that cost more.

        Raises BudgetError if nothing is left.
        """
        given = {"max_params": max_params, "max_macs": max_macs, "max_activations": max_activations}
        changes = {key: bound for key, bound in given.items() if bound is not None}
        return dataclasses.replace(self, budget=dataclasses.replace(self.budget, **changes))

    def _cheapest(self) -> str:
        unbounded = dataclasses.replace(self, budget=NO_BUDGET)
        prices = [cost(one, self.input_shape, self.num_classes) for one in unbounded.sample(200)]
        least = {field: min(getattr(price, field) for price in prices) for field in self.budget.bounds}
        return "the cheapest seen has " + ", ".join(f"{field} {count}" for field, count in least.items())

    def _require_networks(self) -> None:
        """Refuse a choice that no network of the space can have, and a budget that nothing fits."""
        for key, domain in self.parameters.items():
            for value in domain.values if isinstance(domain, Choice) else ():
                pinned = _Pinned(RandomTrial(0), key, _label(value))
                if (problem := self._problem(pinned)) is not None:
                    blamed = (one for one in self.parameters if str(problem).startswith((f"{one}:", f"{one} ")))
                    raise SpaceError(str(problem), next(blamed, key))
        self.sample_one(RandomTrial(0))

    def _problem(self, trial: Trial) -> ArchitectureError | None:
        """Return why none of many draws from `trial` is a network, or None if one is."""
        problem = None
        for _ in range(200):
            try:
                self._network(trial)
            except ArchitectureError as error:
                problem = error
            else:
                return None
        return problem


def assemble(drawn: Mapping[str, Any], stages: int, options: Mapping[str, float] | None = None) -> Architecture:
    """Return the Architecture of some fields and family keys (`depth`, `blocks_per_stage`, `width`).

    Raises ArchitectureError if they describe no network.
    """
    fields = {key: value for key, value in drawn.items() if key not in FAMILY_KEYS}
    block = fields.get("block", Architecture.block)
    if "depth" in drawn:
        fields["depths"] = depths_for(drawn["depth"], block, stages)
    elif "depths" not in fields:
        fields["depths"] = (drawn.get("blocks_per_stage", 3),) * stages
    if "widths" not in fields:
        fields["widths"] = widths_for(drawn.get("width", 16), stages)
    return Architecture(**fields, skip_options=options or {})  # type: ignore[arg-type]


class RandomTrial:
    """Draws every suggestion evenly at random; a stand-in for `optuna.Trial` where no history matters."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of `choices`."""
        return self._random.choice(list(choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number between `low` and `high`, both included."""
        if log:
            drawn = math.exp(self._random.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return min(high, max(low, round(drawn)))
        return low + step * self._random.randint(0, (high - low) // step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number between `low` and `high`."""
        if log:
            return math.exp(self._random.uniform(math.log(low), math.log(high)))
        if step is not None:
            return low + step * self._random.randint(0, math.floor((high - low) / step + 1e-9))
        return self._random.uniform(low, high)


class _Pinned:
    """A trial that answers one name with a given value and leaves the others to another trial."""

    def __init__(self, trial: Trial, name: str, value: Any) -> None:
        self._trial, self._name, self._value = trial, name, value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._value if name == self._name else self._trial.suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._trial.suggest_float(name, low, high, step=step, log=log)


class _Path:
    """Walks every path through a define-by-run space, depth first: the last decision changes fastest."""

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._sizes: list[int] = []
        self._position = 0
        self._is_started = False

    def next(self) -> bool:
        """Move to the next path; False after the last."""
        if self._is_started:
            while self._taken and self._taken[-1] == self._sizes[-1] - 1:
                self._taken.pop()
                self._sizes.pop()
            if not self._taken:
                return False
            self._taken[-1] += 1
        self._is_started = True
        self._position = 0
        return True

    def _decide(self, size: int) -> int:
        if self._position == len(self._taken):
            self._taken.append(0)
            self._sizes.append(size)
        self._position += 1
        return self._taken[self._position - 1]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[self._decide(len(choices))]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return low + step * self._decide((high - low) // step + 1)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        assert step is not None
        return low + step * self._decide(math.floor((high - low) / step + 1e-9) + 1)


def _label(value: Any) -> Any:
    return ".".join(map(str, value)) if isinstance(value, tuple) else value


def _values(domain: Domain) -> tuple[Any, ...]:
    if isinstance(domain, Choice):
        return domain.values
    return tuple(range(int(domain.low), int(domain.high) + 1, int(domain.step or 1)))


def _is_per_stage(key: str, domain: Domain) -> bool:
    return isinstance(domain, Range) and key in ("depths", "widths")


_INTEGER_KEYS = (*FAMILY_KEYS, "depths", "widths", "strides", "group_width", "kernel_size", "stem_width")
_FLOAT_KEYS = ("bottleneck_ratio", "se_ratio")


def _domain(key: str, value: Any) -> Domain:
    """Read one key's domain as written in a study file. Raises SpaceError naming the key."""
    if key not in KEYS:
        raise SpaceError(f"unknown key; {nearest(key, KEYS)}", key)
    if isinstance(value, Choice | Range):
        return value
    if isinstance(value, Mapping) and ("low" in value or "high" in value):
        if key in CHOICES:
            raise SpaceError(f"takes names, not a range; known: {', '.join(CHOICES[key]())}", key)
        return _range(key, value, is_integer=key in _INTEGER_KEYS)
    is_one_list = key in ("depths", "widths", "strides") and not _is_list_of_lists(value)
    listed = value if isinstance(value, list | tuple) and not is_one_list else [value]
    if not listed:
        raise SpaceError("has no choices: the space is empty", key)
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
        if item not in CHOICES[key]():
            raise SpaceError(f"'{item}' is unknown; {nearest(item, CHOICES[key]())}", key)
        return item
    if isinstance(item, list | tuple):
        if key not in _STAGED:
            raise SpaceError(f"{list(item)!r} is a list; expected one number", key)
        return tuple(_choice(key, part, options) for part in item)
    if item is None and key == "group_width":
        return None
    is_number = isinstance(item, int | float) and not isinstance(item, bool)
    if key in _INTEGER_KEYS and not (is_number and isinstance(item, int) and item >= 1):
        raise SpaceError(f"{item!r} is not a whole number of at least 1", key)
    if key in _FLOAT_KEYS and not (is_number and item >= 0):
        raise SpaceError(f"{item!r} is not a number of at least 0", key)
    return item


def _options(skip: str, nested: Any) -> dict[str, Domain]:
    known = skip_options(skip)
    if not isinstance(nested, Mapping):
        raise SpaceError(f"'{skip}': expected its options, such as {{name: value}}, got {nested!r}", "skip")
    for option in nested:
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise SpaceError(f"'{option}' is no option of '{skip}'; {hint}", "skip")
    return {
        option: _range("skip", value, is_integer=False)
        if isinstance(value, Mapping)
        else Choice(tuple(value) if isinstance(value, list | tuple) else (value,))
        for option, value in nested.items()
    }


def _range(key: str, value: Mapping[str, Any], *, is_integer: bool) -> Range:
    known = ("low", "high", "step", "log")
    for part in value:
        if part not in known:
            raise SpaceError(f"'{part}' is no part of a range; {nearest(part, known)}", key)
    for part in ("low", "high"):
        if part not in value:
            raise SpaceError(f"the range has no '{part}'", key)
    low, high, step, log = value["low"], value["high"], value.get("step"), value.get("log", False)
    for part, number in (("low", low), ("high", high), ("step", step)):
        if part == "step" and number is None:
            continue
        wanted = int if is_integer else int | float
        if isinstance(number, bool) or not isinstance(number, wanted) or not math.isfinite(number):
            raise SpaceError(f"{part}: {number!r} is not a {'whole ' if is_integer else ''}number", key)
    if low > high:
        raise SpaceError(f"the range is upside down: low {low} is above high {high}", key)
    if is_integer and low < 1:
        raise SpaceError(f"low: {low} is below 1", key)
    if step is not None and step <= 0:
        raise SpaceError(f"step: {step} is not above 0", key)
    if not isinstance(log, bool):
        raise SpaceError(f"log: {log!r} is not true or false", key)
    if log and (low <= 0 or step not in (None, 1)):
        raise SpaceError("log needs a low above 0 and no step", key)
    return Range(low, high, step, log) if is_integer else Range(float(low), float(high), step, log)
