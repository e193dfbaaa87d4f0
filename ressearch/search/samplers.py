"""Samplers by name: which Optuna sampler proposes the next architecture. To add one, write a function here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna

Factory = Callable[..., optuna.samplers.BaseSampler]

SAMPLERS: dict[str, Factory] = {}
"""Optuna samplers by name; each factory takes a seed and options."""


def sampler(name: str) -> Callable[[Factory], Factory]:
    """Register a factory as sampler `name`."""

    def register(factory: Factory) -> Factory:
        SAMPLERS[name] = factory
        return factory

    return register


@sampler("random")
def random(seed: int) -> optuna.samplers.BaseSampler:
    """Evenly at random: the baseline every search must beat (Li and Talwalkar 2019)."""
    return optuna.samplers.RandomSampler(seed=seed)


@sampler("tpe")
def tpe(
    seed: int, n_startup_trials: int = 10, multivariate: bool = True, **options: Any
) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate and grouped for conditional keys."""
    return optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=n_startup_trials,
        multivariate=multivariate,
        group=multivariate,
        # Running trials count as poor, so that parallel proposals differ.
        constant_liar=True,
        **options,
    )


@sampler("nsga2")
def nsga2(seed: int, population_size: int = 20) -> optuna.samplers.BaseSampler:
    """NSGA-II (Deb et al. 2002), for several objectives."""
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=population_size)
