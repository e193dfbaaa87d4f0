"""Schedulers by name: which trials Ray Tune stops early. To add one, write a function here.

A function's arguments but `metric`, `mode` and `epochs` are the scheduler's options in a study file; their annotations
say what each may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from ressearch.errors import StudyError
from ressearch.registry import Registry

Factory = Callable[..., Any]

SCHEDULERS: Registry[Factory] = Registry("schedulers", StudyError, "scheduler {name} is unknown")
"""Tune schedulers by name; each factory takes metric, mode, epochs and options. Ray is imported only when called."""


def scheduler(name: str, *, replace: bool = False) -> Callable[[Factory], Factory]:
    """Register a factory as scheduler `name`."""
    return SCHEDULERS.register(name, replace=replace)


_Factor = Annotated[float, Field(ge=2, le=100)]
_Epochs = Annotated[int, Field(ge=1, le=1_000_000)]


@scheduler("fifo")
def fifo(metric: str, mode: str, epochs: int) -> Any:
    """Every trial runs to its last epoch."""
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


@scheduler("asha")
def asha(
    metric: str, mode: str, epochs: int, grace_period: _Epochs | None = None, reduction_factor: _Factor = 3
) -> Any:
    """Asynchronous successive halving (Li et al. 2020): at each rung the best 1/`reduction_factor` go on.

    `grace_period` is the first rung in epochs [a ninth of the epochs, at least 1].
    """
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr="epoch",
        metric=metric,
        mode=mode,
        max_t=epochs,
        grace_period=min(epochs, grace_period or max(1, epochs // 9)),
        reduction_factor=reduction_factor,
    )


@scheduler("hyperband")
def hyperband(metric: str, mode: str, epochs: int, reduction_factor: _Factor = 3) -> Any:
    """HyperBand (Li et al. 2018): brackets of successive halving that wait for each other; trials pause meanwhile."""
    from ray.tune.schedulers import HyperBandScheduler

    return HyperBandScheduler(
        time_attr="epoch", metric=metric, mode=mode, max_t=epochs, reduction_factor=reduction_factor
    )


@scheduler("median")
def median(
    metric: str, mode: str, epochs: int, grace_period: _Epochs | None = None, min_samples_required: _Epochs = 3
) -> Any:
    """Median stopping (Golovin et al. 2017): a trial below the median of the others' running means ends.

    `grace_period` is in epochs [a ninth of the epochs, at least 1].
    """
    from ray.tune.schedulers import MedianStoppingRule

    return MedianStoppingRule(
        time_attr="epoch",
        metric=metric,
        mode=mode,
        grace_period=grace_period or max(1, epochs // 9),
        min_samples_required=min_samples_required,
    )


REFUSED = {
    "pbt": "population based training changes a trial's settings while it trains, but here all networks train under "
    "one recipe and an architecture cannot change: use asha, or lr: {tune: [...]}",
    "bohb": "BOHB is tpe with hyperband: write sampler: tpe, scheduler: hyperband",
}
"""Schedulers of Tune that make no sense here, and why."""

STOPPING = ("asha", "hyperband", "median")
"""Schedulers that stop trials before their last epoch."""

PAUSING = ("hyperband",)
"""Schedulers that pause trials until others have come as far."""


def bracket_trials(epochs: int, reduction_factor: float = 3) -> int:
    """Return how many trials fill HyperBand's brackets once; Tune has to be handed them at once to fill any."""
    largest = round(math.log(epochs) / math.log(reduction_factor)) + 1
    return sum(math.ceil(largest / (s + 1) * reduction_factor**s) for s in range(largest))


REPLAYED = ("asha", "median")
"""Schedulers that a resumed study tells what came before (`ressearch.search.replay`); HyperBand fills new brackets."""
