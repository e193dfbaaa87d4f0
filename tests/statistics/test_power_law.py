"""Power laws of error: against scipy's curve fit, and curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from ressearch.statistics.power_law import fit, flatness, smooth_variance

SIZES = np.array([8.0, 14, 26, 50, 98, 194])


def planted(exponent: float = 0.7, floor: float = 0.05, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return the errors of a power law over SIZES."""
    noises = noise * np.random.default_rng(seed).standard_normal(len(SIZES))
    return np.asarray(floor + 0.3 * (SIZES / 8) ** -exponent + noises)


@pytest.mark.parametrize(("exponent", "floor"), [(0.3, 0.02), (0.7, 0.05), (1.5, 0.1), (0.5, 0.0)])
def test_a_curve_without_noise_is_recovered(exponent: float, floor: float) -> None:
    errors = planted(exponent, floor)
    found = fit(SIZES, errors, np.ones(6))
    assert (found.exponent, found.floor) == pytest.approx((exponent, floor), abs=1e-3)
    assert found.error(SIZES) == pytest.approx(errors, abs=1e-5)
    assert found.unit == pytest.approx(stats.gmean(SIZES))


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_scipys_weighted_one(seed: int) -> None:
    errors, variance = planted(noise=0.004, seed=seed), np.array([4, 3, 2, 1, 1, 1]) * 1e-5
    found = fit(SIZES, errors, variance)

    def curve(x: np.ndarray, floor: float, scale: float, exponent: float) -> np.ndarray:
        return floor + scale * (x / found.unit) ** -exponent

    theirs, _ = optimize.curve_fit(curve, SIZES, errors, (0.05, 0.1, 0.7), np.sqrt(variance))
    assert (found.floor, found.scale, found.exponent) == pytest.approx(tuple(theirs), rel=1e-3)
    rest = errors - found.error(SIZES)
    assert found.misfit == pytest.approx((rest**2 * variance.mean() / variance).sum())


def test_the_exponents_interval_ends_where_the_f_test_does() -> None:
    errors = planted(noise=0.003)
    found = fit(SIZES, errors, np.ones(6))
    bound = found.misfit * (1 + stats.f.isf(0.05, 1, 3) / 3)
    for end in (found.exponent_low, found.exponent_high):
        basis = np.column_stack([np.ones(6), (SIZES / found.unit) ** -end])
        assert optimize.nnls(basis, errors)[1] ** 2 == pytest.approx(bound, rel=1e-3)
    assert found.exponent_low < found.exponent < found.exponent_high
    assert found.floor_low <= found.floor <= found.floor_high


def test_more_confidence_is_a_wider_interval() -> None:
    narrow, wide = (fit(SIZES, planted(noise=0.003), np.ones(6), confidence) for confidence in (0.8, 0.95))
    assert wide.exponent_low < narrow.exponent_low < narrow.exponent_high < wide.exponent_high


def test_the_unit_of_size_does_not_matter() -> None:
    errors = planted(noise=0.003)
    found, scaled = (fit(SIZES * factor, errors, np.ones(6)) for factor in (1, 1e6))
    assert (scaled.exponent, scaled.floor, scaled.scale) == pytest.approx((found.exponent, found.floor, found.scale))


def test_a_straight_line_in_the_logarithm_does_not_bound_the_exponent_below() -> None:
    found = fit(SIZES, 0.3 - 0.02 * np.log(SIZES), np.ones(6))
    assert found.exponent < 0.1
    assert found.floor < 0.15


def test_errors_that_do_not_fall_cannot_be_told_from_a_constant() -> None:
    errors = 0.1 + 0.01 * np.array([0.5, -1, 0.3, 1, -0.6, 0.2])
    found = fit(SIZES, errors, np.ones(6))
    assert flatness(SIZES, errors, np.ones(6), found) > 0.2
    falling = planted(noise=0.003)
    assert flatness(SIZES, falling, np.ones(6), fit(SIZES, falling, np.ones(6))) < 0.01


def test_the_exponent_and_the_floor_are_within_their_intervals() -> None:
    held = []
    for seed in range(12):
        found = fit(SIZES, planted(noise=0.003, seed=seed), np.ones(6))
        held.append(found.exponent_low <= 0.7 <= found.exponent_high and found.floor_low <= 0.05 <= found.floor_high)
    assert np.mean(held) >= 0.7


def test_equal_variances_are_smoothed_to_nearly_their_mean() -> None:
    found = smooth_variance(planted(), np.full(6, 2e-5), np.full(6, 20.0))
    assert found == pytest.approx(np.full(6, 2e-5), rel=0.1)


def test_variances_that_follow_a_power_of_the_error_stay_what_they_are() -> None:
    errors = planted()
    assert smooth_variance(errors, 3e-4 * errors, np.full(6, 2.0)) == pytest.approx(3e-4 * errors)
    assert smooth_variance(errors, 3e-4 * errors**2, np.full(6, 500.0)) == pytest.approx(3e-4 * errors**2, rel=0.02)


def test_a_variance_that_is_small_by_chance_and_one_that_is_not_known_become_like_their_neighbours() -> None:
    errors, own = planted(), np.array([3e-5, 0.0, 2e-5, np.nan, 1e-5, 1e-5])
    found = smooth_variance(errors, own, np.array([2.0, 2, 2, 0, 2, 2]))
    assert (np.diff(found) < 0).all()
    assert found.max() < 10 * found.min()


def test_scores_without_any_variance_weigh_alike() -> None:
    assert smooth_variance(planted(), np.zeros(6), np.full(6, 2.0)).tolist() == [1] * 6
