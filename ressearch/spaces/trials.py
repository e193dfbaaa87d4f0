"""Trial-like objects that answer `suggest_*`: the three methods of `optuna.Trial` that a space calls, and stand-ins.

`RandomTrial` draws evenly, `GridTrial` walks every answer in turn, `Pinned` fixes one, `FixedTrial` repeats known ones.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ressearch.errors import SpaceError, nearest

T = TypeVar("T")


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


class Pinned:
    """A trial that answers one name with a given value and leaves the others to another trial."""

    def __init__(self, trial: Trial, name: str, value: Any) -> None:
        self._trial, self._name, self._value = trial, name, value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Answer, or pass the question on."""
        return self._value if name == self._name else self._trial.suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number between `low` and `high`, both included."""
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number between `low` and `high`."""
        return self._trial.suggest_float(name, low, high, step=step, log=log)


class FixedTrial:
    """A trial that gives known answers, by name, and leaves the other questions to another trial.

    Attributes:
        given: every answer that was given, known or not.
        unused: names of known answers that were not asked for.
    """

    def __init__(self, answers: Mapping[str, Any], trial: Trial | None = None) -> None:
        self._answers, self._trial = answers, trial
        self.given: dict[str, Any] = {}
        self.unused = set(answers)

    def _answer(self, name: str, is_possible: Callable[[Any], bool], expected: str, ask: Callable[[Trial], T]) -> T:
        if name in self._answers:
            self.unused.discard(name)
            answer: T = self._answers[name]
            if not is_possible(answer):
                raise SpaceError(f"{name}: {answer!r} is not in the space; {expected}", name)
        elif self._trial is None:
            raise SpaceError(f"{name}: no answer is known", name)
        else:
            answer = ask(self._trial)
        self.given[name] = answer
        return answer

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Answer, or pass the question on."""
        return self._answer(
            name,
            lambda answer: any(answer == choice and type(answer) is type(choice) for choice in choices),
            nearest(self._answers.get(name), choices),
            lambda trial: trial.suggest_categorical(name, choices),
        )

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Answer, or pass the question on."""
        return self._answer(
            name,
            lambda answer: type(answer) is int and low <= answer <= high and (answer - low) % step == 0,
            f"expected {low} to {high}" + (f" by {step}" if step > 1 else ""),
            lambda trial: trial.suggest_int(name, low, high, step=step, log=log),
        )

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Answer, or pass the question on."""
        return self._answer(
            name,
            lambda answer: type(answer) in (int, float) and _is_within(answer, low, high, step),
            f"expected {low:g} to {high:g}" + (f" by {step:g}" if step is not None else ""),
            lambda trial: trial.suggest_float(name, low, high, step=step, log=log),
        )


def _is_within(answer: float, low: float, high: float, step: float | None) -> bool:
    """Return whether a number is in a range; with a step, some steps above `low`, as far as floating point says."""
    if step is None:
        return low <= answer <= high
    steps = round((answer - low) / step)
    return 0 <= steps <= (high - low) / step + 1e-6 and math.isclose((answer - low) / step, steps, abs_tol=1e-6)


class GridTrial:
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
        """Choose one of `choices`."""
        return choices[self._decide(len(choices))]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number between `low` and `high`, both included."""
        return low + step * self._decide((high - low) // step + 1)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number between `low` and `high`."""
        assert step is not None
        return low + step * self._decide(math.floor((high - low) / step + 1e-9) + 1)
