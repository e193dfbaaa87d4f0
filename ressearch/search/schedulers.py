"""Schedulers by name: which trials Ray Tune stops early. To add one, write a function here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Factory = Callable[..., Any]

SCHEDULERS: dict[str, Factory] = {}
"""Tune schedulers by name; each factory takes metric, mode, epochs and options. Ray is imported only when called."""


def scheduler(name: str) -> Callable[[Factory], Factory]:
    """Register a factory as scheduler `name`."""

    def register(factory: Factory) -> Factory:
        SCHEDULERS[name] = factory
        return factory

    return register


@scheduler("fifo")
def fifo(metric: str, mode: str, epochs: int) -> Any:
    """Every trial runs to its last epoch."""
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


@scheduler("asha")
def asha(metric: str, mode: str, epochs: int, grace_period: int | None = None, reduction_factor: int = 3) -> Any:
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
