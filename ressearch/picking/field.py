"""The field: the networks of one or several studies that a pick chooses from, in one order."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ressearch.errors import StudyError
from ressearch.networks.cost import Cost, cost
from ressearch.results.ranking import Objective, finals_of, rank
from ressearch.results.record import TrialRecord
from ressearch.results.status import Status
from ressearch.results.store import Results
from ressearch.search.recorded import recipe_of
from ressearch.statistics.winner import Standing

_SAME = {"split_fingerprint": "data or splits", "input_shape": "inputs", "num_classes": "classes"}
"""What studies share whose accuracies can be compared, in `run.json` and in words."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A network that trained, and where it stands.

    Attributes:
        results: of its study.
        record: its trial.
        place: in `Field.standing`; None where it did not train to the end.
    """

    results: Results
    record: TrialRecord
    place: int | None = None

    @functools.cached_property
    def cost(self) -> Cost:
        """What it costs for one input; asks for the plugins of its study, if its network needs any."""
        run = self.results.run
        return cost(self.record.architecture, tuple(run["input_shape"]), run["num_classes"])

    @property
    def train_seconds(self) -> float:
        """Seconds that one seed took to train."""
        return float(self.record.row.get("train_seconds") or np.nan) / max(1, len(self.record.seeds))

    @functools.cached_property
    def of_training(self) -> dict[str, int]:
        """What a bound on memory needs to know of the recipe."""
        recipe = recipe_of(self.record.row)
        keys = ("batch_size", "optimizer_states", "bytes_per_number")
        return {key: int(getattr(recipe, key)) for key in keys}


@dataclass(frozen=True, eq=False)
class Field:
    """Networks trained to the last epoch, one entrant each, the best first; and those that were stopped before.

    Attributes:
        entrants: the best first.
        unfinished: networks whose training ended early, or that train still, in the order of their trials.
        objective: what they are ranked by.
        standing: what their seeds say of all of them; None where they are ranked by means.
        scores: by seed, in the order of `standing`.
    """

    entrants: tuple[Entrant, ...]
    unfinished: tuple[Entrant, ...]
    objective: Objective
    standing: Standing | None
    scores: Sequence[Sequence[float]] = ()

    @classmethod
    def of(cls, studies: Sequence[Results]) -> Field:
        """Return the field of some studies on the same data.

        Raises StudyError if they differ in data or objective, so that their accuracies cannot be compared.
        """
        objective = Objective.of(studies[0].run)
        for other in studies[1:]:
            _require_alike(studies[0], other, objective)
        rows: list[dict[str, Any]] = []
        finals: list[dict[str, Any]] = []
        for number, study in enumerate(studies):
            listed: list[Any] = study.trials.to_dict("records")
            of_study = [{**row, "study": number, "of_trial": _apart(number, row["of_trial"])} for row in listed]
            finals += finals_of(of_study)
            rows += [row for row in of_study if row["phase"] == "search"]
        numbered = [{**row, "trial": _apart(row["study"], row["trial"])} for row in rows]
        ranking = rank(numbered, objective, finals)
        own = {int(row["trial"]): original for row, original in zip(numbered, rows, strict=True)}
        entrants = []
        for at, row in enumerate(ranking.rows):
            original = own[int(row["trial"])]
            place = ranking.places[at] if ranking.places else None
            entrants.append(Entrant(studies[original["study"]], TrialRecord.from_row(original), place))
        done = {str(row["name"]) for row in ranking.rows}
        unfinished = [
            Entrant(studies[row["study"]], TrialRecord.from_row(row))
            for row in rows
            if row["status"] in (Status.STOPPED, Status.RUNNING, Status.INTERRUPTED) and row["name"] not in done
        ]
        return cls(tuple(entrants), tuple(unfinished), objective, ranking.standing, ranking.scores)

    def __len__(self) -> int:
        return len(self.entrants)

    def __iter__(self) -> Iterator[Entrant]:
        return iter(self.entrants)

    def score(self, one: Entrant) -> float:
        """Return what an entrant is ranked by."""
        if self.standing is None or one.place is None:
            return float(one.record.row[self.objective.column])
        return float(self.standing.estimate[one.place])

    def estimate(self, one: Entrant) -> tuple[float, float, float] | tuple[None, None, None]:
        """Return an entrant's accuracy given all others and its 95 % interval; None if nothing says what is chance."""
        if self.standing is None or self.standing.shrunk is None or one.place is None:
            return None, None, None
        low, high = self.standing.shrunk.interval(one.place)
        return float(self.standing.estimate[one.place]), max(low, 0.0), min(high, 1.0)

    def probability_of_best(self, one: Entrant, among: Sequence[Entrant]) -> float | None:
        """Return the probability that an entrant is the best of some; None where nothing says what is chance."""
        if self.standing is None or one.place is None:
            return None
        places = [other.place for other in among if other.place is not None]
        drawn = self.standing.draws(np.array(places, dtype=np.intp))
        if drawn is None:
            return None
        best = drawn.max(axis=1)
        is_best = drawn[:, places.index(one.place)] == best
        return float((is_best / (drawn == best[:, None]).sum(axis=1)).mean())  # equal ones share a draw

    def tied(self, among: Sequence[Entrant]) -> list[Entrant]:
        """Return those of some entrants that none of them was shown to beat; empty where seeds cannot tell."""
        if self.standing is None:
            return []
        by_place = {one.place: one for one in among}
        return [by_place[place] for place in self.standing.tied([one.place for one in among if one.place is not None])]


def _require_alike(first: Results, other: Results, objective: Objective) -> None:
    for key, words in _SAME.items():
        if first.run.get(key) != other.run.get(key):
            raise StudyError(f"{other.directory}: has other {words} than {first.directory}: they are not compared")
    if (theirs := Objective.of(other.run)).column != objective.column:
        raise StudyError(
            f"{other.directory}: its objective is {theirs.column}, that of {first.directory} {objective.column}"
        )


def _apart(study: int, trial: Any) -> int | None:
    """Return a number of its own for each trial of each study."""
    return None if trial is None or trial != trial else study * 10**9 + int(trial)
