"""The one order of trials: by the study's first objective, the cheaper network first where two are equal.

`status`, `pick`, the report, `export` and the choice of finalists all use it. Where the objective is accuracy and
seeds say how much of it is chance, trials are ordered by what their accuracies are given all of them
(`ressearch.statistics.winner`), the fresh seeds of finalists counted; else by their means. Of a network that was tried
at several learning rates the rate of the best mean counts; its other trials stand after all networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import pandas as pd

from ressearch.results.status import Status

if TYPE_CHECKING:
    from ressearch.statistics.winner import Standing

Row = TypeVar("Row", bound=Mapping[str, Any])

COSTS = ("params", "macs", "activations", "latency")
"""Columns of the trial table that say what a network costs; latency is known where a study asks for it."""

OBJECTIVES = {"val_accuracy": "max", "val_loss": "min", **dict.fromkeys(COSTS, "min")}
"""What a search may optimise, and in which direction."""


class Objective(NamedTuple):
    """What trials are ranked by.

    Attributes:
        column: of the trial table, a mean over seeds.
        is_more: whether more is better.
        examples: how many examples it was measured on; None if not known.
    """

    column: str
    is_more: bool
    examples: int | None = None

    @classmethod
    def named(cls, name: str, examples: int | None = None) -> Objective:
        """Return the objective of a name in `OBJECTIVES`."""
        return cls(name, OBJECTIVES[name] == "max", examples)

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> Objective:
        """Return the first objective of a study, by its `run.json`; validation accuracy where it says none."""
        names = run.get("study", {}).get("search", {}).get("objective") or ("val_accuracy",)
        examples = run.get("examples", {}).get("validation")
        return cls.named(names[0] if names[0] in OBJECTIVES else "val_accuracy", examples)

    @property
    def mode(self) -> str:
        """``max`` or ``min``, as Ray Tune calls it."""
        return "max" if self.is_more else "min"

    @property
    def words(self) -> str:
        """What it is, for pages."""
        return {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}.get(self.column, self.column)

    def is_better(self, one: float, other: float) -> bool:
        """Return whether one value is strictly better than another."""
        return one > other if self.is_more else one < other

    def key(self, row: Mapping[str, Any]) -> tuple[float, int, int]:
        """Return what sorts rows of the trial table by means: the best first, then fewer MACs, then the number."""
        value = float(row[self.column])
        return -value if self.is_more else value, int(row["macs"]), int(row["trial"])


@dataclass(frozen=True)
class Ranking(Generic[Row]):
    """Trials that trained every epoch, in order.

    Attributes:
        rows: one for each network, the best first.
        others: the trials of those networks at other learning rates.
        standing: where the networks stand, in an order of its own; None where they are ranked by means.
        places: where each of `rows` stands in it.
        scores: of each network by seed, in that order.
    """

    rows: list[Row]
    others: list[Row]
    standing: Standing | None = None
    places: tuple[int, ...] = ()
    scores: Sequence[Sequence[float]] = ()


def rank(
    rows: Iterable[Row], objective: Objective, finals: Iterable[Mapping[str, Any]] = (), draws: int = 2000
) -> Ranking[Row]:
    """Return the order of trials that trained every epoch.

    Args:
        rows: of the trials that compete.
        objective: what by.
        finals: rows of finalists: what their fresh seeds reached counts for the trials that they repeat.
        draws: as in `ressearch.statistics.winner.standing`.
    """
    done = sorted((row for row in rows if row["status"] == Status.COMPLETED), key=objective.key)
    seen: set[str] = set()
    first = [row for row in done if not (row["name"] in seen or seen.add(row["name"]))]  # type: ignore[func-returns-value]
    at_best_rate = {int(row["trial"]) for row in first}
    others = [row for row in done if int(row["trial"]) not in at_best_rate]
    networks = sorted(first, key=lambda row: int(row["trial"]))  # in any order the same draws are made
    scores = _scores(networks, objective, fresh_of(networks, finals))
    if scores is not None:
        from ressearch.statistics.winner import standing  # imports scipy

        resolution = 0.0 if objective.examples is None else 1 / objective.examples
        found = standing(scores, resolution, draws)
        order = sorted(range(len(first)), key=lambda one: (-found.estimate[one], *objective.key(networks[one])[1:]))
        return Ranking([networks[one] for one in order], others, found, tuple(order), scores)
    return Ranking(first, others)


def ranked(rows: Iterable[Row], objective: Objective, finals: Iterable[Mapping[str, Any]] = ()) -> list[Row]:
    """Return the rows of trials that trained every epoch, the best first; arguments as in `rank`."""
    found = rank(rows, objective, finals, draws=0)
    return found.rows + found.others


def ranked_table(trials: pd.DataFrame, objective: Objective, phase: str = "search") -> pd.DataFrame:
    """Return the trials of one phase that trained every epoch, the best first.

    Args:
        trials: of all phases: the finalists' fresh seeds count.
        objective: what by.
        phase: which trials compete.
    """
    keys = ["trial", "name", "phase", "status", "macs", "epochs", "of_trial", "seed_val_accuracies", objective.column]
    rows: list[dict[str, Any]] = trials[list(dict.fromkeys(keys))].to_dict("records")  # type: ignore[assignment]
    order = ranked([row for row in rows if row["phase"] == phase], objective, finals_of(rows))
    places = {int(number): place for place, number in enumerate(trials["trial"])}
    return trials.iloc[[places[int(row["trial"])] for row in order]]


def finals_of(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of finalists among those of all phases."""
    return [row for row in rows if row["phase"] == "final"]


def fresh_of(rows: Iterable[Mapping[str, Any]], finals: Iterable[Mapping[str, Any]]) -> dict[int, Sequence[float]]:
    """Return the validation accuracies of fresh seeds by the trial that finalists repeat.

    Those of finalists that trained for another number of epochs are left out: they were reached under other conditions.
    """
    finished = [row for row in finals if row["status"] == Status.COMPLETED and row["of_trial"] == row["of_trial"]]
    of_trial = {int(row["of_trial"]): row for row in finished if row["of_trial"] is not None}
    return {
        number: of_trial[number]["seed_val_accuracies"]
        for row in rows
        if (number := int(row["trial"])) in of_trial and of_trial[number]["epochs"] == row["epochs"]
    }


def fresh_scores(trials: pd.DataFrame) -> dict[int, Sequence[float]]:
    """Return the same of the trial table of a study."""
    keys = ["trial", "phase", "status", "epochs", "of_trial", "seed_val_accuracies"]
    if not (trials["phase"] == "final").any():
        return {}
    rows: list[dict[str, Any]] = trials[keys].to_dict("records")  # type: ignore[assignment]
    return fresh_of([row for row in rows if row["phase"] == "search"], finals_of(rows))


def _scores(
    rows: Sequence[Mapping[str, Any]], objective: Objective, fresh: Mapping[int, Sequence[float]]
) -> list[list[float]] | None:
    """Return networks' accuracies by seed; None where the objective is no accuracy or no network has two seeds."""
    if objective.column != "val_accuracy":
        return None
    scores = [[*_numbers(row.get("seed_val_accuracies")), *fresh.get(int(row["trial"]), ())] for row in rows]
    if not all(scores) or all(len(one) < 2 for one in scores):
        return None
    return scores


def _numbers(value: Any) -> list[float]:
    return [] if value is None or not hasattr(value, "__len__") else [float(one) for one in value]


__all__ = [
    "COSTS",
    "OBJECTIVES",
    "Objective",
    "Ranking",
    "finals_of",
    "fresh_of",
    "fresh_scores",
    "rank",
    "ranked",
    "ranked_table",
]
