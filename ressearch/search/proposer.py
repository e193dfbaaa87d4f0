"""The proposer: what Ray Tune asks for the next architecture. It walks the grid, or asks an Optuna study and tells it
what each trial reached. Networks that exceed the budget, describe nothing, or were proposed before are not proposed.

Tune's own restore is not used: it can lose the searcher's state or trials that were starting (ray-project/ray#30861,
#14667), and its snapshots grow with the number of trials (#64231). A resumed study asks a new proposer, made from what
is on record: trials that ended are not proposed again, those that were training come first, and Optuna's storage,
which holds what the sampler was told, is brought in line with the record.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from ressearch.results.ranking import OBJECTIVES
from ressearch.results.schema import is_open
from ressearch.results.status import Status
from ressearch.search.drawing import Found, Point
from ressearch.search.earlier import best_elsewhere, earlier_studies, first_points
from ressearch.search.latency import latency_filter
from ressearch.search.sampling import Proposal, Row, Sampling, point_of
from ressearch.search.study import Study


class Fixed(Searcher):  # type: ignore[misc]  # Ray's classes are not checked
    """Proposes what it is given: trials that were interrupted first, then the others of a list.

    Args:
        configs: of the trials, in order, as `TrialTrainable` takes them.
        study: whose objective Tune watches.
    """

    def __init__(self, study: Study, configs: Iterator[dict[str, Any]]) -> None:
        objective = study.search.objective[0]
        super().__init__(metric=objective, mode=OBJECTIVES[objective])
        self._configs = configs

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal, which loses no trial."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, or FINISHED."""
        return next(self._configs, Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn nothing."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing."""


def config_of(study: Study, row: Row) -> dict[str, Any]:
    """Return the config of a trial on record."""
    architecture, lr = point_of(study, row)
    return {"trial": row["trial"], "architecture": architecture.to_dict(), "lr": lr}


class Proposer(Fixed):
    """Proposes a study's architectures, in the order of the grid or as Optuna's sampler chooses.

    Args:
        study: whose.
        rows: the search's trials on record, if it is resumed.
        directory: the study directory, for Optuna's storage; None keeps it in memory.
    """

    def __init__(self, study: Study, rows: Sequence[Row] = (), directory: Path | None = None) -> None:
        super().__init__(study, iter(()))
        self._study = study
        taken = {row["trial"] for row in rows}
        self._numbers = (number for number in range(study.planned_trials) if number not in taken)
        self._open = deque(row for row in rows if is_open(row))
        self._trials: dict[str, int] = {}
        self._last: dict[int, dict[str, Any]] = {}
        self._grid: Iterator[Point] | None = None
        self.sampling: Sampling | None = None
        is_quick = latency_filter(study)
        named = study.search.sampler
        if study.space.form == "grid" or (named is not None and named.name == "grid"):
            seen = {point_of(study, row) for row in rows}
            every = itertools.product(study.search_space.enumerate(), study.recipe.lrs)
            self._grid = (point for point in every if point not in seen and is_quick(point[0]))
            return
        self.sampling = Sampling(study, is_quick, directory)
        self._first = deque(self._begin_with(self.sampling))
        self.sampling.bring_in_line(rows)

    def _begin_with(self, sampling: Sampling) -> list[tuple[Point, Found | None]]:
        """Tell a new sampler what earlier studies know; return the points to try first."""
        earlier = earlier_studies(self._study, sampling.drawing)
        is_new = sampling.is_new
        for one in (one for each in earlier for one in each.known):
            if one.is_comparable and is_new:
                sampling.add_known(one.found, one.values)
            if one.is_same:
                sampling.drawing.seen.add(one.found.point)
        best = [(found.point, found) for found in best_elsewhere(self._study, earlier)]
        return [*first_points(self._study, sampling.drawing), *best]

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's number and architecture, or FINISHED."""
        if self._open:
            row = self._open.popleft()
            self._trials[trial_id] = row["trial"]
            return config_of(self._study, row)
        number = next(self._numbers, None)
        proposal = None if number is None else self._propose(number)
        if number is None or proposal is None:
            return Searcher.FINISHED
        self._trials[trial_id] = number
        architecture, lr = proposal.point
        return {"trial": number, "architecture": architecture.to_dict(), "lr": lr, "columns": proposal.columns}

    def _propose(self, number: int) -> Proposal | None:
        """Return the point of a trial, None if there is none left."""
        if self._grid is not None:
            point = next(self._grid, None)
            return None if point is None else Proposal(point, {})
        sampling = self.sampling
        assert sampling is not None
        if (lost := sampling.lost(number)) is not None:
            return lost
        while self._first:
            point, found = self._first.popleft()
            if point not in sampling.drawing.seen and sampling.drawing.is_quick(point[0]):
                if found is not None:
                    return sampling.add(found, number)
                sampling.drawing.seen.add(point)
                return Proposal(point, {})
        return sampling.ask(number)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on what a trial reached after an epoch."""
        if self.sampling is not None and self.metric in result:
            number = self._trials[trial_id]
            self._last[number] = result
            self.sampling.report(number, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the trial ended; Tune passes no result on where a scheduler ends a trial that it paused."""
        number = self._trials.pop(trial_id, None)
        if self.sampling is None or number is None:
            return
        last = self._last.pop(number, None)
        result = result or {}
        scored = result if self.metric in result else last
        status = Status.FAILED if error else result.get("outcome") or _status(self._study, scored)
        self.sampling.tell(number, status, scored)


def _status(study: Study, result: dict[str, Any] | None) -> str:
    """Return what became of a trial that does not say it itself."""
    if result is None:
        return Status.FAILED
    return Status.STOPPED if result["epoch"] < study.recipe.epochs else Status.COMPLETED
