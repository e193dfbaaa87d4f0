"""Means of networks and simultaneous contrasts of them, against scipy's tests and counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ressearch.statistics.means import (
    Family,
    Means,
    alike,
    differences,
    means_of,
    moderated_variances,
    seed_variances,
)


def alone(means: Means) -> Means:
    """Return the means with each network's own variance."""
    return Means(means.mean, means.seeds, means.variance, means.own_freedom, np.eye(len(means.mean)), means.examples)


UNLIKE = [[0.91, 0.93, 0.92, 0.915], [0.30, 0.55, 0.42, 0.71, 0.38]]
"""Of unlike accuracy, so that no variance is shared."""


@pytest.mark.parametrize("scores", [UNLIKE, [[0.9, 0.901], [0.1, 0.3]], [[0.95, 0.952, 0.949], [0.5, 0.9]]])
def test_two_networks_of_unlike_accuracy_are_compared_by_welchs_test(scores: list[list[float]]) -> None:
    found = means_of(scores).contrasts([[1.0, -1.0]])
    theirs = stats.ttest_ind(*scores, equal_var=False)
    span = theirs.confidence_interval(0.95)
    assert found.p()[0] == pytest.approx(theirs.pvalue)
    assert found.freedom[0] == pytest.approx(theirs.df)
    low, high = found.estimate[0] - found.reach()[0], found.estimate[0] + found.reach()[0]
    assert (low, high) == pytest.approx((span.low, span.high))


def test_a_one_sided_p_value_is_welchs() -> None:
    for scores in (UNLIKE, UNLIKE[::-1]):
        found = means_of(scores).contrasts([[1.0, -1.0]]).p(two_sided=False)
        assert found[0] == pytest.approx(stats.ttest_ind(*scores, equal_var=False, alternative="greater").pvalue)


def test_two_networks_that_vary_alike_are_compared_by_students_test() -> None:
    scores = [[0.90, 0.91, 0.92], [0.92, 0.93, 0.938]]
    found = means_of(scores).contrasts([[1.0, -1.0]])
    theirs = stats.ttest_ind(*scores)
    assert (found.p()[0], found.freedom[0]) == pytest.approx((theirs.pvalue, 4))
    assert found.reach()[0] == pytest.approx(theirs.confidence_interval().high - theirs.statistic * found.error[0])


def test_one_shared_variance_is_the_mean_of_the_networks_own_weighted_by_their_freedom() -> None:
    scores = [[0.90, 0.91], [0.91, 0.92, 0.93, 0.915], [0.9, 0.912, 0.905]]
    own = [np.var(one, ddof=1) for one in scores]
    assert means_of(scores).variance == pytest.approx(np.full(3, np.dot(own, [1, 3, 2]) / 6))


def test_a_network_that_collapses_keeps_its_own_variance() -> None:
    scores = [[0.90, 0.91, 0.92], [0.91, 0.92, 0.931], [0.2, 0.5, 0.35]]
    found = means_of(scores)
    assert found.variance[2] == pytest.approx(np.var(scores[2], ddof=1))
    assert found.variance[0] == found.variance[1] < found.variance[2] / 100


def test_networks_of_like_accuracy_and_unlike_variances_keep_their_own() -> None:
    scores = [[0.900, 0.901, 0.9005], [0.90, 0.91, 0.95], [0.85, 0.92, 0.99]]
    assert means_of(scores).variance == pytest.approx([np.var(one, ddof=1) for one in scores])


def test_a_network_of_one_seed_has_the_variance_of_those_of_like_accuracy_or_none() -> None:
    near = means_of([[0.90, 0.91, 0.92], [0.91, 0.92, 0.931], [0.915]])
    assert near.variance[2] == near.variance[0]
    assert near.contrasts([[1, 0, -1]]).error[0] == pytest.approx(np.sqrt(near.variance[0] * (1 / 3 + 1)))
    far = means_of([[0.90, 0.91, 0.92], [0.91, 0.92, 0.931], [0.2]])
    assert np.isnan(far.variance[2])
    contrasts = far.contrasts([[1, 0, -1], [1, -1, 0]])
    assert np.isnan(contrasts.error).tolist() == [True, False]
    assert np.isnan(Family.of(contrasts).p).tolist() == [True, False]


