"""Predicts the accuracy of networks that a study did not train, with intervals that say how sure that is.

A Gaussian process (`ressearch.picking.regression`) learns the log of the validation error from what is known of each
trained network (`ressearch.picking.encoding`), at whatever epoch it was seen (`ressearch.picking.observations`). Its
intervals are then scaled so that nine in ten hold: networks are left out in turn and predicted by the others. Only
those that were drawn without looking at results count for that: what a search chose for its promise is not like a
network from anywhere. Networks unlike all that were trained are said to be beyond what it knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from ressearch.errors import StudyError
from ressearch.networks.architecture import Architecture
from ressearch.picking.encoding import Encoding, Networks
from ressearch.picking.observations import Observations, observe
from ressearch.picking.regression import Process
from ressearch.results.store import Results
from ressearch.shapes import Shape
from ressearch.spaces.columns import Columns

Floats = npt.NDArray[np.float64]

LEAST_TRIALS = 30
"""Trials that a study needs for its networks to be predicted from."""

COVERAGE = 0.9
"""Share of the intervals that are to hold."""

_MOST, _TUNED, _FOLDS, _LEAST_EVEN = 800, 200, 10, 10
"""Observations learned from, those the kernel is fitted to, folds of networks left out, and trials to calibrate on."""

_FULL = 50_000
"""Networks whose deviations are all computed; of more, those that can be among the best."""

_BEST = 1_000
"""How many of the best by their lower ends are sure to have the deviations computed."""


class Prediction(NamedTuple):
    """What is predicted of networks, at the study's full training and number of seeds; a row for each.

    Attributes:
        mean: validation accuracy (the middle: as likely above as below).
        low, high: ends of the interval that holds in nine of ten cases. Of more than 50,000 networks, those that cannot
            be among the thousand best by `low` have wider ones, from a bound.
        beyond: whether the network is unlike all that were trained: farther from the nearest than any of those is from
            its nearest, or with a choice that none of them had. Its other figures are not to be trusted.
    """

    mean: Floats
    low: Floats
    high: Floats
    beyond: npt.NDArray[np.bool_]

    @property
    def refused(self) -> int:
        """How many networks are beyond what is known."""
        return int(self.beyond.sum())


class Surrogate:
    """A regression of accuracy on what networks are; `Surrogate.of(results)` fits one to a study.

    Attributes:
        facts: what it learned from and how well it predicts networks it has not seen; JSON-ready. `calibration` has
            the trials that the intervals were scaled on (`n`, `on`: ``drawn at random`` or ``all``), the `scale`, and
            the `coverage` of held-out trials, of those drawn at random and of those that the search chose; `held_out`
            has R², Spearman's correlation and the mean absolute error, of accuracies after the last epoch.
    """

    def __init__(
        self, observed: Observations, input_shape: Shape, num_classes: int | None, facts: Mapping[str, Any]
    ) -> None:
        self._observed, self._shape, self._classes = _at_most(observed, _MOST), tuple(input_shape), num_classes
        trained = Networks.of(self._observed.networks, self._shape, self._classes)
        self._encoding = Encoding.fit(trained)
        if not self._encoding.names:
            raise StudyError("every trained network is the same: there is nothing to predict others from")
        self._encoded = self._encoding.encode(trained)
        self._has_shares = bool((self._observed.share < 1).any())
        every = np.arange(len(self._observed.share))
        self._process = self._fit(every)
        self._farthest = float(_nearest(self._encoded, self._encoded, is_self=True).max())
        self._scale = 1.0
        self._seeds = self._typical_noise()
        self.facts: dict[str, Any] = {**facts, **self._calibrate()}

    @classmethod
    def of(cls, results: Results) -> Surrogate:
        """Return the regression of a study's trials: those that trained every epoch and those that were stopped early.

        Raises:
            StudyError: the study has fewer than 30 such trials, or all trained the same network.
        """
        observed = observe(results)
        trials = int(observed.is_last.sum())
        if trials < LEAST_TRIALS:
            raise StudyError(
                f"{results.source or results.directory}: {trials} trials trained an epoch or more; predicting networks "
                f"that were not trained needs {LEAST_TRIALS}"
            )
        full = int((observed.is_last & observed.is_full).sum())
        statuses = results.trials["status"].value_counts()
        facts = {
            "trials": trials,
            "fully_trained": full,
            "stopped_early": trials - full,
            "diverged": int(statuses.get("diverged", 0)),
            "networks": len(observed.networks),
        }
        shape = tuple(results.run.get("input_shape") or (3, 32, 32))
        return cls(observed, shape, results.run.get("num_classes"), facts)

    def predict(self, networks: Columns | Sequence[Architecture]) -> Prediction:
        """Predict the validation accuracy of networks after full training under the study's recipe.

        Args:
            networks: columns of a space, or architectures.

        Raises:
            StudyError: the columns were costed for inputs of another shape than the study's.
            ArchitectureError: an architecture does not fit the study's input.
        """
        if isinstance(networks, Columns) and (shape := tuple(networks.space.input_shape)) != self._shape:
            raise StudyError(f"the networks are for inputs of shape {shape}; the study's have {self._shape}")
        described = Networks.of(networks, self._shape, self._classes)
        if not len(described):
            return Prediction(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, bool))
        encoded = self._encoding.encode(described)
        beyond = self._encoding.is_foreign(described) | (_nearest(encoded, self._encoded) > self._farthest)
        columns = self._with_share(encoded, np.ones(len(encoded)))
        if len(encoded) <= _FULL:
            middle, deviation = self._process.predict_many(columns)
        else:
            middle, deviation = self._process.predict_many(columns, with_deviation=False)
            self._refine(columns, middle, deviation, ~beyond)
        low, mean, high = (_accuracy(middle + sign * self._reach(deviation)) for sign in (1, 0, -1))
        return Prediction(mean, low, high, beyond)

    def _reach(self, deviation: Any) -> Any:
        """Return half the width of an interval, in units of the target."""
        return self._scale * np.sqrt(deviation**2 + self._seeds)

    def _refine(self, columns: Floats, middle: Floats, deviation: Floats, usable: npt.NDArray[np.bool_]) -> None:
        """Compute deviations, the best means first, until no other network can be among the best by its lower end.

        A lower end is at best that of the least deviation there is.
        """
        order = np.flatnonzero(usable)[np.argsort(middle[usable], kind="stable")]
        least = self._process.least_deviation
        for start in range(0, len(order), _FULL):
            chosen = order[start : start + _FULL]
            seen = order[:start]
            if len(seen) >= _BEST:
                worst = np.partition(middle[seen] + self._reach(deviation[seen]), _BEST - 1)[_BEST - 1]
                if middle[chosen[0]] + self._reach(least) > worst:
                    break
            _, deviation[chosen] = self._process.predict_many(columns[chosen])

    def _with_share(self, encoded: Floats, share: Floats) -> Floats:
        return np.column_stack((encoded, np.log2(share))) if self._has_shares else encoded

    def _inputs(self, rows: npt.NDArray[np.int64]) -> Floats:
        return self._with_share(self._encoded[self._observed.network[rows]], self._observed.share[rows])

    def _target(self, rows: npt.NDArray[np.int64]) -> Floats:
        return np.log(self._errors(rows))

    def _errors(self, rows: npt.NDArray[np.int64]) -> Floats:
        errors: Floats = np.maximum(1 - self._observed.accuracy[rows], self._observed.floor)
        return errors

    def _noise(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Return the variance of the targets that the seeds tell of (the delta method); 0 where they tell nothing."""
        noise: Floats = np.nan_to_num(self._observed.variance[rows]) / self._errors(rows) ** 2
        return noise

    def _typical_noise(self) -> float:
        """Return the noise of another fully trained network with as many seeds, as a variance of the target."""
        seen = self._observed
        rows = np.flatnonzero(seen.is_last & seen.is_full)
        return float(np.median(self._noise(rows if len(rows) else np.flatnonzero(seen.is_last))))

    def _fit(self, rows: npt.NDArray[np.int64], like: Process | None = None) -> Process:
        """Fit the regression to some observations; rows are in order of what the kernel is to be fitted to first."""
        network, tuned = self._observed.network[rows], min(len(rows), _TUNED)
        return Process(self._inputs(rows), network, self._target(rows), self._noise(rows), tuned, like)

    def _calibrate(self) -> dict[str, Any]:
        """Leave networks out in turn, set the scale of the intervals, and return what was seen of both."""
        seen = self._observed
        fold = np.random.default_rng(0).permutation(len(seen.networks))[seen.network] % _FOLDS
        middle, deviation = np.zeros(len(seen.share)), np.ones(len(seen.share))
        for one in range(_FOLDS):
            out, kept = np.flatnonzero((fold == one) & seen.is_last), np.flatnonzero(fold != one)
            if len(out) and len(kept):
                middle[out], deviation[out] = self._fit(kept, self._process).predict(self._inputs(out))
        rows = np.flatnonzero(seen.is_last)
        deviation = np.sqrt(deviation**2 + self._noise(np.arange(len(deviation))))
        miss = np.abs(self._target(np.arange(len(middle))) - middle) / deviation
        even, chosen = rows[seen.is_even[rows]], rows[~seen.is_even[rows]]
        is_enough = len(even) >= _LEAST_EVEN
        base = even if is_enough else rows
        self._scale = _quantile(miss[base])
        by_others = [miss[row] <= _quantile(miss[base[fold[base] != fold[row]]]) for row in base]
        full = rows[seen.is_full[rows]]
        coverage = {
            "drawn at random": _share(np.array(by_others)) if is_enough else _share(miss[even] <= self._scale),
            "chosen by the search": _share(miss[chosen] <= self._scale),
        }
        return {
            "observations": len(seen.share),
            "columns": list(self._encoding.names),
            "calibration": {
                "on": "drawn at random" if is_enough else "all",
                "n": len(base),
                "drawn_at_random": len(even),
                "scale": round(self._scale, 4),
                "coverage": coverage,
            },
            "held_out": _held_out(seen.accuracy[full], _accuracy(middle[full])),
        }

    def __str__(self) -> str:
        facts, calibration, held_out = self.facts, self.facts["calibration"], self.facts["held_out"]
        lines = [
            f"predicted from {facts['trials']} trials of {facts['networks']} networks "
            f"({facts['stopped_early']} stopped early)"
        ]
        if held_out["n"]:
            lines.append(
                f"{held_out['n']} trials left out: mean absolute error {held_out['mean_absolute_error']:.4f}, "
                f"R2 {held_out['r2']:.2f}, rank correlation {held_out['spearman']:.2f}"
            )
        if calibration["on"] == "all":
            lines.append(
                f"{calibration['drawn_at_random']} trials were drawn at random or had fresh seeds, too few to scale "
                f"the 90 % intervals on: scaled on all {calibration['n']}, they may hold less often"
            )
        else:
            lines.append(f"90 % intervals scaled on {calibration['n']} trials drawn at random or on fresh seeds")
        held = [f"{value:.0%} of those {key}" for key, value in calibration["coverage"].items() if value is not None]
        return "\n".join([*lines, *([f"they held for {' and '.join(held)}"] if held else [])])


