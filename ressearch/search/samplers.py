"""Samplers by name: which Optuna sampler proposes the next architecture. To add one, write a function here.

A function's arguments but `seed` are the sampler's options in a study file; their annotations say what each may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import optuna
from pydantic import Field

from ressearch.errors import StudyError
from ressearch.registry import Registry

Factory = Callable[..., optuna.samplers.BaseSampler]


@dataclass(frozen=True)
class SamplerType:
    """A registered sampler.

    Attributes:
        make: takes a seed and options.
        objectives: the most objectives it can follow; None is any number.
        least_numbers: the fewest ranges of numbers that a space must have for it to search.
        why: what it cannot do, said to who asks for it.
    """

    make: Factory
    objectives: int | None = None
    least_numbers: int = 0
    why: str = ""

    def refusal(self, objectives: int, numbers: int) -> str | None:
        """Return why it cannot search with so many objectives over so many ranges of numbers; None if it can."""
        if self.objectives is not None and objectives > self.objectives:
            return f"follows {self.objectives} objective, not {objectives}; tpe, gp, nsga2 and nsga3 follow several"
        if numbers < self.least_numbers:
            return f"{self.why}; this space has {numbers}"
        return None


SAMPLERS: Registry[SamplerType] = Registry("samplers", StudyError, "sampler {name} is unknown")
"""Optuna samplers by name."""


def sampler(
    name: str, *, objectives: int | None = None, least_numbers: int = 0, why: str = "", replace: bool = False
) -> Callable[[Factory], Factory]:
    """Register a factory as sampler `name`; see `SamplerType` for what it may say of itself."""
    return SAMPLERS.register(
        name, make=lambda factory: SamplerType(factory, objectives, least_numbers, why), replace=replace
    )


_Startup = Annotated[int, Field(ge=0, le=1_000_000)]
_Population = Annotated[int, Field(ge=2, le=10_000)]


@sampler("random")
def random(seed: int) -> optuna.samplers.BaseSampler:
    """Evenly at random, without replacement: the baseline every search must beat (Li and Talwalkar 2019).

    `ressearch.search.sampling` draws the points by itself, so that each follows from its number.
    """
    return optuna.samplers.RandomSampler(seed=seed)


@sampler("qmc")
def qmc(seed: int, scramble: bool = True) -> optuna.samplers.BaseSampler:
    """Sobol's sequence over ranges of numbers, more even than at random; choices at random (Bergstra, Bengio 2012)."""
    return optuna.samplers.QMCSampler(
        seed=seed, scramble=scramble, warn_asynchronous_seeding=False, warn_independent_sampling=False
    )


@sampler("tpe")
def tpe(
    seed: int,
    n_startup_trials: _Startup = 10,
    n_ei_candidates: Annotated[int, Field(ge=1, le=10_000)] = 24,
    multivariate: bool = True,
    group: bool | None = None,
) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate and grouped for conditional keys."""
    return optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=n_startup_trials,
        n_ei_candidates=n_ei_candidates,
        multivariate=multivariate,
        group=multivariate if group is None else group,
        # Running trials count as poor, so that parallel proposals differ.
        constant_liar=True,
    )


@sampler("gp")
def gp(seed: int, n_startup_trials: _Startup = 10) -> optuna.samplers.BaseSampler:
    """Gaussian process with expected improvement (Optuna's, in torch); for some hundreds of trials."""
    return optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=n_startup_trials, deterministic_objective=False, warn_independent_sampling=False
    )


@sampler("cmaes", objectives=1, least_numbers=2, why="searches two or more ranges of numbers, not choices")
def cmaes(
    seed: int, n_startup_trials: _Startup = 1, sigma0: Annotated[float, Field(gt=0, le=1)] | None = None
) -> optuna.samplers.BaseSampler:
    """CMA-ES (Hansen 2016) over ranges of numbers; choices at random. With margin, for whole numbers (Hamano 2022).

    `sigma0` is the first step, as a share of each range [a sixth].
    """
    from ressearch.search.cmaes import CmaEs

    return CmaEs(seed, n_startup_trials, sigma0)


@sampler("nsga2")
def nsga2(seed: int, population_size: _Population = 20) -> optuna.samplers.BaseSampler:
    """NSGA-II (Deb et al. 2002), for several objectives."""
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=population_size)


@sampler("nsga3")
def nsga3(seed: int, population_size: _Population = 20) -> optuna.samplers.BaseSampler:
    """NSGA-III (Deb and Jain 2014), for three objectives and more."""
    return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population_size)
