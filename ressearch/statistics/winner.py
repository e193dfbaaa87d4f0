"""The best of many, without the optimism of having been chosen.

The mean of a network that was chosen for its mean is too high: its noise helped to choose it. Empirical Bayes takes
that out: the networks' true accuracies follow some distribution, estimated from all of them, and each network's
estimate is its expectation given its own mean (Robbins 1956; Efron 2011). Two distributions are fitted, the normal one
(by restricted maximum likelihood) and the nonparametric one (Kiefer and Wolfowitz 1956, by expectation-maximisation on
a grid), and weighed by their likelihoods: the first serves few networks, the second populations of good and collapsed
ones.
`standing` is what rankings, picks and reports share: the networks' accuracies given all of them, in one order, and
which of them are tied with the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from ressearch.statistics.means import Floats, scores_by_seed

_GRID = 120
_ROUNDS = 200
_LEADERS = 500
_RIVALS = 50
"""Networks of the highest means that the others are compared with: who is tied with the best is decided by these."""

_FEWEST = 3
"""Networks that tell how networks are spread."""

_FITTED = 2000
"""Networks that the distribution is fitted to at most (drawn with a fixed seed)."""

_PARSIMONY = 3.0
"""Log-likelihood by which the nonparametric distribution has to be ahead of the normal one to weigh as much."""

_LEAST = 1.1
"""The error of the best network's estimate is at least this many times its mean's: posterior errors leave out what is
not known of a fitted distribution, and with 0.9 intervals hold in 92 % of cases (`benchmarks/planted_truth.py`)."""


@dataclass(frozen=True)
class Shrunk:
    """Networks' accuracies given all of them.

    Attributes:
        estimate: posterior means, shape (G,).
        error: posterior standard deviations, with what is not known of the distribution, shape (G,).
        freedom: of the variances over seeds; for the quantiles of intervals.
        leaders: the networks that may be the best of all, at most 500 of the highest estimates, shape (L,).
        draws: of the leaders' true accuracies at once, shape (draws, L).
        spread: the standard deviation of the networks' true accuracies.
    """

    estimate: Floats
    error: Floats
    freedom: float
    leaders: NDArray[np.intp]
    draws: Floats
    spread: float

    @property
    def best(self) -> int:
        """The network of the highest estimate."""
        return int(np.argmax(self.estimate))

    @property
    def chance_of_best(self) -> Floats:
        """The probability that each network is the best of all, shape (G,)."""
        highest = self.draws == self.draws.max(axis=1, keepdims=True)
        chance = np.zeros(len(self.estimate))
        chance[self.leaders] = (highest / highest.sum(axis=1, keepdims=True)).mean(axis=0)  # equal ones share a draw
        return chance

    @property
    def regret(self) -> float:
        """By how much the best network of all is expected to be better than the one of the highest estimate."""
        return float((self.draws.max(axis=1) - self.draws[:, self.leaders == self.best][:, 0]).mean())

    def interval(self, network: int, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval of one network's true accuracy."""
        reach = float(stats.t.isf((1 - confidence) / 2, self.freedom)) * self.error[network]
        return float(self.estimate[network] - reach), float(self.estimate[network] + reach)


