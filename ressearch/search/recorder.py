"""The recorder: hears from Ray Tune what happens to each trial, writes it to the store and shows it to the monitor."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping
from typing import Any

from ray import tune

from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import cost
from ressearch.results import Store
from ressearch.results.status import Status
from ressearch.results.storage import CHECKPOINTS
from ressearch.search.ledger import Ledger
from ressearch.search.monitor import Monitor
from ressearch.search.study import Study
from ressearch.search.trial import HOW_IT_RAN, checkpoint_name
from ressearch.search.weights import Keeper
from ressearch.training import Recipe, checkpoint


class Recorder(tune.Callback):  # type: ignore[misc]  # Ray's classes are not checked
    """Writes every event of every trial to the store.

    Args:
        study: the study that runs.
        recipe: of the phase's trials.
        store: where its results go.
        ledger: adds up what they spend.
        monitor: who else is told.
        devices: the share of devices a trial holds: its GPUs, else its CPU cores.
        phase: what the trials are for.
        keeper: removes weights that are not to be kept.
    """

    def __init__(
        self,
        study: Study,
        recipe: Recipe,
        store: Store,
        ledger: Ledger,
        monitor: Monitor,
        devices: float,
        phase: str = "search",
        keeper: Keeper | None = None,
    ) -> None:
        self._study, self._recipe, self._store, self._ledger = study, recipe, store, ledger
        self._monitor, self._devices, self._phase, self._keeper = monitor, devices, phase, keeper
        self._examples = len(study.splits().train)

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal, which loses no trial."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts, goes on after an interruption, or starts again because its process was lost."""
        self._open(trial)
        if self._store.broken is None:
            self._monitor.started(self._row(trial))

    def _open(self, trial: Any) -> None:
        number = trial.config["trial"]
        if number not in self._store.tables.trials:
            space, recipe = self._study.search_space, self._recipe.with_lr(trial.config["lr"])
            architecture = Architecture.from_dict(trial.config["architecture"])
            price = cost(architecture, space.input_shape, space.num_classes)
            columns = trial.config.get("columns", {})
            settings = recipe.model_dump_json()
            self._store.start(
                number,
                architecture,
                price,
                settings,
                recipe.seeds,
                recipe.peak_lr,
                phase=self._phase,
                devices=self._devices,
                examples=self._examples,
                **columns,
            )
        elif self._row(trial)["status"] != Status.RUNNING:
            self._store.reopen(number, devices=self._devices, examples=self._examples)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial ended an epoch; after a restart it may tell earlier ones again."""
        correct = result.pop("correct", None)  # Tune keeps the last result of every trial in memory
        if self._store.broken is not None:
            return
        for results in result.get("results", ()):
            row = self._row(trial)
            if results[0]["epoch"] == row["epochs"] + 1:
                # How a trial runs is on record with its first epoch: a study that is killed goes on in the same way.
                how = _how_it_ran(result) if row["epochs"] == 0 else {}
                self._store.epoch(row["trial"], results, **how)
                self._ledger.add_epochs(row, 1)
                self._monitor.epoch(row)
        if correct is not None:
            self._store.hold(trial.config["trial"], correct)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended: by itself, with its outcome, or by the scheduler."""
        if self._store.broken is not None:
            return
        result = trial.last_result or {}
        scheduler = self._study.search.scheduler.name
        stopped = f"{scheduler} after epoch {self._row(trial)['epochs']}"
        self._end(trial, result.get("outcome") or Status.STOPPED, result.get("reason") or stopped)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died once too often."""
        if self._store.broken is not None:
            return
        self._open(trial)  # its process may have died before it started
        lines = str(trial.get_error() or "").strip().splitlines()
        self._end(trial, Status.FAILED, f"its process ended: {lines[-1] if lines else 'no message'}"[:300])

    def _row(self, trial: Any) -> dict[str, Any]:
        return self._store.tables.trials[trial.config["trial"]]

    def _end(self, trial: Any, status: str, reason: str) -> None:
        row, result = self._row(trial), trial.last_result or {}
        scores: dict[str, Any] = {}
        if test := result.get("test"):
            accuracies = [one["accuracy"] for one in test]
            scores = {
                "test_accuracy": statistics.fmean(accuracies),
                "test_accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
                "test_loss": statistics.fmean(one["loss"] for one in test),
                "seed_test_accuracies": accuracies,
            }
        self._store.end(
            row["trial"],
            status,
            None if status == Status.COMPLETED else reason,
            **_how_it_ran(result),
            **scores,
        )
        self._ledger.add_end(status)
        self._monitor.ended(row)
        if self._store.broken is None:
            self._remove_checkpoint(row["trial"])
            if self._keeper is not None:
                self._keeper.ended(row["trial"], result.get("not_kept"))

    def _remove_checkpoint(self, trial: int) -> None:
        with contextlib.suppress(OSError):
            checkpoint.remove(str(self._store.directory / CHECKPOINTS / checkpoint_name(trial)))


def _how_it_ran(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in HOW_IT_RAN if key in result}
