"""A Gaussian process over encoded networks and shares of the epochs: scikit-learn's, with two kernels of our own.

The covariance of two observations is a Matérn 5/2 over columns, each with its own length (ARD), a linear trend, and, of
one and the same network, what is its own: no column tells it, and more epochs do not wash it out. Noise is the seeds'
and an unknown rest.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    ConstantKernel,
    DotProduct,
    Hyperparameter,
    Kernel,
    Matern,
    StationaryKernelMixin,
    WhiteKernel,
)
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float64]

_TINY = 1e-9
"""Distance between the numbers of two networks in the last column: no kernel sees it but `SameNetwork`."""

_CHUNK = 1024
"""Rows predicted at a time: their covariances with 800 observations fit into a core's cache."""


class SameNetwork(StationaryKernelMixin, Kernel):  # type: ignore[misc]
    """1 where the last column is the same, else 0; scikit-learn's interface."""

    def __init__(self) -> None:  # scikit-learn asks for its arguments
        super().__init__()

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Return the covariances of rows."""
        same = np.equal.outer(X[:, -1], (X if Y is None else Y)[:, -1]).astype(float)
        return (same, np.zeros((*same.shape, 0))) if eval_gradient else same

    def diag(self, X: Floats) -> Floats:
        """Return the variances of rows."""
        return np.ones(len(X))

    def __repr__(self) -> str:
        return "SameNetwork()"

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """It has none."""
        return []


class Process:
    """A fitted Gaussian process.

    Attributes:
        kernels: those that were tried, fitted, each with Akaike's criterion; more is better.
        kernel: the best of them.
        simpler: those with no more parameters than the best has.

    Args:
        columns: of the observations, shape (n, d): encoded networks and, last, the log share of the epochs.
        network: which network each is of.
        target: what was observed.
        noise: known variance of each.
        tuned: how many of the first rows the kernel is fitted to.
        like: a process of more such observations, whose `simpler` kernels the fit tries; it begins with them.
    """

    def __init__(
        self,
        columns: Floats,
        network: npt.NDArray[np.int64],
        target: Floats,
        noise: Floats,
        tuned: int,
        like: Process | None = None,
    ) -> None:
        self._centre = float(target[:tuned].mean())
        self._scale = float(target[:tuned].std()) or 1.0
        inputs = np.column_stack((columns, _TINY * (1.0 + network)))
        scaled = (target - self._centre) / self._scale
        noise = noise / self._scale**2 + 1e-8
        starts = _kernels(inputs.shape[1]) if like is None else like.simpler
        told = (inputs[:tuned], scaled[:tuned], noise[:tuned])
        self.kernels: list[tuple[Any, float]] = [_fitted(start, *told) for start in starts]
        best = max(range(len(self.kernels)), key=lambda one: self.kernels[one][1])
        self.simpler: list[Any] = [kernel for kernel, _ in self.kernels[: best + 1]]
        self.kernel = kernel = self.simpler[-1]
        self._fitted = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(inputs, scaled)
        named = kernel.get_params()
        lengths = np.broadcast_to(named["k1__k1__k1__k2__length_scale"], inputs.shape[1])
        self._lengths = np.array(lengths[:-1])
        self._variances = [named[f"k1__k1__{one}__k1__constant_value"] for one in ("k1", "k2")]
        self._own = named["k1__k2__k1__constant_value"] + named["k2__noise_level"]

    def predict(self, columns: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of observations of new networks, the known noise of seeds left out."""
        inputs = np.column_stack((columns, np.full(len(columns), -_TINY)))
        mean, deviation = self._fitted.predict(inputs, return_std=True)
        return mean * self._scale + self._centre, deviation * self._scale

    def predict_many(self, columns: Floats, with_deviation: bool = True) -> tuple[Floats, Floats]:
        """Return what `predict` does, in single precision, some rows at a time.

        Without deviations there are bounds in their place: what is known of networks that none was observed near to.
        """
        trained = torch.from_numpy(self._fitted.X_train_[:, :-1]).float()
        weights = torch.from_numpy(self._fitted.alpha_).float()
        root = torch.from_numpy(self._fitted.L_).float()
        lengths = torch.from_numpy(self._lengths).float()
        near, far = (float(one) for one in self._variances)
        means, deviations = np.empty(len(columns)), np.empty(len(columns))
        for start in range(0, len(columns), _CHUNK):
            new = torch.from_numpy(columns[start : start + _CHUNK]).float()
            distance = torch.cdist(new / lengths, trained / lengths).mul_(5**0.5)
            covariance = (1 + distance + distance * distance / 3).mul_(near).mul_(torch.exp(-distance))
            covariance += far * (1 + new @ trained.T)
            means[start : start + _CHUNK] = (covariance @ weights).numpy()
            variance = near + far * (1 + (new * new).sum(1)) + self._own
            if with_deviation:
                solved = torch.linalg.solve_triangular(root, covariance.T, upper=False)
                variance = variance - (solved * solved).sum(0)
            deviations[start : start + _CHUNK] = variance.clamp_min(self._own).sqrt().numpy()
        return means * self._scale + self._centre, deviations * self._scale

    @property
    def least_deviation(self) -> float:
        """The standard deviation that no further observation of other networks takes away."""
        return float(np.sqrt(self._own)) * self._scale


def _kernels(columns: int) -> list[Any]:
    """Return the kernels that are tried, for so many columns and the number of the network: a trend, and more.

    Where few networks were observed, a length for each column finds patterns in noise.
    """
    far = ConstantKernel(0.1, (1e-5, 10.0)) * DotProduct(1.0, "fixed")
    own = ConstantKernel(0.05, (1e-5, 1.0)) * SameNetwork()
    noise = WhiteKernel(0.05, (1e-6, 1.0))
    nothing = ConstantKernel(1e-8, "fixed") * Matern(np.full(columns, 3.0), "fixed", nu=2.5)
    one_length = ConstantKernel(1.0, (1e-3, 1e2)) * Matern(3.0, (0.3, 100.0), nu=2.5)
    lengths = ConstantKernel(1.0, (1e-3, 1e2)) * Matern(np.full(columns, 3.0), (0.3, 100.0), nu=2.5)
    return [near + far + own + noise for near in (nothing, one_length, lengths)]


def _fitted(kernel: Any, inputs: Floats, target: Floats, noise: Floats) -> tuple[Any, float]:
    """Return a kernel fitted by its likelihood, and Akaike's criterion of it: a log likelihood, less its parameters."""
    regression = GaussianProcessRegressor(kernel, alpha=noise)
    with warnings.catch_warnings(), threadpool_limits(1):  # matrices of 200 rows: threads cost more than they do
        warnings.simplefilter("ignore", ConvergenceWarning)  # of lengths at their bounds: columns that say nothing
        regression.fit(inputs, target)
    return regression.kernel_, float(regression.log_marginal_likelihood_value_) - len(regression.kernel_.theta)