def _at_most(observed: Observations, most: int) -> Observations:
    """Return the observations, at most so many: those of full training first, then those of others, then earlier ones.

    Within each kind their order is drawn, from a fixed seed: the first ones stand for the others.
    """
    kind = np.where(observed.is_last, np.where(observed.is_full, 0, 1), 2)
    chance = np.random.default_rng(0).random(len(kind))
    kept = observed.rows(np.lexsort((chance, kind))[:most])
    used, network = np.unique(kept.network, return_inverse=True)
    return kept._replace(networks=tuple(kept.networks[one] for one in used), network=network)


def _nearest(rows: Floats, trained: Floats, is_self: bool = False) -> Floats:
    """Return the distance of each row to the nearest of others."""
    from sklearn.neighbors import NearestNeighbors

    found, _ = NearestNeighbors(n_neighbors=1 + is_self, algorithm="brute").fit(trained).kneighbors(rows)
    distance: Floats = found[:, -1]
    return distance


def _quantile(misses: Floats) -> float:
    """Return the factor that makes intervals hold for the next case with the probability that is asked for.

    Conformal prediction: the ceil((n + 1) 0.9)-th of n misses (Vovk et al. 2005; Papadopoulos et al. 2002).
    """
    if not len(misses):
        return float(stats.norm.ppf((1 + COVERAGE) / 2))
    rank = min(len(misses), math.ceil((len(misses) + 1) * COVERAGE))
    return float(np.sort(misses)[rank - 1])


def _accuracy(log_error: Floats) -> Floats:
    accuracy: Floats = np.clip(1 - np.exp(log_error), 0.0, 1.0)
    return accuracy


def _share(held: npt.NDArray[Any]) -> float | None:
    return round(float(np.mean(held)), 4) if len(held) else None


def _held_out(obtained: Floats, predicted: Floats) -> dict[str, Any]:
    """Return how near predictions of networks that were left out come."""
    if len(obtained) < 3 or np.ptp(obtained) == 0:
        return {"n": 0, "r2": None, "spearman": None, "mean_absolute_error": None}
    spread = ((obtained - obtained.mean()) ** 2).sum()
    rank = stats.spearmanr(obtained, predicted).statistic if np.ptp(predicted) > 0 else 0.0
    return {
        "n": len(obtained),
        "r2": round(float(1 - ((obtained - predicted) ** 2).sum() / spread), 4),
        "spearman": round(float(rank), 4),
        "mean_absolute_error": round(float(np.abs(obtained - predicted).mean()), 5),
    }
