"""The effect of each axis of a search with the other axes held fixed, by least squares with robust errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ressearch.statistics.means import Floats


@dataclass(frozen=True)
class Fit:
    """A linear model's coefficients.

    Attributes:
        estimate: shape (P,).
        covariance: of the estimates, robust to unequal variances (HC3: MacKinnon and White 1985), shape (P, P).
        freedom: observations - P.
        inflation: by how much the other columns inflate each coefficient's variance (VIF), shape (P,); infinite where
            the others determine the column.
    """

    estimate: Floats
    covariance: Floats
    freedom: int
    inflation: Floats

    def contrast(self, weights: Floats) -> tuple[float, float, float]:
        """Return a combination of coefficients, its standard error, and the p-value of «it is zero»."""
        value = float(weights @ self.estimate)
        error = float(np.sqrt(max(float(weights @ self.covariance @ weights), 0.0)))
        if error == 0:
            return value, 0.0, 1.0 if value == 0 else 0.0
        return value, error, float(2 * stats.t.sf(abs(value) / error, self.freedom))

    def reach(self, error: float, level: float = 0.05) -> float:
        """Return the half-width of the interval of an estimate with this standard error."""
        return float(stats.t.isf(level / 2, self.freedom)) * error


def least_squares(columns: Floats, values: Floats) -> Fit:
    """Return the fit of `values`, shape (N,), by `columns`, shape (N, P), the first of which is the constant."""
    count, width = columns.shape
    inverse = np.linalg.pinv(columns.T @ columns)
    rest = values - values[0]  # zero where all are alike, so that rounding is no effect
    estimate = inverse @ columns.T @ rest
    residual = rest - columns @ estimate
    estimate[0] += values[0]
    leverage = np.clip(np.einsum("np,pq,nq->n", columns, inverse, columns), 0.0, 1 - 1e-6)
    weighted = columns * (residual / (1 - leverage))[:, None]
    covariance = inverse @ (weighted.T @ weighted) @ inverse
    return Fit(estimate, covariance, count - width, inflations(columns))


def inflations(columns: Floats) -> Floats:
    """Return each column's variance inflation by the others; infinite where they determine it."""
    found = np.ones(columns.shape[1])
    for place in range(1, columns.shape[1]):
        column = columns[:, place]
        others = np.delete(columns, place, axis=1)
        rest = column - others @ np.linalg.lstsq(others, column, rcond=None)[0]
        total = float(((column - column.mean()) ** 2).sum())
        left = float((rest**2).sum())
        found[place] = np.inf if left <= 1e-10 * max(total, 1e-300) else total / left
    return found
