"""What depth does along a line: against tests of single contrasts, and lines whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ressearch.statistics.means import Means, means_of
from ressearch.statistics.ordered import Line, lines

DEPTHS = (8, 14, 20, 32, 56)
NOISE = np.array([-0.5, -0.1, 0.6])
NOISE -= NOISE.mean()


def line_of(truth: tuple[float, ...], noise: float = 0.001) -> Line:
    """Return the line of networks with exactly these means, their seeds apart by `noise`."""
    means = means_of([one + noise * NOISE for one in truth])
    return lines(means, [range(len(truth))], [DEPTHS[: len(truth)]])[0]


def test_a_clear_peak_is_the_one_best_depth() -> None:
    found = line_of((0.88, 0.90, 0.92, 0.90, 0.87))
    assert (found.tied, found.depths[found.best], found.saturation) == ((20,), 20, 2)
    assert found.onset == 3


def test_a_rising_line_saturates_at_its_deepest_network_and_nothing_hurts() -> None:
    found = line_of((0.86, 0.88, 0.90, 0.92, 0.94))
    assert (found.saturation, found.onset, found.tied) == (4, None, (56,))


def test_a_falling_line_hurts_from_its_second_depth() -> None:
    found = line_of((0.94, 0.92, 0.90, 0.88, 0.86))
    assert (found.saturation, found.onset, found.tied) == (0, 1, (8,))


def test_a_plateau_saturates_where_it_begins() -> None:
    found = line_of((0.86, 0.90, 0.90, 0.90, 0.90))
    assert (found.saturation, found.onset, found.tied) == (1, None, (14, 20, 32, 56))


def test_a_dip_that_recovers_is_no_onset() -> None:
    found = line_of((0.88, 0.92, 0.88, 0.90, 0.94))
    assert found.is_below_shallower.tolist() == [False, False, True, True, False]
    assert found.onset is None


def test_the_shallower_of_two_equal_depths_is_called_the_best() -> None:
    assert line_of((0.8, 0.9, 0.9)).best == 1


def test_of_two_depths_the_contrasts_are_welchs_two_one_sided_tests() -> None:
    scores = [[0.90, 0.92, 0.91], [0.60, 0.50, 0.40]]  # of unlike accuracy: each keeps its variance
    (found,) = lines(means_of(scores), [(0, 1)], [(8, 14)])
    theirs = stats.ttest_ind(*scores, equal_var=False, alternative="greater").pvalue
    assert found.p_below_shallower[1] == pytest.approx(2 * theirs, abs=0.015)  # simulated; the opposite is tested too
    assert found.p_below_deeper[1] == 1
    assert found.p_below_deeper[0] == pytest.approx(1 - theirs, abs=0.05)


def test_the_fall_is_the_difference_to_a_run_of_shallower_depths_and_its_interval_holds_it() -> None:
    truth = (0.90, 0.90, 0.90, 0.88, 0.85)
    fall = line_of(truth).falls[4]
    assert fall is not None
    assert fall.size == pytest.approx(np.mean(truth[fall.first : fall.last + 1]) - truth[4])
    assert 0 < fall.low < fall.size < fall.high
    assert fall.size - fall.low == pytest.approx(fall.high - fall.size)


def test_many_neighbours_that_are_higher_show_what_no_single_one_does() -> None:
    alone = lines(means_of([0.905 + 0.01 * NOISE, 0.893 + 0.01 * NOISE]), [(0, 1)], [(8, 14)])[0]
    found = line_of((0.905, 0.905, 0.905, 0.905, 0.893), noise=0.01)
    assert found.p_below_shallower[4] < alone.p_below_shallower[1]


def test_one_seed_for_each_depth_shows_nothing() -> None:
    (found,) = lines(means_of([[0.9], [0.5], [0.1]]), [(0, 1, 2)], [(8, 14, 20)])
    assert (found.tied, found.onset, found.saturation) == ((8, 14, 20), None, 0)
    assert np.isnan(found.detectable)


def test_lines_are_tested_together() -> None:
    scores = [one + 0.006 * NOISE for one in (0.9, 0.893, 0.9, 0.9, 0.9, 0.9)]
    one = lines(means_of(scores), [(0, 1)], [(8, 14)])[0]
    three = lines(means_of(scores), [(0, 1), (2, 3), (4, 5)], [(8, 14)] * 3)
    assert three[0].p_below_shallower[1] > one.p_below_shallower[1]
    assert [line.depths for line in three] == [(8, 14)] * 3


def test_a_line_of_many_depths_is_told_as_one_of_few() -> None:
    truth = 0.9 - 0.002 * np.abs(np.arange(12) - 5.0)
    (found,) = lines(means_of([one + 0.0005 * NOISE for one in truth]), [range(12)], [tuple(range(8, 32, 2))])
    assert (found.best, found.saturation, found.onset, found.tied) == (5, 5, 6, (18,))


def test_no_lines_have_no_statements() -> None:
    assert lines(means_of([[0.9, 0.8]]), [], []) == []


def drawn(rng: np.random.Generator, truth: tuple[float, ...], spread: tuple[float, ...]) -> Means:
    """Return the means of three seeds around true accuracies."""
    noise = np.array(spread)[:, None] * rng.standard_normal((len(truth), 3))
    return means_of(list(np.array(truth)[:, None] + noise))


@pytest.mark.parametrize("spread", [(0.005,) * 4, (0.005, 0.005, 0.005, 0.05)])
def test_flat_lines_are_rarely_said_to_have_a_best_depth(spread: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    wrong = sum(
        len(lines(drawn(rng, (0.9,) * 4, spread), [range(4)], [DEPTHS[:4]])[0].tied) < 4 for _ in range(18)
    )  # binomial: more than 4 of 18 in 0.2 % of cases at 5 %
    assert wrong <= 4


def test_the_true_peak_is_among_the_tied_depths_and_the_onset_is_not_before_it() -> None:
    rng = np.random.default_rng(1)
    for _ in range(15):
        (found,) = lines(drawn(rng, (0.88, 0.90, 0.89, 0.86), (0.005,) * 4), [range(4)], [DEPTHS[:4]])
        assert 14 in found.tied
        assert found.saturation <= 1
        assert found.onset is None or found.onset >= 2
