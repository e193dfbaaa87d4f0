"""What so many seeds could see: the difference of two networks' accuracies that a t-test would find."""

from __future__ import annotations

import math

POWER = 0.8
"""How often the difference is to be found."""

LEVEL = 0.05
"""How often a difference is claimed where there is none."""


def detectable(deviation: float, seeds: int, freedom: float, power: float = POWER) -> float:
    """Return the difference of two means that a two-sided t-test at `LEVEL` finds with this power (noncentral t).

    Args:
        deviation: standard deviation over seeds, alike for both.
        seeds: of each network, two at the least.
        freedom: degrees of freedom of the deviation.
        power: how often it is to be found.
    """
    from scipy import optimize, stats  # takes a second to import

    error = deviation * math.sqrt(2 / seeds)
    critical = stats.t.isf(LEVEL / 2, freedom)

    def short(size: float) -> float:
        return float(stats.nct.sf(critical, freedom, size) - power)

    return float(error * optimize.brentq(short, 0.0, 20 * critical))


def expected_deviation(accuracy: float, examples: int) -> float:
    """Return what accuracies over seeds are likely to deviate by: as binomial counts of so many examples do.

    A rule of thumb (Bouthillier et al. 2021 find the like of test sets). In this project's own reports the median
    deviation of a study's networks above 0.6 is between 0.8 and 1.2 times this.
    """
    return math.sqrt(accuracy * (1 - accuracy) / examples)