def test_variances_are_not_below_the_rounding_error_of_the_examples() -> None:
    found = means_of([[0.9, 0.9], [0.2, 0.2]], resolution=0.01)
    assert found.variance == pytest.approx(np.full(2, 0.01**2 / 12))


def test_rounded_scores_that_are_equal_have_the_rounding_error_of_the_others() -> None:
    found = means_of([[0.9, 0.9], [0.91, 0.9], [0.2, 0.2]])
    assert (found.variance >= 0.01**2 / 12 * (1 - 1e-9)).all()
    assert found.contrasts([[0, 0, 1]]).error[0] > 0


def test_scores_of_three_equal_numbers_vary_by_nothing_not_by_rounding_errors() -> None:
    assert (means_of([[0.7, 0.7, 0.7], [0.7, 0.7, 0.7]]).variance == 0).all()


@pytest.mark.parametrize("freedom", [[2, 2, 2, 2], [1, 3, 5], [4, 4], [9] * 40])
def test_how_alike_variances_are_is_bartletts_test(freedom: list[int]) -> None:
    rng = np.random.default_rng(len(freedom))
    for factor in (1.0, 3.0):
        samples = [rng.normal(0, factor ** (at % 2), dof + 1) for at, dof in enumerate(freedom)]
        found = alike(np.array([one.var(ddof=1) for one in samples]), np.array(freedom, dtype=float))
        assert found == pytest.approx(stats.bartlett(*samples).pvalue, abs=0.05)  # theirs is asymptotic


