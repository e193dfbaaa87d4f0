"""Points of a study's space, drawn without replacement: none twice, none beyond the constraints."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from ressearch.errors import ArchitectureError, BudgetError, SpaceError
from ressearch.limits import LISTED_POINTS
from ressearch.networks.architecture import Architecture
from ressearch.search.neighbours import Noted
from ressearch.search.study import Study
from ressearch.spaces.answers import answers_of
from ressearch.spaces.trials import FixedTrial, GridTrial, RandomTrial, Trial

_DRAWS, _RARE_DRAWS = 200, 20_000
"""How many draws may be refused before what is left of a small space is listed, or of a large one none is found."""

Point = tuple[Architecture, float | None]
"""What a trial trains: an architecture and, where rates are tuned, a learning rate."""


class Found(NamedTuple):
    """A point, and the answers that lead to it."""

    point: Point
    noted: Noted


class Drawing:
    """Asks trial-like objects for points of a study's space and knows which were seen.

    Args:
        study: whose space, constraints and learning rates.
        is_quick: whether a network is fast enough.

    Attributes:
        seen: points that are not new.
    """

    def __init__(self, study: Study, is_quick: Callable[[Architecture], bool]) -> None:
        self._space, self._lrs, self._seed = study.search_space, study.recipe.lrs, study.seed
        self.is_quick = is_quick
        self.seen: set[Point] = set()
        self._left: list[dict[str, Any]] | None = None

    def point(self, trial: Trial) -> Point | None:
        """Ask a trial for a point; None if it is no network, beyond the constraints, or not of the space."""
        try:
            architecture = self._space.suggest(trial)
            lr = trial.suggest_categorical("lr", self._lrs) if len(self._lrs) > 1 else self._lrs[0]
        except (ArchitectureError, BudgetError, SpaceError):
            return None
        return (architecture, lr) if self.is_quick(architecture) else None

    def found(self, trial: Trial) -> Found | None:
        """Ask a trial for a point, new or not, and note its answers."""
        noted = Noted(trial)
        point = self.point(noted)
        return None if point is None else Found(point, noted)

    def fresh(self, trial: Trial) -> Found | None:
        """Ask a trial for a point; None if it is none, or not new."""
        found = self.found(trial)
        return None if found is None or found.point in self.seen else found

    def expressed(self, point: Point) -> Found | None:
        """Return the answers that lead to a point; None if the space, within its constraints, cannot express it."""
        answers = answers_of(self._space, point[0])
        if answers is None:
            return None
        found = self.found(FixedTrial({**answers, "lr": point[1]}))
        return found if found is not None and found.point == point else None

    def draw(self, chance: random.Random) -> Found | None:
        """Return a fresh point drawn evenly from all; of a space that is nearly spent, one of those left, else None."""
        trial = RandomTrial(chance.getrandbits(64))
        is_small = self._space.size <= LISTED_POINTS
        for _ in range(_DRAWS if is_small else _RARE_DRAWS):
            found = self.fresh(trial)
            if found is not None:
                return found
        if is_small and self._left is None:
            self._left = self._remaining()
        while self._left:
            found = self.fresh(FixedTrial(self._left[-1]))
            if found is not None:
                return found
            self._left.pop()
        return None

    def _remaining(self) -> list[dict[str, Any]]:
        """Return the answers of every fresh point, in an order that the study's seed shuffles."""
        left: dict[Point, dict[str, Any]] = {}
        walk = GridTrial()
        while walk.next():
            for lr in self._lrs:
                found = self.fresh(FixedTrial({"lr": lr} if len(self._lrs) > 1 else {}, walk))
                if found is not None:
                    left.setdefault(found.point, found.noted.params)
        return sorted(left.values(), key=lambda params: random.Random(f"{self._seed}:{json.dumps(params)}").random())
