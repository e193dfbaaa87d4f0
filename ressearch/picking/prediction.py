"""Picks from the whole space: networks that a study never trained, by what is predicted of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from ressearch.errors import BudgetError, SpaceError, StudyError, nearest
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost, cost
from ressearch.networks.latency import measure_latency
from ressearch.networks.latency_model import latency_model
from ressearch.picking.fresh import Trainer, append_line, recipe_for
from ressearch.picking.limits import Bounds, Limits, written
from ressearch.picking.surrogate import LEAST_TRIALS, Prediction, Surrogate
from ressearch.picking.verified import VERIFIED, Verified, read_verified
from ressearch.plugins import require_networks
from ressearch.results.status import Status
from ressearch.results.store import Results, load
from ressearch.spaces.columns import columns
from ressearch.spaces.space import SearchSpace
from ressearch.units import counted, format_count

CANDIDATES = 200_000
"""Networks of the space that are looked at, if no other number is asked for."""

RANKED_BY = {"expected": "mean", "lower": "low"}
"""What predicted networks may be ranked by, and the column of `Prediction` that is."""

_MEASURED = 50
"""Networks whose latency is measured at most, where that is limited."""


@dataclass(frozen=True)
class Predicted:
    """A network that was not trained to the end, and what is predicted of it.

    Attributes:
        architecture: the network.
        cost: what it costs for one input of the study's data.
        mean: the accuracy expected after training as the study trains.
        low, high: the interval that holds in nine of ten cases.
        latency: seconds as measured here; None where it is not limited.
    """

    architecture: Architecture
    cost: Cost
    mean: float
    low: float
    high: float
    latency: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "name": self.architecture.name,
            "depth": self.architecture.depth,
            **self.cost._asdict(),
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "latency": self.latency,
            "architecture": self.architecture.to_dict(),
        }

    def __str__(self) -> str:
        latency = "" if self.latency is None else f", latency {written('latency', self.latency)}"
        return (
            f"{self.architecture.name}\n"
            f"  {format_count(self.cost.params)} params, {format_count(self.cost.macs)} MACs{latency}\n"
            f"  val_accuracy {self.mean:.4f} predicted (90 % {self.low:.4f} to {self.high:.4f})"
        )


@dataclass(frozen=True)
class Predictions:
    """The best of the networks that were not trained to the end.

    Attributes:
        picks: the best first.
        looked_at: how many networks of the space were within the limits.
        beyond: how many of them were refused, being unlike all that were trained.
        surrogate: what they were predicted by.
    """

    picks: tuple[Predicted, ...]
    looked_at: int
    beyond: int
    surrogate: Surrogate

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {
            "picks": [one.to_dict() for one in self.picks],
            "looked_at": self.looked_at,
            "beyond": self.beyond,
            "surrogate": self.surrogate.facts,
        }


def predicts(results: Results) -> bool:
    """Return whether a study's networks can be predicted from: it searched a space, with 30 trials or more."""
    trained = results.trials[results.trials["epochs"] > 0]
    searched = results.run.get("study", {}).get("space", {}).get("search")
    return searched is not None and len(trained) >= LEAST_TRIALS


