"""Pick: of the networks that studies trained to the end, the best ones for a compute budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from ressearch.errors import BudgetError, StudyError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost
from ressearch.picking.field import Entrant, Field
from ressearch.picking.limits import TIMED, Bounds, Limits, exact, written
from ressearch.plugins import require_networks
from ressearch.results.status import Status
from ressearch.results.store import Results, load
from ressearch.search.recorded import recipe_values
from ressearch.units import format_count, format_seconds, listed

Measure = Callable[[Entrant], float]


@dataclass(frozen=True)
class Pick:
    """A network chosen, and how sure the choice is.

    Attributes:
        architecture: the network.
        directory: of its study.
        trial: its trial in the study.
        cost: what it costs for one input of the study's data.
        val_accuracy: mean over seeds after the last epoch.
        val_accuracy_std: standard deviation over seeds; None for a single seed.
        seed_val_accuracies: the accuracy of each seed.
        candidates: how many fully trained networks fitted the limits.
        estimate: the accuracy without the optimism of having been chosen; None where nothing says what is chance.
        low, high: its 95 % interval.
        probability_of_best: that it is the best of those within the limits; None as `estimate`.
        tied: names of the networks within the limits that cannot be told from the best, itself among them.
        measured: what else was limited, by name: bytes, and seconds as measured.
        cheaper: a network with fewer MACs whose estimate is within one standard error, if there is one.
    """

    architecture: Architecture
    directory: Path
    trial: int
    cost: Cost
    val_accuracy: float
    val_accuracy_std: float | None
    seed_val_accuracies: tuple[float, ...]
    candidates: int
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    probability_of_best: float | None = None
    tied: tuple[str, ...] = ()
    measured: tuple[tuple[str, float], ...] = ()
    cheaper: Pick | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the pick as JSON-ready values."""
        return {
            "name": self.architecture.name,
            "directory": str(self.directory),
            "trial": self.trial,
            "depth": self.architecture.depth,
            **self.cost._asdict(),
            **dict(self.measured),
            "val_accuracy": self.val_accuracy,
            "val_accuracy_std": self.val_accuracy_std,
            "seed_val_accuracies": list(self.seed_val_accuracies),
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "probability_of_best": self.probability_of_best,
            "tied": list(self.tied),
            "candidates": self.candidates,
            "architecture": self.architecture.to_dict(),
            "cheaper": self.cheaper.to_dict() if self.cheaper else None,
        }

    def __str__(self) -> str:
        seeds = len(self.seed_val_accuracies)
        spread = f" (sd {self.val_accuracy_std:.4f} over {seeds} seeds)" if self.val_accuracy_std is not None else ""
        lines = [
            self.architecture.name,
            f"  depth {self.architecture.depth}, {format_count(self.cost.params)} params, "
            f"{format_count(self.cost.macs)} MACs, {format_count(self.cost.activations)} activations",
            f"  val_accuracy {self.val_accuracy:.4f}{spread}",
        ]
        if self.measured:
            lines.insert(2, "  " + ", ".join(f"{_WORDS[name]} {written(name, value)}" for name, value in self.measured))
        if self.estimate is not None and self.low is not None and self.high is not None:
            lines.append(f"  {self.estimate:.4f} expected, given all networks (95 % {self.low:.4f} to {self.high:.4f})")
            if self.probability_of_best is not None and self.candidates > 1:
                lines.append(f"  the best within the limits with probability {self.probability_of_best:.2f}")
        return "\n".join(lines)


_WORDS = {
    "size": "weights",
    "training_memory": "training memory at least",
    "train_time": "trained a seed in",
    "latency": "latency",
}


@dataclass(frozen=True)
class Unfinished:
    """A network within the limits that was not trained to the end, and what it would need.

    Attributes:
        name: of the network.
        directory, trial: where it was trained.
        status: what became of it.
        val_accuracy: mean over seeds after its last epoch; None if none ended.
        epochs, of_epochs: trained, and of the recipe.
        seconds: that one seed needs for the rest, at its own pace here; None if that is not known.
    """

    name: str
    directory: Path
    trial: int
    status: Status
    val_accuracy: float | None
    epochs: int
    of_epochs: int
    seconds: float | None

    def __str__(self) -> str:
        reached = "" if self.val_accuracy is None else f", val_accuracy {self.val_accuracy:.4f} so far"
        time = "" if self.seconds is None else f" (about {format_seconds(self.seconds)} a seed)"
        left = self.of_epochs - self.epochs
        return (
            f"{self.name} (trial {self.trial})\n    {self.status} after {self.epochs} of {self.of_epochs} "
            f"epochs{reached}; needs {left} more{time}"
        )


