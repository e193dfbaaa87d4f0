"""Populations of networks compared: how often one network of a kind beats one of another, alone and at equal cost."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ressearch.statistics.means import Floats


def chance_to_beat(
    ones: Floats, others: Floats, strata: tuple[Floats, Floats] | None = None
) -> tuple[float, float, float]:
    """Return the probability that a network of one population beats one of another, its error and degrees of freedom.

    Ties count half; the variances of the populations may differ (Brunner and Munzel 2000). With strata the
    probabilities within strata are averaged (by n·m/(n + m), van Elteren 1960).

    Args:
        ones: scores of one population, better high.
        others: of the other.
        strata: of each network, the number of its stratum; None compares all with all.
    """
    if strata is None:
        return _relative_effect(ones, others)
    parts, weights = [], []
    for stratum in np.unique(np.concatenate(strata)):
        one, other = ones[strata[0] == stratum], others[strata[1] == stratum]
        if len(one) < 2 or len(other) < 2:
            continue
        parts.append(_relative_effect(one, other))
        weights.append(len(one) * len(other) / (len(one) + len(other)))
    if not parts:
        return float("nan"), float("nan"), 1.0
    weight = np.array(weights) / sum(weights)
    values = np.array(parts)
    error = float(np.sqrt((weight**2 * values[:, 1] ** 2).sum()))
    return float(weight @ values[:, 0]), error, float(values[:, 2].sum())


def _relative_effect(ones: Floats, others: Floats) -> tuple[float, float, float]:
    n, m = len(ones), len(others)
    ranks = stats.rankdata(np.concatenate([ones, others]))
    within = stats.rankdata(ones), stats.rankdata(others)
    first, second = ranks[:n], ranks[n:]
    value = (first.mean() - (n + 1) / 2) / m
    spreads = [
        float(((rank - own - rank.mean() + own.mean()) ** 2).sum() / (len(rank) - 1))
        for rank, own in ((first, within[0]), (second, within[1]))
    ]
    parts = spreads[0] / (n * m**2), spreads[1] / (m * n**2)
    error = float(np.sqrt(sum(parts)))
    bottom = parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)
    return float(value), error, float(sum(parts) ** 2 / bottom) if bottom > 0 else float(n + m - 2)


def interval(value: float, error: float, freedom: float, smaller: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of such a probability, on the scale of its log odds so that it stays between 0 and 1.

    Where every network of one population beats every one of the other, it reaches down to the probability at which that
    would happen to the smaller population, of `smaller` networks, by chance.
    """
    if not 0 < value < 1 or error == 0:
        least = float(((1 - confidence) / 2) ** (1 / max(smaller, 1)))
        return (min(least, value), 1.0) if value > 0.5 else (0.0, max(1 - least, value))
    reach = float(stats.t.isf((1 - confidence) / 2, freedom)) * error / (value * (1 - value))
    odds = np.log(value / (1 - value))
    return float(1 / (1 + np.exp(-(odds - reach)))), float(1 / (1 + np.exp(-(odds + reach))))


def strata_of(costs: Floats, count: int = 4) -> Floats:
    """Return the quantile group of each cost."""
    edges = np.quantile(costs, np.linspace(0, 1, count + 1)[1:-1])
    return np.asarray(np.searchsorted(edges, costs, side="right"), dtype=float)
