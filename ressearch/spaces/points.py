"""Points of a search space as numpy columns: what a trial would be asked, answered for many points at once.

A column holds what one `suggest_*` of `SearchSpace.suggest` would answer, by the same name (``block``, ``depths[0]``,
``scaled.alpha``): the index of a choice, or the number of a range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ressearch.spaces.domains import STAGED_KEYS, Choice, Domain, Matched, Range, is_per_stage, label
from ressearch.spaces.space import SearchSpace

Values = dict[str, NDArray[Any]]
"""Columns by the name of the question; a question that a point is not asked is answered by 0."""


@dataclass(frozen=True)
class Question:
    """One `suggest_*` of a space, and which points are asked it.

    Attributes:
        name: as a trial sees it.
        key: of the space.
        domain: what may be answered.
        parent: the choice that brings it, as (key, index); None if every point is asked.
        stage: the stage it is of, from 0; None if it is for all.
    """

    name: str
    key: str
    domain: Choice | Range
    parent: tuple[str, int] | None = None
    stage: int | None = None

    @property
    def is_endless(self) -> bool:
        """Whether a continuous range answers it."""
        domain = self.domain
        return isinstance(domain, Range) and (math.isinf(domain.size) or (domain.log and not domain.is_integer))

    def answer(self, column_value: Any) -> Any:
        """Return the value that stands in a column, as Python has it."""
        if isinstance(self.domain, Choice):
            return self.domain.values[int(column_value)]
        return int(column_value) if self.domain.is_integer else float(column_value)

    def every(self) -> NDArray[Any]:
        """Return the column's possible values, in grid order."""
        if isinstance(self.domain, Choice):
            return np.arange(len(self.domain.values))
        if self.domain.is_integer:
            return np.array(self.domain.values)
        return self.domain.low + (self.domain.step or 0.0) * np.arange(int(self.domain.size))

    def draw(self, random: np.random.Generator, count: int) -> NDArray[Any]:
        """Draw `count` values as `ressearch.spaces.trials.RandomTrial` does: evenly, ranges with `log` in the log."""
        domain = self.domain
        if isinstance(domain, Choice):
            return random.integers(len(domain.values), size=count)
        low, high = domain.low, domain.high
        if not domain.log:
            if self.is_endless:
                return random.uniform(low, high, count)
            return self.every()[random.integers(int(domain.size), size=count)]
        if domain.is_integer:
            drawn = np.exp(random.uniform(math.log(low - 0.5), math.log(high + 0.5), count))
            return np.clip(np.rint(drawn), low, high).astype(np.int64)
        return np.clip(np.exp(random.uniform(math.log(low), math.log(high), count)), low, high)


def questions(space: SearchSpace) -> list[Question]:
    """Return everything that `space` may ask, in its order: ranges over depths and widths last, stage by stage."""
    asked = []
    for key, domain in space.parameters.items():
        if isinstance(domain, Matched) or is_per_stage(key, domain):
            continue
        asked.append(Question(key, key, domain))
        if isinstance(domain, Choice):
            asked += _nested(key, domain)
    for key, domain in space.parameters.items():
        if isinstance(domain, Range) and is_per_stage(key, domain):
            asked += [Question(f"{key}[{stage}]", key, domain, stage=stage) for stage in range(_most_stages(space))]
    return asked


def _nested(key: str, choice: Choice) -> list[Question]:
    return [
        Question(f"{value}.{option}", key, nested, (key, index))
        for index, value in enumerate(choice.values)
        for option, nested in choice.options.get(value, {}).items()
        if not isinstance(nested, Matched)
    ]


def _most_stages(space: SearchSpace) -> int:
    domains = space.parameters
    if isinstance(stages := domains.get("stages"), Choice | Range):
        return int(max(stages.values))
    lists = [len(one) for key in STAGED_KEYS for one in _choices(domains.get(key)) if isinstance(one, tuple)]
    return max([space.default_stages, *lists])


def _choices(domain: Domain | None) -> tuple[Any, ...]:
    return domain.values if isinstance(domain, Choice) else ()


def stages_of(space: SearchSpace, values: Mapping[str, NDArray[Any]], count: int) -> NDArray[np.int64]:
    """Return how many stages each of `count` points has: as asked, else as the first list says, else the default."""
    domain = space.parameters.get("stages")
    if isinstance(domain, Range):
        return values["stages"].astype(np.int64)
    if isinstance(domain, Choice):
        chosen: NDArray[np.int64] = np.array(domain.values, np.int64)[values["stages"]]
        return chosen
    found = np.zeros(count, np.int64)
    for key in STAGED_KEYS:
        if choices := _choices(space.parameters.get(key)):
            lengths = np.array([len(one) if isinstance(one, tuple) else 0 for one in choices])
            found = np.where(found == 0, lengths[values[key]], found)
    return np.where(found == 0, space.default_stages, found)


def is_asked(question: Question, values: Mapping[str, NDArray[Any]], stages: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which points are asked a question, given the answers to those before it."""
    if question.parent is not None:
        key, index = question.parent
        asked: NDArray[np.bool_] = values[key] == index
        return asked
    return np.full(len(stages), True) if question.stage is None else stages > question.stage


def random_points(space: SearchSpace, count: int, seed: int) -> Values:
    """Draw `count` points, each answer evenly; some may be equal, and some no networks."""
    random = np.random.default_rng(seed)
    values: Values = {}
    stages: NDArray[np.int64] = np.zeros(count, np.int64)
    for question in questions(space):
        if question.stage == 0:
            stages = stages_of(space, values, count)
        drawn = question.draw(random, count)
        values[question.name] = np.where(is_asked(question, values, stages), drawn, 0)
    return values


def grid_points(space: SearchSpace) -> Values:
    """Return every point of a space without continuous ranges, in grid order: the last answer changes fastest."""
    values: Values = {}
    count, stages = 1, np.zeros(1, np.int64)
    for question in questions(space):
        if question.stage == 0:
            stages = stages_of(space, values, count)
        every = question.every()
        asked = is_asked(question, values, stages)
        repeats = np.where(asked, len(every), 1)
        position = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        values = {name: np.repeat(column, repeats) for name, column in values.items()}
        values[question.name] = np.where(np.repeat(asked, repeats), every[position], 0)
        stages = np.repeat(stages, repeats)
        count = len(stages)
    return values


def answers(asked: Sequence[Question], values: Mapping[str, NDArray[Any]], row: int) -> dict[str, Any]:
    """Return one point's answers by name, as a `FixedTrial` takes them."""
    return {
        question.name: label(question.answer(values[question.name][row]))
        for question in asked
        if question.parent is None or values[question.parent[0]][row] == question.parent[1]
    }
