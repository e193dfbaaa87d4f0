"""Schedulers that know what came before: a resumed study's scheduler is told the epochs on record, in their order, and
then decides as if the study had never been stopped.

Tune's schedulers know a trial by its object or id, which a new process makes anew, and by the last result it reported,
which may skip epochs that the record lacks. Here a trial is its number in the study, and every epoch is told once.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.schedulers import TrialScheduler

from ressearch.results.schema import is_open
from ressearch.results.status import Status

Row = Mapping[str, Any]
"""A row of the trial table."""

Epoch = tuple[int, dict[str, Any]]
"""A trial's number and an epoch as the trial reported it."""


class _Numbered:
    """A trial as the wrapped scheduler sees it: one object for each number, whichever process runs it."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"trial-{number}"
        self.told = 0
        self.is_stopped = False


class _Nobody:
    """The controller while the past is told: no trial waits."""

    def get_live_trials(self) -> list[Any]:
        """Return no trial."""
        return []


class Continued(TrialScheduler):  # type: ignore[misc]  # Ray's classes are not checked
    """A scheduler that hears of each epoch of each of the study's trials once, those of earlier processes included.

    Args:
        scheduler: one of Tune's that judges trials by what they and others reported (ASHA, median stopping), fresh.
        rows: the trials on record, by number.
        epochs: on record, in the order in which they happened.
    """

    def __init__(self, scheduler: TrialScheduler, rows: Mapping[int, Row], epochs: Iterable[Epoch]) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._metric = scheduler.metric
        self._trials: dict[int, _Numbered] = {}
        last = {number: row["epochs"] for number, row in rows.items() if not is_open(row)}
        for number in rows:
            self._add(number, _Nobody())
        for number, result in epochs:
            self._hear(
                number, result, rows[number]["status"] if result["epoch"] == last.get(number) else Status.RUNNING
            )

    def _hear(self, number: int, result: dict[str, Any], status: str) -> None:
        """Tell an epoch on record, and the end of the trial if it was its last, as Tune did when it happened."""
        known = self._trials[number]
        if status != Status.COMPLETED and not known.is_stopped:  # Tune asks nothing about the last epoch that there is
            self._tell(known, result, _Nobody())
        if status in (Status.COMPLETED, Status.STOPPED):
            self._scheduler.on_trial_complete(_Nobody(), known, result)
        elif status != Status.RUNNING:
            self._scheduler.on_trial_error(_Nobody(), known)

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Pass on."""
        return bool(self._scheduler.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Tell of a trial that is new; one on record is known."""
        if trial.config["trial"] not in self._trials:
            self._add(trial.config["trial"], tune_controller)

    def _add(self, number: int, controller: Any) -> None:
        self._trials[number] = _Numbered(number)
        self._scheduler.on_trial_add(controller, self._trials[number])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Tell every epoch that a result brings and that is new; returns STOP if one of them decides so."""
        known = self._trials[trial.config["trial"]]
        decision: str = TrialScheduler.CONTINUE
        for epoch in (*_earlier(result), result):
            if not known.is_stopped and epoch.get("epoch", 0) > known.told:
                decision = self._tell(known, epoch, tune_controller)
        return TrialScheduler.STOP if known.is_stopped else decision

    def _tell(self, known: _Numbered, result: dict[str, Any], controller: Any) -> str:
        decision: str = self._scheduler.on_trial_result(controller, known, result)
        known.told, known.is_stopped = result["epoch"], decision == TrialScheduler.STOP
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Tell that a trial ended, with its last epoch; a result without one, of a trial that failed, is an error."""
        known = self._trials[trial.config["trial"]]
        if self._metric not in result:
            self._scheduler.on_trial_error(tune_controller, known)
            return
        for epoch in _earlier(result):
            if epoch["epoch"] > known.told:
                self._tell(known, epoch, tune_controller)
        self._scheduler.on_trial_complete(tune_controller, known, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tell that a trial's process was lost."""
        self._scheduler.on_trial_error(tune_controller, self._trials[trial.config["trial"]])

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Tell nothing: a trial that is removed while it waits stays known by the epochs that it trained."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial that runs next: those that wait are Tune's own objects."""
        return self._scheduler.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Return what the wrapped scheduler says of itself."""
        return str(self._scheduler.debug_string())


def _earlier(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the epochs that a result tells besides its last: those a lost process had trained before."""
    return [to_result(results) for results in result.get("results", ())[:-1]]


def to_result(points: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one epoch of a trial's replicates (rows of the curves) as the trial reports it to Tune."""
    points = list(points)
    epoch = points[0]["epoch"]
    means = {key: statistics.fmean(point[key] for point in points) for key in ("val_accuracy", "val_loss")}
    return {"epoch": epoch, "training_iteration": epoch, **means}
