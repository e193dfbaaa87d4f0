"""CMA-ES that keeps its state in this process: Optuna's own pickles it into the storage and unpickles what it finds
there, so that whoever can write a study directory could have a resumed study run code.

The state follows from the trials: after a resume it is made again by telling a new optimizer each generation in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cmaes
import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

_SOLUTION, _GENERATION = "x_for_tell", "cmawm:generation"


class CmaEs(optuna.samplers.CmaEsSampler):
    """Optuna's CMA-ES with margin (Hamano et al. 2022); nothing is pickled and nothing unpickled."""

    def __init__(self, seed: int, n_startup_trials: int, sigma0: float | None) -> None:
        super().__init__(
            seed=seed,
            n_startup_trials=n_startup_trials,
            with_margin=True,
            warn_independent_sampling=False,
        )
        self._sigma0 = sigma0  # as an argument it warns of its removal in Optuna 6
        self._kept: cmaes.CMAwM | None = None

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the optimizer asks for; made again where the ranges that all trials share have changed."""
        if self._kept is not None and self._kept.dim != len(search_space):
            self._kept = None
        if self._kept is None and search_space:
            self._retell(study, search_space)
        return super().sample_relative(study, trial, search_space)

    def _retell(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> None:
        """Make the optimizer again from the generations that have ended."""
        completed = self._get_trials(study)
        if len(completed) < self._n_startup_trials:
            return
        space = _SearchSpaceTransform(search_space, transform_step=False, transform_0_1=True)
        optimizer = self._init_optimizer(space, study.direction)
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        while True:
            told = [one for one in completed if _is_solution(one, optimizer.generation, optimizer.dim)]
            # The last generation is told by the next proposal, as in a search that was not stopped.
            following = any(one.system_attrs.get(_GENERATION) == optimizer.generation + 1 for one in completed)
            if len(told) < optimizer.population_size or not following:
                return
            chosen = told[: optimizer.population_size]
            optimizer.tell([(np.array(one.system_attrs[_SOLUTION]), sign * one.values[0]) for one in chosen])

    def _init_optimizer(self, trans: _SearchSpaceTransform, direction: StudyDirection) -> cmaes.CMAwM:
        self._kept = super()._init_optimizer(trans, direction)
        return self._kept

    def _restore_optimizer(self, completed_trials: Sequence[FrozenTrial]) -> cmaes.CMAwM | None:
        return self._kept

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        """Store nothing of the optimizer."""
        return {}


def _is_solution(trial: FrozenTrial, generation: int, dimensions: int) -> bool:
    attributes: Mapping[str, Any] = trial.system_attrs
    solution = attributes.get(_SOLUTION)
    return attributes.get(_GENERATION) == generation and isinstance(solution, list) and len(solution) == dimensions
