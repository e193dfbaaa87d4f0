"""The proposer: what Ray Tune asks for the next architecture. It walks the grid, or asks an Optuna study and tells it
what each trial reached. Networks that exceed the budget, describe nothing, or were proposed before are not proposed."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from ressearch.architecture import Architecture
from ressearch.cost import cost
from ressearch.errors import ArchitectureError, BudgetError
from ressearch.proposals import RandomTrial
from ressearch.search.samplers import SAMPLERS
from ressearch.search.study import OBJECTIVES, Study

_ASKS = 200
"""Proposals of the sampler that may be refused before one is drawn at random instead."""


_DIRECTIONS = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}


class Proposer(Searcher):
    """Proposes a study's architectures, in the order of the grid or as Optuna's sampler chooses."""

    def __init__(self, study: Study) -> None:
        objective = study.search.objective
        super().__init__(metric=objective[0], mode=OBJECTIVES[objective[0]])
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # TPE's `group`, which conditional keys need, has been marked experimental since Optuna 2.8.
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._study = study
        self._proposed = 0
        self._seen: set[tuple[Architecture, float | None]] = set()
        self._asked: dict[str, tuple[optuna.Trial, Architecture]] = {}
        self._grid: Iterator[tuple[Architecture, float | None]] | None = None
        if study.space.form == "grid":
            self._grid = itertools.product(study.search_space.enumerate(), study.recipe.lrs)
            return
        named = study.search.sampler
        sampler = SAMPLERS[named.name if named else "tpe"](study.seed, **(named.options if named else {}))
        directions = [_DIRECTIONS[OBJECTIVES[name]] for name in objective]
        self._optuna = optuna.create_study(directions=directions, sampler=sampler)
        self._random = RandomTrial(study.seed)

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal, which loses no trial."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's number and architecture, or FINISHED."""
        if self._proposed >= self._study.planned_trials:
            return Searcher.FINISHED
        architecture, lr = next(self._grid) if self._grid is not None else self._ask(trial_id)
        self._seen.add((architecture, lr))
        self._proposed += 1
        return {"trial": self._proposed - 1, "architecture": architecture.to_dict(), "lr": lr}

    def _ask(self, trial_id: str) -> tuple[Architecture, float | None]:
        space, lrs = self._study.search_space, self._study.recipe.lrs
        for _ in range(_ASKS):
            trial = self._optuna.ask()
            try:
                architecture = space.suggest(trial)
            except (ArchitectureError, BudgetError):
                self._optuna.tell(trial, state=TrialState.FAIL)
                continue
            lr: Any = trial.suggest_categorical("lr", lrs) if len(lrs) > 1 else lrs[0]
            if (architecture, lr) in self._seen:
                self._optuna.tell(trial, state=TrialState.FAIL)
                continue
            self._asked[trial_id] = (trial, architecture)
            return architecture, lr
        # The sampler insists on what was refused: take a fresh network at random, as a search's start does.
        for _ in range(_ASKS):
            point = space.sample_one(self._random), self._random.suggest_categorical("lr", lrs)
            if point not in self._seen:
                return point
        return next((one for one in itertools.product(space.enumerate(), lrs) if one not in self._seen), point)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass the first objective's value after each epoch on (single-objective samplers read it)."""
        if trial_id in self._asked and self.metric in result and len(self._study.search.objective) == 1:
            self._asked[trial_id][0].report(result[self.metric], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna what the trial reached: its objectives, pruned early, or failed."""
        if trial_id not in self._asked:
            return
        trial, architecture = self._asked.pop(trial_id)
        if error or not result or self.metric not in result:
            self._optuna.tell(trial, state=TrialState.FAIL)
        elif result["epoch"] < self._study.recipe.epochs and len(self._study.search.objective) == 1:
            self._optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self._optuna.tell(trial, [self._value(name, architecture, result) for name in self._study.search.objective])

    def _value(self, objective: str, architecture: Architecture, result: dict[str, Any]) -> float:
        if objective in result:
            return float(result[objective])
        space = self._study.search_space
        return float(getattr(cost(architecture, space.input_shape, space.num_classes), objective))