def test_equal_variances_are_called_alike_at_random() -> None:
    rng = np.random.default_rng(0)
    found = [alike(rng.chisquare(1, 4), np.ones(4)) for _ in range(500)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_variances_of_nothing_are_alike_and_unlike_any_other() -> None:
    dof = np.array([2.0, 2.0])
    assert alike(np.zeros(2), dof) == 1
    assert alike(np.array([0.0, 1.0]), dof) == 0


NOISE = 0.01 * np.array([-1.2, -0.6, 0.1, 0.3, 0.4, 1.0])


def test_comparisons_with_a_control_have_dunnetts_p_values() -> None:
    scores = [list(0.9 + shift + NOISE) for shift in (0.0, 0.005, 0.012, 0.018)]
    means = means_of(scores)
    assert len(set(means.variance)) == 1
    family = Family.of(means.contrasts(differences(4, [(1, 0), (2, 0), (3, 0)])))
    theirs = stats.dunnett(*map(np.array, scores[1:]), control=np.array(scores[0]), rng=np.random.default_rng(0))
    assert family.p == pytest.approx(theirs.pvalue, abs=0.015)
    span = theirs.confidence_interval()
    assert family.low == pytest.approx(span.low, abs=0.001)
    assert family.high == pytest.approx(span.high, abs=0.001)


def test_one_sided_comparisons_with_a_control_have_dunnetts_p_values() -> None:
    scores = [list(0.9 + shift + NOISE) for shift in (0.0, 0.01, -0.01)]
    means = means_of(scores)
    assert len(set(means.variance)) == 1
    family = Family.of(means.contrasts(differences(3, [(1, 0), (2, 0)])), two_sided=False)
    theirs = stats.dunnett(
        *map(np.array, scores[1:]), control=np.array(scores[0]), alternative="greater", rng=np.random.default_rng(0)
    )
    assert family.p == pytest.approx(theirs.pvalue, abs=0.015)


def test_a_p_value_held_together_is_no_less_than_alone_and_no_more_than_bonferronis() -> None:
    means = means_of([[0.9, 0.91, 0.93], [0.91, 0.93, 0.92], [0.4, 0.5, 0.7], [0.93, 0.932, 0.95]])
    contrasts = means.contrasts(differences(4, [(1, 0), (2, 0), (3, 0)]))
    family, single = Family.of(contrasts), contrasts.p()
    assert (family.p >= single).all()
    assert (family.p <= 3 * single + 0.02).all()
    assert 0.05 / 3 - 0.004 <= family.level <= 0.05


def test_the_detectable_difference_is_found_in_80_percent_of_cases() -> None:
    means = alone(means_of([list(np.linspace(0.89, 0.91, 8)), list(np.linspace(0.89, 0.91, 8))]))
    contrasts = means.contrasts([[1.0, -1.0]])
    size = Family.of(contrasts).detectable()[0]
    found = stats.nct.sf(stats.t.isf(0.025, contrasts.freedom[0]), contrasts.freedom[0], size / contrasts.error[0])
    assert found == pytest.approx(0.8, abs=0.01)


def test_of_one_seed_each_the_choice_of_examples_gives_the_paired_variance() -> None:
    rng = np.random.default_rng(0)
    right = [rng.random((1, 400)) < 0.7, rng.random((1, 400)) < 0.6]
    right[1] |= right[0] & (rng.random((1, 400)) < 0.5)
    scores = [[one.mean()] for one in right]
    found = means_of(scores, right)
    gap = right[0][0].astype(float) - right[1][0]
    weights = np.array([1.0, -1.0])
    assert weights @ found.examples @ weights == pytest.approx(gap.var(ddof=1) / 400)
    assert found.covers_examples


def test_errors_on_examples_of_a_seeds_own_are_counted_once() -> None:
    rng = np.random.default_rng(1)
    rights = [rng.random((50, 2000)) < 0.8 for _ in range(2)]  # every error is a seed's own
    found = means_of([one.mean(axis=1) for one in rights], rights).contrasts([[1.0, -1.0]])
    assert found.error[0] ** 2 == pytest.approx(2 * 0.8 * 0.2 / (50 * 2000), rel=0.25)
    assert found.examples_share[0] < 0.3


def test_errors_on_examples_that_every_seed_shares_come_from_the_choice_of_examples() -> None:
    rng = np.random.default_rng(2)
    rights = [np.repeat(rng.random((1, 500)) < 0.8, 4, axis=0) for _ in range(2)]
    for one in rights:
        one[np.arange(4), np.arange(4)] ^= True
    found = means_of([one.mean(axis=1) for one in rights], rights).contrasts([[1.0, -1.0]])
    assert found.examples_share[0] > 0.95
    assert found.error[0] ** 2 == pytest.approx(2 * 0.16 / 500, rel=0.2)


def test_moderated_variances_lie_between_the_networks_own_and_the_shared_one() -> None:
    rng = np.random.default_rng(3)
    true = np.exp(rng.normal(0, 1.5, 60)) * 1e-4
    own = true * rng.chisquare(2, 60) / 2
    found, freedom = moderated_variances(np.full(60, 0.9), own, np.full(60, 2.0))
    assert ((np.log(found / true)) ** 2).mean() < ((np.log(own / true)) ** 2).mean()
    assert np.argsort(found).tolist() == np.argsort(own).tolist()
    assert (freedom > 2).all()


def test_moderated_variances_that_look_alike_are_one() -> None:
    own = 1e-4 * stats.chi2.ppf((np.arange(20) + 0.5) / 20, 2) / 2
    found, freedom = moderated_variances(np.full(20, 0.9), own, np.full(20, 2.0))
    assert found == pytest.approx(np.full(20, own.mean()))
    assert freedom.tolist() == [40] * 20


def test_a_variance_is_shared_by_networks_whose_odds_are_within_a_factor_of_e() -> None:
    mean = np.array([0.90, 0.91, 0.92, 0.60])
    variance, freedom, groups = seed_variances(mean, np.array([1.0, 1.1, 0.9, 5.0]), np.full(4, 2.0))
    assert sorted(groups) == [0, 1, 2]
    assert sorted(groups[0].tolist()) == [0, 1, 2]
    assert freedom.tolist() == [6, 6, 6, 2]
    assert variance == pytest.approx([1.0, 1.0, 1.0, 5.0])


@pytest.mark.parametrize("spread", [(0.005, 0.005, 0.005), (0.005, 0.005, 0.05)])
def test_intervals_held_together_hold_the_truth(spread: tuple[float, ...]) -> None:
    rng, held = np.random.default_rng(0), 0
    truth = np.array([0.9, 0.9, 0.4])
    rows = differences(3, [(1, 0), (2, 0)])
    for _ in range(100):
        scores = truth[:, None] + np.array(spread)[:, None] * rng.standard_normal((3, 3))
        family = Family.of(means_of(list(scores)).contrasts(rows))
        held += bool(((family.low <= rows @ truth) & (rows @ truth <= family.high)).all())
    assert held >= 0.87 * 100
