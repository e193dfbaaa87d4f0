"""The effects of axes: against least squares by numpy, and robust errors written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ressearch.statistics.regression import inflations, least_squares


def problem(seed: int, count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Return columns, the first the constant, and values whose errors grow with the second."""
    rng = np.random.default_rng(seed)
    columns = np.column_stack([np.ones(count), rng.standard_normal((count, 2)), rng.integers(0, 2, count)])
    return columns, columns @ [0.8, 0.01, -0.02, 0.03] + 0.01 * np.abs(columns[:, 1]) * rng.standard_normal(count)


@pytest.mark.parametrize("seed", range(3))
def test_coefficients_are_numpys_and_their_errors_are_hc3(seed: int) -> None:
    columns, values = problem(seed)
    found = least_squares(columns, values)
    assert found.estimate == pytest.approx(np.linalg.lstsq(columns, values, rcond=None)[0])
    # MacKinnon and White 1985, written as the jackknife: the scatter of the coefficients with one row left out
    deleted = [
        np.linalg.lstsq(np.delete(columns, row, 0), np.delete(values, row), rcond=None)[0] - found.estimate
        for row in range(len(values))
    ]
    assert found.covariance == pytest.approx(np.array(deleted).T @ np.array(deleted), rel=1e-6)
    assert found.freedom == 26


def test_the_p_value_and_the_interval_of_a_contrast_are_students() -> None:
    found = least_squares(*problem(0))
    weights = np.array([0.0, 1.0, -1.0, 0.0])
    value, error, p = found.contrast(weights)
    assert value == pytest.approx(found.estimate[1] - found.estimate[2])
    assert error == pytest.approx(np.sqrt(weights @ found.covariance @ weights))
    assert p == pytest.approx(2 * stats.t.sf(abs(value / error), 26))
    assert found.reach(error) == pytest.approx(stats.t.isf(0.025, 26) * error)


def test_inflations_are_those_of_the_inverse_correlations() -> None:
    columns, _ = problem(1)
    expected = np.diag(np.linalg.inv(np.corrcoef(columns[:, 1:], rowvar=False)))
    assert inflations(columns)[1:] == pytest.approx(expected)


def test_a_column_that_others_determine_is_infinitely_inflated_and_the_rest_are_not() -> None:
    columns, values = problem(2)
    tied = np.column_stack([columns, columns[:, 1] + 2 * columns[:, 3]])
    assert np.isinf(inflations(tied)).tolist() == [False, True, False, True, True]
    found = least_squares(tied, values)
    assert found.estimate[2] == pytest.approx(least_squares(columns, values).estimate[2])


def test_values_without_an_error_have_certain_effects() -> None:
    columns, _ = problem(3)
    found = least_squares(columns, columns @ [0.5, 0.0, 0.1, 0.0])
    assert found.estimate == pytest.approx([0.5, 0.0, 0.1, 0.0], abs=1e-12)
    assert found.contrast(np.array([0.0, 0.0, 1.0, 0.0]))[2] < 1e-12


def test_intervals_hold_where_errors_are_unequal() -> None:
    held = 0
    for seed in range(200):
        columns, values = problem(100 + seed)
        found = least_squares(columns, values)
        held += abs(found.estimate[1] - 0.01) <= found.reach(np.sqrt(found.covariance[1, 1]))
    assert held >= 0.89 * 200
