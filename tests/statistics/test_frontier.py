"""The front of cost and accuracy, against counting by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ressearch.statistics.frontier import frontier
from ressearch.statistics.winner import Standing, standing

COST = np.array([30.0, 10.0, 20.0, 20.0, np.nan, 40.0])
ORDER = [4, 5, 2, 0, 3, 1]
"""The best first; network 4 has no known cost."""


def test_each_budget_has_its_pick_and_ends_where_the_next_network_begins() -> None:
    steps = frontier(COST, ORDER, None)
    assert [(one.budget, one.until, one.candidates, one.pick) for one in steps] == [
        (10.0, 20.0, 1, 1),
        (20.0, 30.0, 3, 2),
        (30.0, 40.0, 4, 2),
        (40.0, None, 5, 5),
    ]
    assert all(one.tied == () and one.probability is one.low is one.high is None for one in steps)
    assert frontier(np.full(6, np.nan), ORDER, None) == []


def test_steps_are_thinned_to_those_where_the_pick_changes() -> None:
    cost = np.arange(100.0)
    order = [70, 30, 0, *(one for one in range(100) if one not in (70, 30, 0))]
    for most in (3, 5, 20):
        steps = frontier(cost, order, None, most)
        assert len(steps) == most
        assert [one.budget for one in steps] == sorted(one.budget for one in steps)
        picks = [(key, next(group).budget) for key, group in itertools.groupby(steps, key=lambda one: one.pick)]
        assert picks == [(0, 0.0), (30, 30.0), (70, 70.0)]
    assert [one.budget for one in frontier(cost, order, None, 2)] == [0.0, 30.0]
    assert len(frontier(cost, order, None, 100)) == 100
    assert frontier(cost, order, None, 99)[-1].budget == 99.0


@pytest.fixture(scope="module")
def stood() -> Standing:
    rng = np.random.default_rng(1)
    truth = np.array([0.80, 0.85, 0.86, 0.861, 0.84, 0.70, 0.83, 0.82])
    return standing([one + 0.004 * rng.standard_normal(3) for one in truth], 1 / 2000)


def test_probabilities_and_bands_are_those_of_the_draws(stood: Standing) -> None:
    cost = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    order = [int(one) for one in np.argsort(-stood.estimate)]
    draws = stood.draws()
    assert draws is not None
    for step in frontier(cost, order, stood):
        allowed = [one for one in range(8) if cost[one] <= step.budget]
        best = draws[:, allowed].max(axis=1)
        assert step.pick == max(allowed, key=lambda one: stood.estimate[one])
        assert step.probability == pytest.approx(np.mean(draws[:, step.pick] == best))
        # what is not known of the level widens the band to that of the pick's own interval, where nothing rivals it
        assert stood.shrunk is not None
        assert step.low is not None
        assert step.high is not None
        assert step.low <= np.quantile(best, 0.06)
        assert step.high >= np.quantile(best, 0.94)
        if len(allowed) == 1:
            error = stood.shrunk.error[step.pick]
            assert (step.high - step.low) / 2 == pytest.approx(1.645 * error, rel=0.1)
            assert (step.high + step.low) / 2 == pytest.approx(stood.estimate[step.pick], abs=0.3 * error)
        assert list(step.tied) == stood.tied(allowed)
        assert step.pick in step.tied


def test_what_is_tied_within_a_budget_leaves_dearer_networks_out(stood: Standing) -> None:
    assert set(stood.tied()) >= {2, 3}
    assert 1 not in stood.tied() or 0 not in stood.tied()
    assert stood.tied([0, 5]) == [0]
    assert stood.tied([5]) == [5]
    assert stood.tied([0, 1, 4, 6, 7])[0] == 1


def test_draws_of_all_networks_are_centred_on_their_estimates() -> None:
    rng = np.random.default_rng(0)
    found = standing([0.5 + 0.3 * one / 700 + 0.01 * rng.standard_normal(2) for one in range(700)])
    assert found.shrunk is not None
    assert len(found.shrunk.leaders) == 500
    draws = found.draws()
    assert draws is not None
    assert draws.shape == (2000, 700)
    rest = np.setdiff1d(np.arange(700), found.shrunk.leaders)
    assert np.abs(draws.mean(axis=0) - found.estimate)[rest].max() < 5 * found.shrunk.error.max() / 2000**0.5
    assert draws.std(axis=0)[rest] == pytest.approx(found.shrunk.error[rest], rel=0.1)


def test_one_seed_each_leaves_everything_tied() -> None:
    found = standing([[0.5], [0.9], [0.7]])
    assert found.shrunk is None
    assert found.draws() is None
    assert found.tied() == [1, 2, 0]


def test_networks_that_cannot_lead_change_nothing() -> None:
    rng = np.random.default_rng(3)
    scores = [one + 0.002 * rng.standard_normal(3) for one in np.linspace(0.5, 0.9, 40)]
    cost, found = np.append(np.arange(20.0), np.arange(20.0)), standing(scores, 1 / 2000)
    draws = found.draws()
    assert draws is not None
    for step in frontier(cost, [int(one) for one in np.argsort(-found.estimate)], found):
        allowed = np.flatnonzero(cost <= step.budget)
        best = draws[:, allowed].max(axis=1)
        assert step.probability == pytest.approx(np.mean(draws[:, step.pick] == best))
        some = found.draws(allowed[::-1])
        assert some is not None
        assert np.array_equal(some, draws[:, allowed[::-1]])
