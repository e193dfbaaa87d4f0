"""The best of many: against shrinkage written out by hand, and populations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from ressearch.statistics.winner import Shrunk, shrink


def test_networks_of_a_normal_population_are_shrunk_as_the_normal_distribution_says() -> None:
    quantiles = np.array([-1.5, -1.0, -0.7, -0.4, -0.1, 0.1, 0.4, 0.7, 1.0, 1.5])
    mean, variance = 0.9 + 0.02 * quantiles, 0.01**2
    found = shrink(mean, np.full(10, variance), 20.0)
    between = mean.var(ddof=1) - variance
    kept = between / (between + variance)
    assert found.spread == pytest.approx(np.sqrt(between))
    assert found.estimate == pytest.approx(mean.mean() + kept * (mean - mean.mean()), abs=0.1 * 0.01)


def test_means_with_hardly_an_error_stay_what_they_are() -> None:
    mean = np.array([0.80, 0.85, 0.91, 0.88])
    found = shrink(mean, np.full(4, 1e-8), 8.0)
    assert found.estimate == pytest.approx(mean, abs=5e-4)
    assert (found.best, found.estimate[2]) == (2, pytest.approx(0.91, abs=1e-5))
    assert found.chance_of_best[2] == 1


def test_means_that_differ_by_chance_alone_are_drawn_to_one() -> None:
    mean = 0.9 + 0.002 * np.linspace(-1, 1, 12)
    found = shrink(mean, np.full(12, 0.01**2), 24.0)
    assert found.spread == 0
    assert np.ptp(found.estimate) < 0.1 * np.ptp(mean)


def test_a_mean_known_worse_is_drawn_further() -> None:
    mean = np.array([0.85, 0.87, 0.89, 0.91, 0.93, 0.93])
    variance = np.array([1, 1, 1, 1, 1, 16]) * 0.005**2
    found = shrink(mean, variance, 12.0)
    assert found.estimate[5] < found.estimate[4] < 0.93
    assert found.best == 4


def test_collapsed_networks_do_not_drag_the_good_ones_down() -> None:
    good = 0.9 + 0.01 * np.linspace(-1, 1, 40)
    found = shrink(np.concatenate([np.full(10, 0.1), good]), np.full(50, 0.004**2), 100.0)
    assert found.estimate[10:] == pytest.approx(shrink(good, np.full(40, 0.004**2), 80.0).estimate, abs=0.002)
    assert np.abs(found.estimate[:10] - 0.1).max() < 0.004


def test_chances_of_being_the_best_sum_to_one_and_follow_the_estimates() -> None:
    found = shrink(np.array([0.90, 0.91, 0.93, 0.925]), np.full(4, 0.006**2), 8.0)
    assert found.chance_of_best.sum() == pytest.approx(1)
    assert np.argsort(found.chance_of_best).tolist() == [0, 1, 3, 2]


def test_of_thousands_the_leaders_alone_are_drawn_and_the_best_is_among_them() -> None:
    rng = np.random.default_rng(1)
    mean = 0.9 + 0.01 * rng.normal(size=1200)
    variance = rng.choice([0.001**2, 0.02**2], size=1200)
    found = shrink(mean, variance, 100.0, draws=300)
    assert found.draws.shape == (300, 500)
    assert len(set(found.leaders)) == 500
    assert found.best in found.leaders
    outside = np.setdiff1d(np.arange(1200), found.leaders)
    assert (found.chance_of_best[outside] == 0).all()
    assert found.chance_of_best.sum() == pytest.approx(1)
    own = found.draws[:, found.leaders.tolist().index(found.best)]
    assert found.regret == pytest.approx(float((found.draws.max(axis=1) - own).mean()))
    assert found.regret > 0


def test_an_interval_is_centred_on_the_estimate_and_wider_with_more_confidence() -> None:
    found = shrink(np.array([0.90, 0.91, 0.93, 0.925]), np.full(4, 0.006**2), 8.0)
    low, high = found.interval(2)
    assert (low + high) / 2 == pytest.approx(found.estimate[2])
    assert found.interval(2, 0.99)[0] < low


def test_thousands_of_networks_are_shrunk_by_a_distribution_fitted_to_some() -> None:
    rng = np.random.default_rng(0)
    truth = 0.9 + 0.01 * rng.standard_normal(3000)
    mean = truth + 0.01 * rng.standard_normal(3000)
    found = shrink(mean, np.full(3000, 0.01**2), 6000.0, draws=200)
    assert ((found.estimate - truth) ** 2).mean() < 0.6 * ((mean - truth) ** 2).mean()


@pytest.mark.parametrize("kind", ["normal", "equal", "skewed"])
def test_the_winners_optimism_is_taken_out(kind: str) -> None:
    rng, off, raw, held = np.random.default_rng(0), [], [], []
    for _ in range(60):
        spread = {"normal": rng.standard_normal(30), "equal": np.zeros(30), "skewed": -2 * rng.exponential(1, 30)}
        truth = 0.85 + 0.01 * spread[kind]
        mean = truth + 0.01 / np.sqrt(3) * rng.standard_normal(30)
        found: Shrunk = shrink(mean, np.full(30, 0.01**2 / 3), 60.0, draws=20)
        off.append((found.estimate[found.best] - truth[found.best]) / 0.01)
        raw.append((mean.max() - truth[mean.argmax()]) / 0.01)
        low, high = found.interval(found.best)
        held.append(low <= truth[found.best] <= high)
    assert abs(np.mean(off)) < 0.25 < np.mean(raw)
    assert np.mean(held) > 0.85