def predict(
    directory: str | Path,
    n: int = 3,
    *,
    by: str = "expected",
    candidates: int = CANDIDATES,
    dtype: str = "float32",
    batch_size: int = 1,
    threads: int | None = None,
    allow_plugins: bool = False,
    **bounds: Unpack[Bounds],
) -> Predictions:
    """Return the networks of a study's space, not trained to the end yet, that are predicted to be the best.

    Args:
        directory: a study directory.
        n: how many.
        by: ``expected`` accuracy, or the ``lower`` end of its interval, which guards against what is little known.
        candidates: how many networks of the space to look at: all of a smaller one, else so many at random.
        dtype, batch_size, threads: as in `ressearch.picking.pick.picks`. A limit on latency is kept by what a model of
            this device predicts (`ressearch.latency_model`, fitted once, in two minutes); the picks are measured.
        allow_plugins: as in `ressearch.pick`.
        bounds: `ressearch.picking.limits.Bounds`; training time is not known of what was not trained.

    Raises:
        StudyError: the directory holds no study, or none that can be predicted from.
        BudgetError: a bound is not one, or none that is known fits.
        PluginError: as `ressearch.pick`.
    """
    if by not in RANKED_BY:
        raise BudgetError(f"by: '{by}' is unknown; {nearest(by, RANKED_BY)}")
    if bounds.get("max_train_time") is not None:
        raise BudgetError("max_train_time: is not known of networks that were not trained; bound macs instead")
    results = load(directory)
    require_networks(results.directory, results.run, allow_plugins, directory)
    surrogate = Surrogate.of(results)
    recipe = recipe_for(results)
    of_training = {key: getattr(recipe, key) for key in ("batch_size", "optimizer_states", "bytes_per_number")}
    limits = Limits.read(bounds, dtype, **of_training)
    space = _space(results)
    found = columns(space, candidates, seed=0)
    found = found[np.flatnonzero(found.within(limits.budget))]
    most = limits.times.get("latency")
    if most is not None:
        model = latency_model(space, threads=threads, batch_size=batch_size)
        found = found[np.flatnonzero(found.total(model.part) + model.overhead <= most * (1 + model.error.median))]
    prediction = surrogate.predict(found)
    order = _order(prediction, by)
    trials = results.trials
    done = set(trials.loc[(trials["phase"] == "search") & (trials["status"] == Status.COMPLETED), "name"])
    picks = []
    shape, classes = tuple(results.run["input_shape"]), results.run["num_classes"]
    for row, architecture in _architectures(found, order, done, n if most is None else _MEASURED):
        latency = None
        if most is not None:
            latency = measure_latency(architecture, shape, classes, batch_size=batch_size, threads=threads).median
            if latency > most:
                continue
        price = cost(architecture, shape, classes)
        mean, low, high = (float(one[row]) for one in prediction[:3])
        picks.append(Predicted(architecture, price, mean, low, high, latency))
        if len(picks) == n:
            break
    if not picks:
        raise BudgetError(
            f"{directory}: of {counted(len(found), 'network')} of the space within the limits ({limits}) none is left: "
            f"{prediction.refused} are unlike all that were trained, the others were trained"
            + (" or are too slow" if most is not None else "")
        )
    return Predictions(tuple(picks), len(found), prediction.refused, surrogate)


def _space(results: Results) -> SearchSpace:
    """Return the space of a study, for its data; without its constraints, since a pick has limits of its own."""
    searched = results.run["study"]["space"]["search"]
    if searched is None:
        raise StudyError(f"{results.directory}: trained a grid: there is nothing between its points to predict")
    run = results.run
    try:
        return SearchSpace(searched, input_shape=tuple(run["input_shape"]), num_classes=run["num_classes"])
    except SpaceError as error:
        raise StudyError(f"{results.directory}: what is on record is no space: {error}") from None


def _order(prediction: Prediction, by: str) -> np.ndarray:
    usable = np.flatnonzero(~prediction.beyond)
    value = getattr(prediction, RANKED_BY[by])[usable]
    return np.asarray(usable[np.argsort(-value, kind="stable")])


def _architectures(found: Any, order: np.ndarray, done: set[str], most: int) -> Iterator[tuple[int, Architecture]]:
    """Yield networks in order that were not trained to the end, so many at most."""
    yielded = 0
    for row in order:
        architecture = found.architecture(int(row))
        if architecture.name not in done:
            yield int(row), architecture
            yielded += 1
        if yielded == most:
            return


def verify(
    directory: str | Path,
    picks: tuple[Predicted, ...],
    *,
    allow_plugins: bool = False,
    data: Any = None,
    told: Callable[[Verified], None] = lambda one: None,
) -> list[Verified]:
    """Train predicted networks as the study trains, on as many seeds, which it has not used.

    What each reached is kept in `VERIFIED` as soon as it ended; a network that is there is not trained again.

    Args:
        directory: the study directory.
        picks: the networks.
        allow_plugins: as in `ressearch.pick`.
        data: the study's data set, if it was one in memory.
        told: called with each as it ends.

    Raises:
        StudyError: the directory holds no study, or its data have changed.
        Diverged: a loss was no number.
    """
    trainer = Trainer.of(load(directory), directory, allow_plugins, data)
    place = trainer.results.directory
    known = {one.name: one for one in read_verified(place)}
    found = []
    for pick in picks:
        name = pick.architecture.name
        if name not in known:
            reached = trainer.train(pick.architecture)
            scores = reached.seed_val_accuracies
            predicted = pick.mean, pick.low, pick.high
            known[name] = Verified(name, reached.seeds, scores, float(np.mean(scores)), *predicted, reached.ended_at)
            append_line(place / VERIFIED, asdict(known[name]))
        found.append(known[name])
        told(known[name])
    return found


__all__ = ["Predicted", "Predictions", "predict", "predicts", "verify"]
