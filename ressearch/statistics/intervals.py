"""The statistics of a report: means with Student-t intervals over seeds, Welch differences, Pareto fronts."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of `n` values with its 95 % interval; `low` and `high` are NaN for a single value."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the interval's width; NaN for a single value."""
        return (self.high - self.low) / 2

    def within(self, lowest: float, highest: float) -> Interval:
        """Return the interval cut to the values that can occur (an accuracy is never above 1)."""
        return Interval(self.mean, max(self.low, lowest), min(self.high, highest), self.n)

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.3f} (one seed, no interval)"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@functools.cache
def _quantile(freedom: int) -> float:
    """Return Student's t quantile of the intervals; of thousands of networks with a few seeds, it is the same few."""
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean and its Student-t 95 % interval, n - 1 degrees of freedom."""
    data = np.asarray(values, dtype=float)
    mean, n = float(data.mean()), len(data)
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    reach = float(_quantile(n - 1) * data.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - reach, mean + reach, n)


def difference_interval(ones: Sequence[float], others: Sequence[float]) -> Interval:
    """Return mean(ones) - mean(others) and its 95 % interval (Welch: unequal variances); `n` is the smaller sample."""
    first, second = np.asarray(ones, dtype=float), np.asarray(others, dtype=float)
    difference, n = float(first.mean() - second.mean()), min(len(first), len(second))
    if n < 2:
        return Interval(difference, math.nan, math.nan, n)
    parts = [first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)]
    variance = sum(parts)
    if variance == 0:
        return Interval(difference, difference, difference, n)
    freedom = variance**2 / sum(part**2 / (len(data) - 1) for part, data in zip(parts, (first, second), strict=True))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom) * math.sqrt(variance))
    return Interval(difference, difference - reach, difference + reach, n)


def proportion_error(accuracy: float, examples: int) -> float:
    """Return the 95 % half-width that the number of examples alone gives an accuracy (normal approximation)."""
    return float(stats.norm.ppf(0.5 + CONFIDENCE / 2) * math.sqrt(accuracy * (1 - accuracy) / examples))


def hypervolume(costs: Sequence[float], scores: Sequence[float], worst_cost: float, worst_score: float) -> float:
    """Return the area that points dominate, up to a worst cost and a worst score (Zitzler and Thiele 1998).

    Costs are better low, scores better high; points no better than the worst add nothing.
    """
    area, best = 0.0, worst_score
    for cost, score in sorted(zip(costs, scores, strict=True), key=lambda pair: (pair[0], -pair[1])):
        if cost < worst_cost and score > best:
            area += (worst_cost - cost) * (score - best)
            best = score
    return area


def pareto_front(table: pd.DataFrame, cost: str, score: str) -> pd.DataFrame:
    """Return the rows that no other row beats: none is as cheap with a higher score. Ordered by cost."""
    ordered = table.sort_values([cost, score], ascending=[True, False])
    best_before = ordered[score].astype(float).cummax().shift(fill_value=-math.inf)
    return ordered[ordered[score] > best_before]
