"""The recorder: hears from Ray Tune what happens to each trial, writes it to the store and shows it to the monitor."""

from __future__ import annotations

from typing import Any

from ray import tune

from ressearch.architecture import Architecture
from ressearch.cost import cost
from ressearch.results import Store
from ressearch.search.monitor import Monitor
from ressearch.search.study import Study


class Recorder(tune.Callback):
    """Writes every event of every trial to the store.

    Args:
        study: the study that runs.
        store: where its results go.
        monitor: who else is told.
        devices: the share of devices a trial holds: its GPUs, else its CPU cores.
    """

    def __init__(self, study: Study, store: Store, monitor: Monitor, devices: float) -> None:
        self._study, self._store, self._monitor, self._devices = study, store, monitor, devices
        self._examples = len(study.splits().train)

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal, which loses no trial."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts."""
        space, recipe = self._study.search_space, self._study.recipe.with_lr(trial.config["lr"])
        architecture = Architecture.from_dict(trial.config["architecture"])
        price = cost(architecture, space.input_shape, space.num_classes)
        number, settings = trial.config["trial"], recipe.model_dump_json()
        self._store.start(number, architecture, price, settings, recipe.seeds, recipe.peak_lr)
        self._monitor.started(self._row(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial ended an epoch."""
        if "results" in result:
            self._store.epoch(trial.config["trial"], result["results"])
            self._monitor.epoch(self._row(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended: by itself, with its outcome, or by the scheduler."""
        result = trial.last_result or {}
        scheduler = self._study.search.scheduler.name
        stopped = f"{scheduler} after epoch {self._row(trial)['epochs']}"
        self._end(trial, result.get("outcome") or "stopped", result.get("reason") or stopped)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died."""
        lines = str(trial.get_error() or "").strip().splitlines()
        self._end(trial, "failed", f"its process ended: {lines[-1] if lines else 'no message'}"[:300])

    def _row(self, trial: Any) -> dict[str, Any]:
        return self._store.tables.trials[trial.config["trial"]]

    def _end(self, trial: Any, status: str, reason: str) -> None:
        row = self._row(trial)
        self._store.end(
            row["trial"],
            status,
            None if status == "completed" else reason,
            device=(trial.last_result or {}).get("device"),
            engine=(trial.last_result or {}).get("engine"),
            device_seconds=row["train_seconds"] * self._devices,
            macs_trained=3.0 * row["macs"] * self._examples * row["epochs"] * len(row["seeds"]),
        )
        self._monitor.ended(row)
