"""What depth does along a line: networks that differ in their depth alone, ordered by it.

Every statement rests on one family of contrasts, tested together over all depths (and all lines of a report): the mean
at each depth against the mean of every run of neighbouring depths that are all deeper, or all shallower. A depth whose
mean is below that of such a run is below the best of the run. Contrasts with runs rather than with single depths are
what give an ordered test its power where accuracy levels off (Williams 1971; Bretz 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ressearch.statistics.means import Family, Floats, Means

LEVEL = 0.04
"""Of the tests: with unequal variances and two or three seeds the simulated family errs up to a fifth more often than
it says (`benchmarks/planted_truth.py`), so that 0.04 holds 5 %."""

_EVERY_RUN = 8
"""Depths up to which every run is a contrast; with more, single depths and the runs that reach an end are."""


@dataclass(frozen=True)
class Fall:
    """By how much a depth is below the mean of a run of shallower ones.

    Attributes:
        first, last: the places of the run's ends.
        size: mean of the run - mean of the depth.
        low: the lower end of its one-sided 95 % interval, held together with all statements; above 0 where shown.
        high: the upper end of such an interval.
    """

    first: int
    last: int
    size: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """What is known of one line of K depths.

    Attributes:
        depths: in order, shape (K,).
        mean: scores, shape (K,).
        is_below_deeper: whether some deeper network was shown to score higher, shape (K,).
        is_below_shallower: whether some shallower network was shown to, shape (K,).
        p_below_deeper, p_below_shallower: the adjusted p-values of that, shape (K,).
        detectable: the least difference from the best depth that would have been told from none with 80 % power, of
            the best-known depth other than the best; NaN where no variance is known.
    """

    depths: tuple[int, ...]
    mean: Floats
    is_below_deeper: np.ndarray
    is_below_shallower: np.ndarray
    p_below_deeper: Floats
    p_below_shallower: Floats
    detectable: float
    falls: tuple[Fall | None, ...]

    @property
    def best(self) -> int:
        """The place of the highest mean; the shallower of two."""
        return int(np.argmax(self.mean))

    @property
    def tied(self) -> tuple[int, ...]:
        """The depths that were not shown to be below another: the best is among them, with 95 % confidence."""
        beaten = self.is_below_deeper | self.is_below_shallower
        return tuple(depth for depth, one in zip(self.depths, beaten, strict=True) if not one)

    @property
    def saturation(self) -> int:
        """The place of the least depth that no deeper network was shown to beat."""
        return int(np.argmin(self.is_below_deeper))

    @property
    def onset(self) -> int | None:
        """The place of the first depth that is shown to be below a shallower one, and from which on none recovers."""
        for place in np.flatnonzero(self.is_below_shallower):
            if self.mean[place:].max() < self.mean[:place].max():
                return int(place)
        return None


def lines(
    means: Means, members: Sequence[Sequence[int]], depths: Sequence[Sequence[int]], level: float = LEVEL
) -> list[Line]:
    """Return what is known of lines, tested together.

    Args:
        means: of all networks.
        members: for each line, the places of its networks in `means`, ordered by depth.
        depths: for each line, their depths.
        level: how often any statement about any line may be wrong, at most.
    """
    rows: list[np.ndarray] = []
    owners: list[tuple[int, int, int, int]] = []
    for line, places in enumerate(members):
        for one, first, last in _runs(len(places)):
            row = np.zeros(len(means.mean))
            row[list(places[first:last])] = 1.0 / (last - first)
            row[places[one]] -= 1.0
            rows.append(row)
            owners.append((line, one, first, last))
    if not rows:
        return []
    family = Family.of(means.contrasts(np.array(rows)), two_sided=False)
    detectable = family.detectable()
    reaches = family.contrasts.reach(min(2 * family.level * level / 0.05, 0.05))
    made = []
    for line, places in enumerate(members):
        below = {True: np.ones(len(places)), False: np.ones(len(places))}
        least = np.inf
        best = int(np.argmax(means.mean[list(places)]))
        falls: list[Fall | None] = [None] * len(places)
        clearest = np.full(len(places), np.inf)
        for at, (owner, one, first, last) in enumerate(owners):
            p = family.p[at]
            if owner != line or np.isnan(p):
                continue
            below[first > one][one] = min(below[first > one][one], p)
            if first < one and p < clearest[one]:
                clearest[one] = p
                size = float(family.contrasts.estimate[at])
                falls[one] = Fall(first, last - 1, size, size - float(reaches[at]), size + float(reaches[at]))
            if one != best and (first, last) == (best, best + 1) and not np.isnan(detectable[at]):
                least = min(least, detectable[at])
        made.append(
            Line(
                tuple(depths[line]),
                means.mean[list(places)],
                below[True] <= level,
                below[False] <= level,
                below[True],
                below[False],
                float(least) if np.isfinite(least) else np.nan,
                tuple(falls),
            )
        )
    return made


def _runs(count: int) -> list[tuple[int, int, int]]:
    """Return (one, first, last): each place, and the runs [first, last) wholly before or behind it."""
    found = []
    for one in range(count):
        for low, high in ((0, one), (one + 1, count)):
            for first in range(low, high):
                for last in range(first + 1, high + 1):
                    is_single, reaches = last == first + 1, first == low or last == high
                    if count <= _EVERY_RUN or is_single or (reaches and (low == 0) == (last == high or first == low)):
                        found.append((one, first, last))
    return found