@dataclass(frozen=True)
class Picked:
    """What a budget allows.

    Attributes:
        picks: the best first.
        unfinished: networks within the limits that were not trained to the end, the most accurate so far first.
        limits: which.
        studies: what was chosen from.
    """

    picks: tuple[Pick, ...]
    unfinished: tuple[Unfinished, ...]
    limits: Limits
    studies: tuple[Results, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        unfinished = [
            {**vars(one), "directory": str(one.directory), "status": str(one.status)} for one in self.unfinished
        ]
        return {
            "limits": self.limits.bounds,
            "picks": [one.to_dict() for one in self.picks],
            "unfinished": unfinished,
        }


def pick(
    directory: str | Path | Sequence[str | Path],
    max_params: int | str | None = None,
    max_macs: int | str | None = None,
    max_activations: int | str | None = None,
    allow_plugins: bool = False,
    **options: Any,
) -> Pick:
    """Return the network that is best by the study's first objective, of those trained to the last epoch, in a budget.

    Best is what the report calls so: the highest accuracy given all networks (`ressearch.statistics.winner`), the fresh
    seeds of finalists counted; the highest mean where seeds do not say what is chance, and the least loss where that is
    the objective. Ties go to the network with fewer MACs.

    Args:
        directory: a study directory, or several on the same data.
        max_params: most parameters, such as 20000 or ``20k``.
        max_macs: most multiply-accumulates for one input of the study's data.
        max_activations: most activations for one input.
        allow_plugins: run the plugins that came with the study, if its networks need any; they are code.
        options: further limits and options of `picks`.

    Raises:
        PluginError: the networks need plugins that are not allowed to run, or are missing, or were changed.
        BudgetError: a bound is not one, or no fully trained network fits; the text names the nearest one.
        StudyError: the directory holds no study, or none of its trials trained to the last epoch.
    """
    found = picks(
        directory,
        allow_plugins=allow_plugins,
        max_params=max_params,
        max_macs=max_macs,
        max_activations=max_activations,
        **options,
    )
    return found.picks[0]


def picks(
    directory: str | Path | Sequence[str | Path],
    n: int = 1,
    *,
    dtype: str = "float32",
    batch_size: int = 1,
    threads: int | None = None,
    allow_plugins: bool = False,
    measure: Measure | None = None,
    **bounds: Unpack[Bounds],
) -> Picked:
    """Return the best networks within limits, and those that training was stopped of.

    Args:
        directory: a study directory, or several on the same data.
        n: how many.
        dtype: of the weights, for `max_size`: ``float32``, ``float16`` or ``bfloat16``.
        batch_size: inputs at once, for `max_latency`.
        threads: of the latency; None is what torch uses.
        allow_plugins: as in `pick`.
        measure: returns an entrant's latency in seconds, in place of measuring it here.
        bounds: `ressearch.picking.limits.Bounds`.

    Raises:
        PluginError, BudgetError, StudyError: as `pick`.
    """
    directories = [directory] if isinstance(directory, str | Path) else list(directory)
    Limits.read(bounds, dtype)
    studies = [load(one) for one in directories]
    field = Field.of(studies)
    if not field.entrants:
        said = directories[0] if len(directories) == 1 else listed([str(one) for one in directories])
        raise StudyError(f"{said}: no trial has trained every epoch yet, so there is nothing to pick from")
    for results, given in zip(studies, directories, strict=True):
        require_networks(results.directory, results.run, allow_plugins, given)
    of_training = field.entrants[0].of_training if bounds.get("max_training_memory") is not None else {}
    limits = Limits.read(bounds, dtype, **of_training)
    timed = measure or _Stopwatch(batch_size, threads)
    fits = _within(field.entrants, limits, timed, n)
    if not fits:
        raise BudgetError(_nothing_fits(directories, field, limits, timed))
    cheaper = cheapest_alike(field, fits)
    chosen = [_pick(field, one, fits, limits, timed) for one in fits[:n]]
    if cheaper is not None:
        other = _pick(field, cheaper, fits, limits, timed)
        chosen[0] = dataclasses.replace(chosen[0], cheaper=other)
    return Picked(tuple(chosen), _unfinished(field, limits, timed), limits, tuple(studies))


_MOST_MEASURED = 20
"""Networks that keep a limit on latency after which no more are measured, if no more are asked for."""


class _Stopwatch:
    """Measures entrants' latencies, each once."""

    def __init__(self, batch_size: int, threads: int | None) -> None:
        self.batch_size, self.threads = batch_size, threads
        self._known: dict[int, float] = {}

    def __call__(self, one: Entrant) -> float:
        if id(one) not in self._known:
            self._known[id(one)] = self._measured(one)
        return self._known[id(one)]

    def _measured(self, one: Entrant) -> float:
        from ressearch.networks.latency import measure_latency

        run = one.results.run
        shape, classes = tuple(run["input_shape"]), run["num_classes"]
        found = measure_latency(
            one.record.architecture, shape, classes, batch_size=self.batch_size, threads=self.threads
        )
        return found.median


def _value(one: Entrant, name: str, limits: Limits, measure: Measure) -> float:
    """Return what a limit bounds, of one entrant."""
    if name == "latency":
        return measure(one)
    if name == "train_time":
        return one.train_seconds
    cost = one.cost if name == "training_memory" else one.record.cost
    return limits.budget.value(cost, name)


def _keeps(one: Entrant, limits: Limits, measure: Measure) -> bool:
    """Return whether an entrant is within every limit; what takes longest to know is asked last."""
    names = sorted(limits.bounds, key=lambda name: TIMED.index(name) if name in TIMED else -1)
    return all(_value(one, name, limits, measure) <= limits.bounds[name] for name in names)


def _within(entrants: Sequence[Entrant], limits: Limits, measure: Measure, n: int) -> tuple[Entrant, ...]:
    """Return the entrants within the limits, in order; where latency is limited, no more than are needed."""
    most = max(n, _MOST_MEASURED) if "latency" in limits.bounds else len(entrants)
    found: list[Entrant] = []
    for one in entrants:
        if len(found) == most:
            break
        if _keeps(one, limits, measure):
            found.append(one)
    return tuple(found)


def _nothing_fits(directories: Sequence[str | Path], field: Field, limits: Limits, measure: Measure) -> str:
    """Say which network comes nearest, by the limit that it misses most, and what it has."""

    def values(one: Entrant) -> dict[str, float]:
        return {name: _value(one, name, limits, measure) for name in limits.bounds}

    def excess(one: Entrant) -> float:
        shares = [value / limits.bounds[name] for name, value in values(one).items()]
        return math.inf if any(map(math.isnan, shares)) else max(shares)

    near = min(field.entrants, key=excess)
    needs = listed([f"{name} {exact(name, value)}" for name, value in values(near).items()])
    said = listed([str(one) for one in directories])
    return (
        f"{said}: none of the {len(field)} fully trained networks fits the budget ({limits}); "
        f"the nearest, {near.record.name} (trial {near.record.trial}), has {needs}"
    )


def cheapest_alike(field: Field, entrants: Sequence[Entrant]) -> Entrant | None:
    """Return the entrant of fewest MACs within one standard error of the first, if that is not the first.

    Breiman et al. 1984's rule. The error is that of the first one's mean, its variance drawn towards those of like
    networks where the field says what they are.

    Args:
        field: all that competed.
        entrants: those within the limits, the best first.
    """
    best, objective = entrants[0], field.objective
    error = _error(field, best)
    bound = field.score(best) + (-error if objective.is_more else error)
    near = [one for one in entrants if not objective.is_better(bound, field.score(one))]
    cheaper = [one for one in near if one.record.cost.macs < best.record.cost.macs]
    return min(cheaper, key=lambda one: (one.record.cost.macs, one.record.trial), default=None)


def _error(field: Field, one: Entrant) -> float:
    """Return the standard error of an entrant's mean, 0 if not known."""
    if field.standing is not None and one.place is not None:
        error = math.sqrt(field.standing.variance[one.place] / field.standing.seeds[one.place])
        return 0.0 if math.isnan(error) else error
    curves = one.results.curves[one.results.curves["trial"] == one.record.trial]
    last = curves.sort_values("epoch").groupby("seed")[field.objective.column].last()
    return 0.0 if len(last) < 2 else float(last.std()) / math.sqrt(len(last))


def _pick(field: Field, one: Entrant, fits: Sequence[Entrant], limits: Limits, measure: Measure) -> Pick:
    record = one.record
    assert record.val_accuracy is not None
    std = record.row["val_accuracy_std"]
    estimate, low, high = field.estimate(one)
    measured = [name for name in limits.bounds if name not in ("params", "macs", "activations")]
    return Pick(
        architecture=record.architecture,
        directory=one.results.directory,
        trial=record.trial,
        cost=one.cost,
        val_accuracy=record.val_accuracy,
        val_accuracy_std=None if std is None or math.isnan(std) else float(std),
        seed_val_accuracies=record.seed_val_accuracies,
        candidates=len(fits),
        estimate=estimate,
        low=low,
        high=high,
        probability_of_best=field.probability_of_best(one, fits),
        tied=tuple(other.record.name for other in field.tied(fits)),
        measured=tuple((name, float(_value(one, name, limits, measure))) for name in measured),
    )


def _unfinished(field: Field, limits: Limits, measure: Measure) -> tuple[Unfinished, ...]:
    """Return the networks within the limits that were not trained to the end, the most accurate so far first."""
    exact = Limits(limits.budget, {name: value for name, value in limits.times.items() if name != "train_time"})
    found = []
    for one in field.unfinished:
        if not _keeps(one, exact, measure):
            continue
        record, of_epochs = one.record, int(recipe_values(one.record.row)["epochs"])
        pace = one.train_seconds / record.epochs if record.epochs else math.nan
        seconds = None if math.isnan(pace) else pace * (of_epochs - record.epochs)
        found.append(
            Unfinished(
                record.name,
                one.results.directory,
                record.trial,
                record.status,
                record.val_accuracy,
                record.epochs,
                of_epochs,
                seconds,
            )
        )
    known = [one for one in found if one.val_accuracy is not None]
    return (*sorted(known, key=lambda one: -(one.val_accuracy or 0.0)), *(one for one in found if one not in known))


__all__ = ["Pick", "Picked", "Unfinished", "cheapest_alike", "pick", "picks"]
