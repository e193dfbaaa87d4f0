"""Networks near a proposal: what is trained instead where a sampler proposes what was proposed before, or no network.

A sampler that has found a good region asks for the same points again and again. Asking it again costs time and
changes nothing, and a network drawn anywhere else loses what it knows. So some of its answers are changed a little:
numbers by some steps, choices to another one; the rest stays.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ressearch.spaces.trials import FixedTrial, RandomTrial, Trial

_SPREAD = 0.1
"""Standard deviation of a change of a continuous answer, as a share of its range."""


class Noted:
    """A trial that passes every question on and notes the answer and what it was chosen from, as Optuna stores them.

    Attributes:
        params: answers by name.
        distributions: what each was chosen from.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Pass on and note."""
        self.distributions[name] = CategoricalDistribution(choices)
        self.params[name] = self._trial.suggest_categorical(name, choices)
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Pass on and note."""
        self.distributions[name] = IntDistribution(low, high, log=log, step=step)
        self.params[name] = answer = self._trial.suggest_int(name, low, high, step=step, log=log)
        return answer

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Pass on and note."""
        self.distributions[name] = FloatDistribution(low, high, log=log, step=step)
        self.params[name] = answer = self._trial.suggest_float(name, low, high, step=step, log=log)
        return answer


def neighbour(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], changes: int, chance: random.Random
) -> Noted:
    """Return a trial that answers as `params` but for a few answers, which are changed a little.

    Args:
        params: answers by name.
        distributions: what each was chosen from.
        changes: how many are changed.
        chance: draws which, and to what; also what a change makes a space ask that `params` does not answer.
    """
    near = dict(params)
    can_change = sorted(name for name, distribution in distributions.items() if not distribution.single())
    for name in chance.sample(can_change, min(changes, len(can_change))):
        near[name] = _changed(near[name], distributions[name], chance)
    return Noted(FixedTrial(near, RandomTrial(chance.getrandbits(32))))


def _changed(value: Any, distribution: BaseDistribution, chance: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        index = distribution.to_internal_repr(value)
        return chance.choice([one for at, one in enumerate(distribution.choices) if at != index])
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None or distribution.log:
        moved = _moved(value, low, high, distribution.log, chance)
        return min(int(high), max(int(low), _other(value, moved))) if isinstance(low, int) else moved
    last = math.floor((high - low) / step + 1e-9)
    at = round((value - low) / step)
    steps = 1
    while steps < last and chance.random() < 0.5:
        steps += 1
    possible = [one for one in (at - steps, at + steps) if 0 <= one <= last] or [one for one in (0, last) if one != at]
    return low + step * chance.choice(possible)


def _moved(value: float, low: float, high: float, is_log: bool, chance: random.Random) -> float:
    if is_log:
        width = math.log(high / low)
        return min(high, max(low, value * math.exp(chance.gauss(0, _SPREAD * width))))
    return min(high, max(low, value + chance.gauss(0, _SPREAD * (high - low))))


def _other(value: int, moved: float) -> int:
    """Return the whole number nearest to `moved` that is another one."""
    rounded = round(moved)
    return rounded if rounded != value else value + (1 if moved >= value else -1)