@dataclass(frozen=True)
class Standing:
    """Where networks stand by what their seeds reached.

    Attributes:
        mean: of each network over its seeds, shape (G,).
        seeds: how many, shape (G,).
        variance: of one seed's score, drawn towards those of networks of like accuracy, shape (G,); NaN where nothing
            says what it is.
        freedom: its degrees of freedom, shape (G,).
        shrunk: the accuracies given all of them; None of fewer than three networks, or where a variance is not known.
    """

    mean: Floats
    seeds: Floats
    variance: Floats
    freedom: Floats
    shrunk: Shrunk | None

    @property
    def estimate(self) -> Floats:
        """What networks are ranked by: their accuracies given all of them; their means where that is not known."""
        return self.mean if self.shrunk is None else self.shrunk.estimate

    def draws(self, networks: NDArray[np.intp] | None = None) -> Floats | None:
        """Return true accuracies of networks drawn at once, shape (draws, networks); None where chance is not known.

        A network that cannot be the best of all is drawn alone, from its estimate and error.

        Args:
            networks: which; None is all.
        """
        if self.shrunk is None:
            return None
        shrunk = self.shrunk
        which = np.arange(len(shrunk.estimate)) if networks is None else networks
        column = np.full(len(shrunk.estimate), -1)
        column[shrunk.leaders] = np.arange(len(shrunk.leaders))
        leads = column[which] >= 0
        every = np.empty((len(shrunk.draws), len(which)))
        every[:, leads] = shrunk.draws[:, column[which[leads]]]
        noise = np.random.default_rng(0).standard_normal((len(shrunk.draws), int((~leads).sum())))
        every[:, ~leads] = shrunk.estimate[which[~leads]] + shrunk.error[which[~leads]] * noise
        return every

    def tied(self, among: Sequence[int] | None = None, confidence: float = 0.95) -> list[int]:
        """Return the networks that no other was shown to beat, the highest mean first.

        One-sided t-tests of differences, held together over all others (Hsu 1981; Sidak 1967). Where variances are not
        known nothing can be shown: all are tied.

        Args:
            among: the networks compared; None is all.
            confidence: of the statement that the best of all is one of them.
        """
        which = np.arange(len(self.mean)) if among is None else np.asarray(among, dtype=np.intp)
        level = 1 - confidence ** (1 / max(len(which) - 1, 1))
        ordered = which[np.argsort(-self.mean[which], kind="stable")]
        left = ordered[self._beaten(ordered, ordered[:1])[:, 0] > level]  # whom the first beats needs no other test
        return [int(one) for one in left[self._beaten(left, ordered[:_RIVALS]).min(axis=1) > level]]

    def _beaten(self, networks: NDArray[np.intp], rivals: NDArray[np.intp]) -> Floats:
        """Return one-sided p-values of «the rival is no better», shape (networks, rivals)."""
        variance = self.variance / self.seeds
        square = variance**2 / np.maximum(self.freedom, 1e-9)
        total = variance[networks, None] + variance[None, rivals]
        gap = self.mean[None, rivals] - self.mean[networks, None]
        squares = square[networks, None] + square[None, rivals]
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = np.where(squares > 0, total**2 / squares, 1e9)
            ratio = np.where(total > 0, gap / np.sqrt(total), np.where(gap > 0, np.inf, 0.0))
        p = np.where(np.isnan(total), 1.0, special.stdtr(freedom, -ratio))
        p[gap <= 0] = 1.0
        return np.asarray(p)


def standing(scores: Sequence[ArrayLike], resolution: float = 0.0, draws: int = 2000) -> Standing:
    """Return where networks stand.

    Args:
        scores: of each network, one for each seed, as fractions.
        resolution: the step between scores that can be told apart, 1/examples; 0 if not known.
        draws: how often the true accuracies are drawn, for probabilities; 0 where these are not asked for.
    """
    mean, seeds, variance, freedom = scores_by_seed(scores, resolution)
    shrunk = None
    if len(mean) >= _FEWEST and (variance > 0).all():  # false where one is not known
        shrunk = shrink(mean, variance / seeds, float(np.median(freedom)), draws)
    return Standing(mean, seeds, variance, freedom, shrunk)


def shrink(mean: Floats, variance: Floats, freedom: float, draws: int = 2000) -> Shrunk:
    """Return the networks' accuracies given all of them.

    Args:
        mean: of each network over its seeds, shape (G,), at least two networks.
        variance: of those means, shape (G,), above zero.
        freedom: degrees of freedom of the variances.
        draws: how often the true accuracies are drawn.
    """
    rng = np.random.default_rng(0)
    centre, between = _restricted(mean, variance)
    normal = _normal_posterior(mean, variance, centre, between)
    uncertain = _hierarchical(mean, variance)
    fitted = np.arange(len(mean)) if len(mean) <= _FITTED else rng.choice(len(mean), _FITTED, replace=False)
    grid, weights, ahead = _nonparametric(mean[fitted], variance[fitted], centre, between)
    posterior = _likelihood(mean, variance, grid) * weights
    posterior /= posterior.sum(axis=1, keepdims=True)
    free = posterior @ grid
    free_error = np.sqrt(np.maximum(posterior @ grid**2 - free**2, 0.0))
    weight = 1 / (1 + np.exp(-2 * np.clip(ahead - _PARSIMONY, -200, 200)))
    estimate = weight * free + (1 - weight) * normal[0]
    error = np.sqrt(
        weight * np.maximum(free_error, uncertain) ** 2
        + (1 - weight) * uncertain**2
        + weight * (1 - weight) * (free - normal[0]) ** 2
    )
    best = int(np.argmax(estimate))
    error[best] = max(error[best], _LEAST * float(np.sqrt(variance[best])))
    leaders = np.argsort(-free)[:_LEADERS]
    if best not in leaders:
        leaders[-1] = best
    few = normal[0][leaders], normal[1][leaders]
    return Shrunk(
        estimate,
        error,
        freedom,
        leaders,
        _drawn(rng, draws, posterior[leaders], grid, few, weight),
        float(np.sqrt(between)),
    )


