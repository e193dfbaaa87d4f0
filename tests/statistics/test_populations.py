"""Populations compared: against scipy's Brunner-Munzel test, counting, and tables made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ressearch.statistics.populations import chance_to_beat, interval, strata_of


def pairs(ones: np.ndarray, others: np.ndarray) -> float:
    """Return the share of pairs in which the first is higher, counted."""
    return float(((ones[:, None] > others) + 0.5 * (ones[:, None] == others)).mean())


@pytest.mark.parametrize("seed", range(4))
def test_the_chance_and_its_test_are_counted_pairs_and_brunner_and_munzels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ones = (0.9 + 0.02 * rng.standard_normal(14)).round(2)  # rounded, so that some are tied
    others = (0.89 + 0.05 * rng.standard_normal(9)).round(2)
    value, error, freedom = chance_to_beat(ones, others)
    assert value == pytest.approx(pairs(ones, others))
    theirs = stats.brunnermunzel(ones, others)
    assert abs(value - 0.5) / error == pytest.approx(abs(theirs.statistic))
    assert 2 * stats.t.sf(abs(value - 0.5) / error, freedom) == pytest.approx(theirs.pvalue)


def test_strata_are_averaged_by_the_harmonic_mean_of_their_sizes() -> None:
    ones, others = np.array([0.5, 0.6, 0.9, 0.8, 0.95]), np.array([0.55, 0.4, 0.85, 0.7])
    groups = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 1])
    value, error, _ = chance_to_beat(ones, others, groups)
    assert value == pytest.approx((1.0 * 3 / 4 + 1.2 * 5 / 6) / 2.2)  # weights 2·2/4 and 3·2/5
    parts = [chance_to_beat(ones[groups[0] == one], others[groups[1] == one]) for one in (0, 1)]
    assert error == pytest.approx(np.hypot(parts[0][1] * 1.0, parts[1][1] * 1.2) / 2.2)


def test_a_cost_that_differs_between_kinds_is_taken_out_by_strata() -> None:
    noise = np.linspace(-0.01, 0.01, 20)
    dear, cheap = 0.95 + noise, 0.85 + noise
    ones, others = np.concatenate([cheap[::5], dear]), np.concatenate([cheap, dear[::5]])
    costs = np.repeat([1.0, 2.0], [4, 20]), np.repeat([1.0, 2.0], [20, 4])
    assert chance_to_beat(ones, others)[0] > 0.8
    assert chance_to_beat(ones, others, costs)[0] == pytest.approx(0.5, abs=0.01)


def test_strata_that_hold_fewer_than_two_of_a_kind_are_left_out() -> None:
    ones, others = np.array([0.5, 0.6, 0.9]), np.array([0.55, 0.4, 0.85, 0.7])
    value, *_ = chance_to_beat(ones, others, (np.array([0, 0, 1]), np.array([0, 0, 1, 1])))
    assert value == chance_to_beat(ones[:2], others[:2])[0]
    assert np.isnan(chance_to_beat(ones, others, (np.zeros(3), np.ones(4)))[0])


def test_an_interval_is_between_0_and_1_and_symmetric_in_who_is_asked() -> None:
    for value, error in ((0.5, 0.1), (0.97, 0.05), (0.2, 0.01)):
        low, high = interval(value, error, 10, smaller=10)
        assert 0 < low < value < high < 1
        assert interval(1 - value, error, 10, smaller=10) == pytest.approx((1 - high, 1 - low))


def test_an_interval_is_students_on_the_log_odds() -> None:
    low, high = interval(0.7, 0.08, 12, smaller=10)
    reach = stats.t.isf(0.025, 12) * 0.08 / (0.7 * 0.3)
    odds = np.log(0.7 / 0.3)
    assert np.log([low / (1 - low), high / (1 - high)]) == pytest.approx([odds - reach, odds + reach])


def test_strata_of_costs_are_their_quarters() -> None:
    found = strata_of(np.arange(1.0, 9.0))
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert set(strata_of(np.full(5, 3.0))) == {3}


def test_the_chance_is_within_its_interval() -> None:
    rng, held = np.random.default_rng(0), 0
    truth = float(stats.norm.cdf(1 / np.sqrt(1 + 9)))
    for _ in range(300):
        found = chance_to_beat(1 + rng.standard_normal(20), 3 * rng.standard_normal(15))
        low, high = interval(*found, smaller=10)
        held += low <= truth <= high
    assert held >= 0.92 * 300


def test_where_every_pair_goes_one_way_the_interval_reaches_to_what_chance_allows_so_few_networks() -> None:
    """With n networks of the smaller population, a chance q of beating gives n wins of n with probability q^n."""
    low, high = interval(1.0, 0.0, 5.0, smaller=8)
    assert low**8 == pytest.approx(0.025)
    assert high == 1.0
    assert interval(0.0, 0.0, 5.0, smaller=8) == (0.0, pytest.approx(1 - low))
