"""Limits: what a network may cost at most, in the units that people think in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from ressearch.errors import BudgetError, nearest
from ressearch.networks.cost import BYTES, SIZES, Budget
from ressearch.units import format_count, format_seconds, parse_duration

COUNTED = ("params", "macs", "activations", *SIZES)
"""What a limit may bound that follows exactly from the network."""

TIMED = ("train_time", "latency")
"""What a limit may bound that is measured: seconds."""


class Bounds(TypedDict, total=False):
    """The limits of a pick, as the command line and Python take them; None is no limit.

    Attributes:
        max_params, max_macs, max_activations: counts such as 20000 or ``20k``, for one input of the study's data.
        max_size: of the parameters in `dtype`, in bytes (``1MB``).
        max_training_memory: least bytes (``2G``) that training one seed under the study's recipe holds at once.
        max_train_time: seconds (``30m``) that training one seed to the last epoch took in the study.
        max_latency: milliseconds (``2ms``) of a forward pass of `batch_size` inputs, measured here and now.
    """

    max_params: int | str | None
    max_macs: int | str | None
    max_activations: int | str | None
    max_size: int | str | None
    max_training_memory: int | str | None
    max_train_time: float | str | None
    max_latency: float | str | None


@dataclass(frozen=True)
class Limits:
    """What a network may cost at most.

    Attributes:
        budget: what follows from the network alone.
        times: seconds by what takes them, of `TIMED`.
    """

    budget: Budget
    times: dict[str, float]

    @classmethod
    def read(cls, bounds: Bounds, dtype: str = "float32", **of_training: int) -> Limits:
        """Return the limits that some bounds set.

        Args:
            bounds: by name.
            dtype: of the weights, for their size: one of `BYTES`.
            of_training: what `Budget` needs to bound memory: `batch_size`, `optimizer_states`, `bytes_per_number`.

        Raises:
            BudgetError: a bound is unknown, or no count, size or time.
        """
        for key in bounds:
            if key.removeprefix("max_") not in (*COUNTED, *TIMED):
                raise BudgetError(f"{key}: no limit; {nearest(key, Bounds.__annotations__)}")
        if dtype not in BYTES:
            raise BudgetError(f"dtype: '{dtype}' is unknown; {nearest(dtype, BYTES)}")
        counted = {key: bounds.get(key) for key in (f"max_{name}" for name in COUNTED)}
        times = {}
        for name in TIMED:
            if (bound := bounds.get(f"max_{name}")) is None:
                continue
            try:
                is_short = name == "latency"
                times[name] = parse_duration(bound, "ms" if is_short else "s") / (1000 if is_short else 1)
            except ValueError as error:
                raise BudgetError(f"max_{name}: {error}") from None
        return cls(Budget(**counted, bytes_per_weight=BYTES[dtype], **of_training), times)  # type: ignore[arg-type]

    @property
    def bounds(self) -> dict[str, float]:
        """Every limit by what it bounds: counts, bytes and seconds."""
        return {**self.budget.bounds, **self.times}

    def __str__(self) -> str:
        return ", ".join(f"{name} <= {written(name, bound)}" for name, bound in self.bounds.items()) or "no bound"


def written(name: str, value: float) -> str:
    """Write a value of what a limit bounds with its unit: ``4M``, ``1.2MB``, ``3.4ms``."""
    if name in TIMED:
        return format_seconds(value)
    return f"{format_count(value)}B" if name in SIZES else format_count(value)


def exact(name: str, value: float) -> str:
    """Write a value so that a limit of that is kept: counts and bytes to the last digit."""
    return written(name, value) if name in TIMED else f"{value:.0f}{'B' * (name in SIZES)}"
