"""The front of cost and accuracy: the best network of every budget at once, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ressearch.statistics.means import Floats
from ressearch.statistics.winner import Standing


@dataclass(frozen=True)
class Step:
    """A budget, up to the next one: which networks it allows, and what can be said of the best of them.

    Attributes:
        budget: cost of the dearest network that is allowed.
        until: cost of the next network; None where there is none.
        candidates: how many networks are allowed.
        pick: the one that ranks first.
        tied: those that cannot be told from the best; empty where nothing says what is chance.
        probability: that the pick is the best of those allowed; None where nothing says what is chance.
        low, high: within which the accuracy of the best of them lies with 90 % probability; None as `probability`.
    """

    budget: float
    until: float | None
    candidates: int
    pick: int
    tied: tuple[int, ...]
    probability: float | None
    low: float | None
    high: float | None


def frontier(cost: Floats, order: Sequence[int], standing: Standing | None, most: int = 100) -> list[Step]:
    """Return the steps of a budget that grows from the cheapest network to the dearest.

    Args:
        cost: of each network, shape (G,), in the order of `standing`; one that is NaN fits no budget.
        order: the networks, the best first, as numbers of that order.
        standing: where they stand; None where nothing says what is chance.
        most: so many steps at most, those where the pick changes before all others.
    """
    rank = np.empty(len(cost), dtype=np.intp)
    rank[list(order)] = np.arange(len(order))
    known = np.flatnonzero(~np.isnan(cost))
    by_cost = known[np.lexsort((rank[known], cost[known]))]
    if len(by_cost) == 0:
        return []
    costs, first = cost[by_cost], np.minimum.accumulate(rank[by_cost])
    ends = np.flatnonzero(np.append(np.diff(costs) > 0, True))
    rivals = np.flatnonzero(_may_lead(by_cost, standing))
    draws = None if standing is None else standing.draws(by_cost[rivals])
    highest = None if draws is None else np.maximum.accumulate(draws, axis=1)
    column = {int(by_cost[place]): at for at, place in enumerate(rivals)}
    steps = []
    for at in _thinned(ends, first, most):
        allowed, pick = by_cost[: at + 1], int(order[first[at]])
        following = costs[at + 1 :]
        probability = low = high = None
        if standing is not None and draws is not None and highest is not None:
            best = highest[:, np.searchsorted(rivals, at, side="right") - 1]
            drawn = draws[:, column[pick]]
            probability = float((drawn >= best).mean())
            low, high = _band(standing, drawn, best, pick)
        tied = () if standing is None else tuple(standing.tied([int(one) for one in allowed]))
        until = float(following[0]) if len(following) else None
        steps.append(Step(float(costs[at]), until, len(allowed), pick, tied, probability, low, high))
    return steps


def _may_lead(by_cost: NDArray[np.intp], standing: Standing | None) -> NDArray[np.bool_]:
    """Return which networks, in order of cost, may be the best of those that cost no more: the others are not drawn."""
    if standing is None or standing.shrunk is None:
        return np.full(len(by_cost), True)
    estimate, reach = standing.shrunk.estimate[by_cost], _FAR * standing.shrunk.error[by_cost]
    return np.asarray(estimate + reach >= np.maximum.accumulate(estimate - reach))


_FAR = 6.0
"""Standard errors beyond which an accuracy does not lie."""


def _band(standing: Standing, drawn: Floats, highest: Floats, pick: int) -> tuple[float, float]:
    """Return within which the highest accuracy lies with 90 % probability.

    Draws are of the networks apart; what is not known of their common level, by which the error of an estimate exceeds
    that of its draws, is added to all alike.
    """
    assert standing.shrunk is not None
    common = np.sqrt(max(float(standing.shrunk.error[pick] ** 2 - drawn.var()), 0.0))
    level = common * np.random.default_rng(0).standard_normal(len(drawn))
    low, high = np.quantile(highest + level, (0.05, 0.95))
    return max(float(low), 0.0), min(float(high), 1.0)


def _thinned(ends: NDArray[np.intp], first: NDArray[np.intp], most: int) -> list[int]:
    """Return at most so many of some places, those where the pick changes before all others."""
    listed = [int(one) for one in ends]
    changes = [at for place, at in enumerate(listed) if place == 0 or first[at] != first[listed[place - 1]]]
    others = [at for at in listed if at not in set(changes)]
    room = max(0, most - len(changes))
    if len(others) > room:
        chosen = np.linspace(0, len(others) - 1, room).round().astype(int)
        others = [others[one] for one in dict.fromkeys(chosen.tolist())]
    return sorted({*changes[:most], *others})


__all__ = ["Step", "frontier"]
