"""How error falls with scale: error = c + a·x^(-b), by variable projection.

For a given exponent b the model is linear in c and a, so the best c and a not below zero are found exactly (by
non-negative least squares); b is searched on a grid. No starting value is guessed, where fits from starting values went
wrong in published scaling laws (Besiroglu et al. 2024; Li et al. 2025). Intervals are profile likelihood ones: the
values of a parameter at which the best fit is not worse than an F-test allows (Bates and Watts 1988, section 6.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ressearch.statistics.means import Floats

EXPONENTS = np.linspace(0.02, 4.0, 200)
"""The exponents searched."""


@dataclass(frozen=True)
class PowerLaw:
    """A fit of error = floor + scale · (x / unit)^(-exponent), `unit` being the geometric mean of x.

    Attributes:
        exponent, exponent_low, exponent_high: b; an end that the data do not bound is infinite or 0.
        floor, floor_low, floor_high: c, the error that no scale removes.
        scale: a.
        unit: the x at which the power law's part is `scale`.
        misfit: weighted residual sum of squares.
        freedom: observations - 3.
    """

    exponent: float
    exponent_low: float
    exponent_high: float
    floor: float
    floor_low: float
    floor_high: float
    scale: float
    unit: float
    misfit: float
    freedom: int

    def error(self, x: float | Floats) -> Floats:
        """Return the error that the fit says x has."""
        return np.asarray(self.floor + self.scale * (np.asarray(x, dtype=float) / self.unit) ** -self.exponent)


def fit(x: Floats, error: Floats, variance: Floats, confidence: float = 0.95) -> PowerLaw:
    """Return the power law of some networks' errors.

    Args:
        x: what grows, above zero, shape (N,), at least four distinct values.
        error: mean errors, shape (N,).
        variance: of those means, shape (N,), above zero; only their ratios matter.
    """
    unit = float(np.exp(np.log(x).mean()))
    root = np.sqrt(np.mean(variance) / variance)
    ratio = x / unit

    def solve(exponent: float, floor: float | None = None) -> tuple[float, Floats]:
        basis = (ratio**-exponent * root)[:, None]
        if floor is not None:
            target = (error - floor) * root
            scale = max(float(basis[:, 0] @ target / (basis[:, 0] @ basis[:, 0])), 0.0)
            return float(((target - basis[:, 0] * scale) ** 2).sum()), np.array([floor, scale])
        found, rest = optimize.nnls(np.column_stack([root, basis[:, 0]]), error * root)
        return float(rest**2), found

    misfits = np.array([solve(one)[0] for one in EXPONENTS])
    place = int(misfits.argmin())
    low, high = EXPONENTS[max(place - 1, 0)], EXPONENTS[min(place + 1, len(EXPONENTS) - 1)]
    exponent = float(optimize.minimize_scalar(lambda one: solve(one)[0], bounds=(low, high), method="bounded").x)
    misfit, (floor, scale) = solve(exponent)
    freedom = len(x) - 3
    bound = misfit * (1 + stats.f.isf(1 - confidence, 1, freedom) / freedom)
    inside = EXPONENTS[misfits <= bound]
    step = float(EXPONENTS[1] - EXPONENTS[0])

    def of_exponent(value: float) -> float:
        return solve(max(value, 1e-3))[0]

    ends = (float(inside.min()), float(inside.max())) if len(inside) else (exponent, exponent)
    exponent_low = 0.0 if ends[0] <= EXPONENTS[0] else _edge(of_exponent, ends[0], ends[0] - step, bound)
    exponent_high = np.inf if ends[1] >= EXPONENTS[-1] else _edge(of_exponent, ends[1], ends[1] + step, bound)
    # A floor whose best fit is within the bound has its exponent within the exponent's own interval.
    near = np.linspace(max(exponent_low, 1e-3), min(exponent_high, EXPONENTS[-1]), 100)

    def of_floor(value: float) -> float:
        return min(solve(one, value)[0] for one in near)

    floor_low = 0.0 if of_floor(0.0) <= bound else _edge(of_floor, float(floor), 0.0, bound)
    floor_high = _edge(of_floor, float(floor), float(error.min()) * 2, bound)
    return PowerLaw(
        exponent,
        exponent_low,
        exponent_high,
        float(floor),
        floor_low,
        floor_high,
        float(scale),
        unit,
        misfit,
        freedom,
    )


def smooth_variance(error: Floats, own: Floats, freedom: Floats) -> Floats:
    """Return variances over seeds that follow a power of the error, for weights.

    The variance of two or three seeds is too rough a weight: one that is small by chance decides the fit, and intervals
    hold in 80 % of cases (`benchmarks/planted_truth.py`). The power is fitted by gamma quasi-likelihood (McCullagh and
    Nelder 1989, chapter 8) and drawn towards 1, that of a count of rare errors, as by a normal prior of deviation 1.

    Args:
        error: of each network, shape (G,).
        own: variances over each network's seeds, shape (G,); NaN for one seed.
        freedom: their degrees of freedom, seeds - 1, shape (G,), at least one above zero.
    """
    known = freedom > 0
    logs = np.log(np.maximum(error, 1e-4))
    logs = logs - np.average(logs[known], weights=freedom[known])
    columns, weight = np.column_stack([np.ones(known.sum()), logs[known]]), freedom[known] / 2
    mean = float(np.average(own[known], weights=weight))
    if mean <= 0:
        return np.ones(len(error))
    scaled, prior = own[known] / mean, np.diag([0.0, 1.0])
    found = np.array([0.0, 0.0])
    for _ in range(50):
        surplus = scaled * np.exp(-np.clip(columns @ found, -30, 30)) - 1
        slope = columns.T @ (weight * surplus) - prior @ (found - 1)
        step = np.linalg.solve((columns.T * weight) @ columns + prior, slope)
        step *= min(1.0, 1 / float(np.abs(step).max() + 1e-300))
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(mean * np.exp(found[0] + found[1] * logs))


def _edge(profile: Callable[[float], float], inside: float, outside: float, bound: float) -> float:
    """Return where a profile crosses the bound between a value within it and one beyond, by bisection."""
    for _ in range(30):
        middle = (inside + outside) / 2
        if profile(middle) <= bound:
            inside = middle
        else:
            outside = middle
    return inside


def flatness(x: Floats, error: Floats, variance: Floats, found: PowerLaw) -> float:
    """Return the p-value of «the error does not change with x», against the fitted power law (F-test)."""
    weight = np.mean(variance) / variance
    flat = float((weight * (error - (weight * error).sum() / weight.sum()) ** 2).sum())
    if found.misfit <= 0:
        return 0.0 if flat > 0 else 1.0
    ratio = (flat - found.misfit) / 2 / (found.misfit / found.freedom)
    return float(stats.f.sf(max(ratio, 0.0), 2, found.freedom))
