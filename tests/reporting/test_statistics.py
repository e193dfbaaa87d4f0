"""A report's statistics against scipy's own tests, and against counting."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ressearch.statistics.intervals import (
    Interval,
    difference_interval,
    hypervolume,
    mean_interval,
    pareto_front,
    proportion_error,
)

SAMPLES = [
    ([0.91, 0.93, 0.88], [0.80, 0.86, 0.90, 0.79, 0.84, 0.81, 0.95]),
    ([0.1, 0.9], [0.5, 0.51, 0.52]),
    ([3.0, 5.0, 9.0, 1.0, 4.0], [2.0, 2.5]),
    ([0.5, 0.5, 0.51], [0.1, 0.2]),
]


@pytest.mark.parametrize(("ones", "others"), SAMPLES)
def test_welchs_interval_is_scipys_for_samples_of_unequal_size(ones: list[float], others: list[float]) -> None:
    for one, other in ((ones, others), (others, ones)):
        found = difference_interval(one, other)
        theirs = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
        assert found.mean == pytest.approx(np.mean(one) - np.mean(other))
        assert found.n == min(len(one), len(other))


@pytest.mark.parametrize("values", [[0.2, 0.4], [0.9, 0.91, 0.95, 0.7], [5.0] * 4, list(range(30))])
def test_a_means_interval_is_scipys(values: list[float]) -> None:
    found = mean_interval(values)
    mean, error = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, mean, error) if error > 0 else (mean, mean)
    assert (found.low, found.high, found.mean, found.n) == pytest.approx((low, high, np.mean(values), len(values)))
    assert found.half_width == pytest.approx((high - low) / 2)


def test_one_value_has_a_mean_and_no_interval() -> None:
    for found in (mean_interval([0.25]), difference_interval([0.75, 0.75], [0.5]), difference_interval([0.75], [0.5])):
        assert found.mean == 0.25
        assert found.n == 1
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert str(mean_interval([0.25])) == "0.250 (one seed, no interval)"


def test_equal_values_differ_by_exactly_their_difference() -> None:
    assert difference_interval([0.75, 0.75, 0.75], [0.5, 0.5]) == Interval(0.25, 0.25, 0.25, 2)


def test_an_interval_is_written_with_its_bounds_and_cut_to_what_can_occur() -> None:
    interval = Interval(0.9876, 0.94321, 1.0321, 3)
    assert str(interval) == "0.988 [0.943, 1.032]"
    assert interval.within(0, 1) == Interval(0.9876, 0.94321, 1, 3)
    assert Interval(0.1, -0.2, 0.4, 2).within(0, 1) == Interval(0.1, 0, 0.4, 2)
    assert str(Interval(0.5, 0.4, 0.6, 2)) == "0.500 [0.400, 0.600]"


@pytest.mark.parametrize(("accuracy", "examples"), [(0.9, 100), (0.5, 1000), (0.99, 359)])
def test_what_the_number_of_examples_gives_is_the_normal_approximation(accuracy: float, examples: int) -> None:
    by_hand = 1.959964 * math.sqrt(accuracy * (1 - accuracy) / examples)
    assert proportion_error(accuracy, examples) == pytest.approx(by_hand, rel=1e-6)


def test_the_front_is_what_nothing_beats_by_comparing_all_pairs() -> None:
    chance = random.Random(0)
    for _ in range(50):
        rows = [(chance.randint(1, 6), chance.randint(1, 6)) for _ in range(chance.randint(1, 9))]
        table = pd.DataFrame(rows, columns=["macs", "score"])
        kept = pareto_front(table, "macs", "score")
        best = {
            (cost, score)
            for cost, score in rows
            if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in rows)
        }
        assert [tuple(row) for row in kept[["macs", "score"]].to_numpy().tolist()] == sorted(best)


def test_hypervolume_is_the_number_of_unit_squares_that_are_dominated() -> None:
    chance = random.Random(1)
    for _ in range(50):
        points = [(chance.randint(0, 9), chance.randint(0, 9)) for _ in range(chance.randint(0, 7))]
        worst_cost, worst_score = chance.randint(3, 8), chance.randint(0, 5)
        squares = sum(
            any(cost <= x and score >= y + 1 for cost, score in points)
            for x, y in itertools.product(range(worst_cost), range(worst_score, 10))
        )
        found = hypervolume([cost for cost, _ in points], [score for _, score in points], worst_cost, worst_score)
        assert found == squares
