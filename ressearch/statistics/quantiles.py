"""Quantiles of populations compared: the Harrell-Davis estimator, and a bootstrap of differences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from ressearch.statistics.means import Floats

_ROUNDING = 1e-12
"""What quantiles of equal values differ by, in sums of other lengths."""


def harrell_davis(values: npt.ArrayLike, share: float) -> Floats:
    """Return a quantile of each row of values, a weighted mean of all in order (Harrell and Davis 1982).

    Args:
        values: shape (..., n).
        share: of the values that lie below, between 0 and 1.
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis=-1)
    count = ordered.shape[-1]
    edges = special.betainc((count + 1) * share, (count + 1) * (1 - share), np.arange(count + 1) / count)
    return np.asarray(ordered @ np.diff(edges))


def quantile_difference(
    ones: Floats, others: Floats, share: float, draws: int = 600, seed: int = 0
) -> tuple[float, float, float, float]:
    """Return a quantile of one population minus that of another: estimate, 95 % interval, and p-value.

    Both are drawn again with replacement (percentile bootstrap, which Wilcox et al. 2014 find to hold its level with
    this estimator of quantiles).
    """
    rng = np.random.default_rng(seed)
    drawn = [harrell_davis(part[rng.integers(len(part), size=(draws, len(part)))], share) for part in (ones, others)]
    gaps = np.where(np.abs(drawn[0] - drawn[1]) < _ROUNDING, 0.0, drawn[0] - drawn[1])
    low, high = np.quantile(gaps, [0.025, 0.975])
    below = float((gaps < 0).mean() + 0.5 * (gaps == 0).mean())
    p = max(2 * min(below, 1 - below), 1 / draws)
    return float(harrell_davis(ones, share) - harrell_davis(others, share)), float(low), float(high), min(p, 1.0)
