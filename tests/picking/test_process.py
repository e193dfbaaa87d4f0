"""The Gaussian process, held against its formulas (Rasmussen and Williams 2006, eq. 2.23 to 2.26 and 4.17)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ressearch.picking.regression import Process, SameNetwork

ROWS, COLUMNS = 40, 3


def data(wiggle: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns, networks (each observed twice), targets and noise."""
    random = np.random.default_rng(0)
    columns = np.repeat(random.normal(size=(ROWS // 2, COLUMNS)), 2, axis=0)
    columns[1::2, 2] -= 1.0
    network = np.arange(ROWS) // 2
    own = 0.3 * random.normal(size=ROWS // 2)[network]
    target = 5 + 2 * columns[:, 0] + wiggle * np.sin(3 * columns[:, 1]) + own + 0.1 * random.normal(size=ROWS)
    return columns, network, target, random.uniform(0.001, 0.1, ROWS)


def by_formula(process: Process, new: np.ndarray, wiggle: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of new observations, from the kernel's fitted numbers."""
    columns, network, target, noise = data(wiggle)
    told = process.kernel.get_params()
    near, far, own, rest = (
        told[f"{name}_{kind}"]
        for name, kind in (
            ("k1__k1__k1__k1_", "constant_value"),
            ("k1__k1__k2__k1_", "constant_value"),
            ("k1__k2__k1_", "constant_value"),
            ("k2_", "noise_level"),
        )
    )
    lengths = np.broadcast_to(told["k1__k1__k1__k2__length_scale"], COLUMNS + 1)[:COLUMNS]

    def covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        distance = 5**0.5 * cdist(one / lengths, other / lengths)
        return near * (1 + distance + distance**2 / 3) * np.exp(-distance) + far * (1 + one @ other.T)

    scale = target.std()
    inner = covariance(columns, columns) + own * (network[:, None] == network)
    inner += np.diag(rest + noise / scale**2 + 1e-8)
    across = covariance(new, columns)
    mean = across @ np.linalg.solve(inner, (target - target.mean()) / scale)
    variance = np.diag(covariance(new, new)) + own + rest - (across * np.linalg.solve(inner, across.T).T).sum(1)
    return mean * scale + target.mean(), np.sqrt(variance) * scale


@pytest.mark.parametrize("wiggle", [0.0, 2.0])
def test_predictions_are_those_of_the_formulas(wiggle: float) -> None:
    process = Process(*data(wiggle), tuned=ROWS)
    new = np.random.default_rng(1).normal(size=(2500, COLUMNS))
    mean, deviation = by_formula(process, new, wiggle)
    for found in (process.predict(new), process.predict_many(new)):
        assert np.allclose(found[0], mean, atol=2e-3)
        assert np.allclose(found[1], deviation, rtol=2e-3)
    fast, bound = process.predict_many(new, with_deviation=False)
    assert np.allclose(fast, mean, atol=2e-3)
    assert (bound >= deviation * 0.999).all()
    assert (process.least_deviation <= deviation * 1.001).all()
    assert process.least_deviation > 0.5 * deviation.min()


def test_what_is_a_networks_own_is_told_from_noise() -> None:
    told = Process(*data(0.0), tuned=ROWS).kernel.get_params()
    own, rest = told["k1__k2__k1__constant_value"], told["k2__noise_level"]
    scale = data(0.0)[2].std()
    assert 0.15 < own**0.5 * scale < 0.5  # 0.3
    assert own > 2 * rest


def test_a_trend_is_chosen_where_nothing_speaks_for_more() -> None:
    trend, wiggly = (Process(*data(one), tuned=ROWS) for one in (0.0, 2.0))
    assert len(trend.simpler) == 1
    assert len(wiggly.simpler) > 1
    assert len(trend.kernels) == len(wiggly.kernels) == 3
    assert trend.kernel is trend.kernels[0][0]


def test_a_process_like_another_tries_no_more_kernels_and_gives_nearly_the_same() -> None:
    first = Process(*data(0.0), tuned=ROWS)
    again = Process(*data(0.0), tuned=ROWS, like=first)
    assert len(again.kernels) == 1
    new = np.random.default_rng(1).normal(size=(5, COLUMNS))
    assert np.allclose(again.predict(new), first.predict(new), rtol=1e-2)


def test_kernels_are_fitted_to_the_first_rows_and_all_are_learned_from() -> None:
    columns, network, target, noise = data(0.0)
    odd = target.copy()
    odd[30:] += 3.0
    one, other = (Process(columns, network, values, noise, tuned=30) for values in (target, odd))
    assert np.array_equal(one.kernel.theta, other.kernel.theta)
    assert (other.predict(columns[30:])[0] - one.predict(columns[30:])[0]).mean() > 0.1


def test_equal_targets_are_predicted_as_they_are() -> None:
    columns, network, target, noise = data(0.0)
    mean, deviation = Process(columns, network, np.full_like(target, 4.0), noise, tuned=ROWS).predict(columns)
    assert np.allclose(mean, 4.0)
    assert np.isfinite(deviation).all()


def test_the_same_network_is_told_by_the_last_column_alone() -> None:
    rows = np.array([[1.0, 2.0, 7.0], [1.0, 2.0, 8.0], [5.0, 6.0, 7.0]])
    kernel = SameNetwork()
    assert kernel(rows).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert kernel(rows, rows[:1]).tolist() == [[1], [0], [1]]
    assert kernel.diag(rows).tolist() == [1, 1, 1]
    covariance, gradient = kernel(rows, eval_gradient=True)
    assert covariance.tolist() == kernel(rows).tolist()
    assert gradient.shape == (3, 3, 0)
    assert repr(kernel) == "SameNetwork()"