def _drawn(
    rng: np.random.Generator, draws: int, posterior: Floats, grid: Floats, normal: tuple[Floats, Floats], weight: float
) -> Floats:
    """Draw true accuracies from the posterior, the two distributions mixed by their weight; (draws, G)."""
    cumulated = posterior.cumsum(axis=1)
    places = np.stack([np.searchsorted(one, rng.random(draws)) for one in cumulated], axis=1).clip(max=len(grid) - 1)
    step = np.gradient(grid)
    free = grid[places] + step[places] * (rng.random(places.shape) - 0.5)
    smooth = normal[0] + normal[1] * rng.standard_normal((draws, len(posterior)))
    is_free = rng.random((draws, 1)) < weight
    return np.where(is_free, free, smooth)


def _restricted(mean: Floats, variance: Floats) -> tuple[float, float]:
    """Return the mean and the variance of true accuracies under a normal distribution (Morris 1983)."""
    count, between = len(mean), max(float(mean.var(ddof=1) - variance.mean()), 0.0)
    centre = float(mean.mean())
    for _ in range(200):
        weights = 1 / (between + variance)
        centre = float((weights * mean).sum() / weights.sum())
        squares = (mean - centre) ** 2 * count / (count - 1) - variance
        again = max(float((weights**2 * squares).sum() / (weights**2).sum()), 0.0)
        if abs(again - between) < 1e-12:
            break
        between = again
    weights = 1 / variance
    unlike = float((weights * (mean - (weights * mean).sum() / weights.sum()) ** 2).sum())
    if stats.chi2.sf(unlike, count - 1) > 0.05:
        between /= 4  # not shown to be above zero: an estimate that cannot be negative is too high on average
    return centre, between


def _normal_posterior(mean: Floats, variance: Floats, centre: float, between: float) -> tuple[Floats, Floats]:
    kept = between / (between + variance)
    return kept * mean + (1 - kept) * centre, np.sqrt(kept * variance)


def _hierarchical(mean: Floats, variance: Floats) -> Floats:
    """Return posterior standard deviations with the normal distribution's variance unknown (Gelman 2006: flat)."""
    widest = 3 * np.sqrt(max(float(mean.var(ddof=1)), float(variance.mean())))
    logs, means, squares = [], [], []
    for spread in np.linspace(0.001, 1, 60) * widest:
        total = spread**2 + variance
        precision = (1 / total).sum()
        centre = (mean / total).sum() / precision
        logs.append(-0.5 * np.log(precision) - 0.5 * np.log(total).sum() - 0.5 * ((mean - centre) ** 2 / total).sum())
        kept = spread**2 / total
        one = kept * mean + (1 - kept) * centre
        means.append(one)
        squares.append(kept * variance + (1 - kept) ** 2 / precision + one**2)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    average = weights @ np.array(means)
    return np.asarray(np.sqrt(np.maximum(weights @ np.array(squares) - average**2, 0.0)))


def _nonparametric(mean: Floats, variance: Floats, centre: float, between: float) -> tuple[Floats, Floats, float]:
    """Return the grid, its weights, and by how much log-likelihood they are ahead of the normal distribution."""
    step = float(np.sqrt(np.median(variance)))
    low, high = float(mean.min()), float(mean.max())
    near = np.linspace(max(low, high - 12 * step), high, _GRID // 2)
    grid = np.unique(np.concatenate([np.linspace(low, high, _GRID // 2), near]))
    if len(grid) < 2:
        grid = np.array([low - 1e-6, low + 1e-6])
    likelihood = _likelihood(mean, variance, grid)
    weights = np.gradient(grid)
    weights /= weights.sum()
    for _ in range(_ROUNDS):
        weights = weights * (likelihood / (likelihood @ weights)[:, None]).mean(axis=0)
    free = np.log(likelihood @ weights).sum() - 0.5 * np.log(2 * np.pi * variance).sum()
    normal = stats.norm.logpdf(mean, centre, np.sqrt(between + variance)).sum()
    return grid, weights, float(free - normal)


def _likelihood(mean: Floats, variance: Floats, grid: Floats) -> Floats:
    return np.asarray(np.exp(np.maximum(-0.5 * (mean[:, None] - grid) ** 2 / variance[:, None], -600.0)))
