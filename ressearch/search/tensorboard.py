"""TensorBoard event files of a study: one run a trial, scalars by epoch. By tensorboardX, which Tune needs anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune
from tensorboardX import SummaryWriter


class TensorBoard(tune.Callback):  # type: ignore[misc]  # Ray's classes are not checked
    """Writes each trial's losses and accuracies, means over its seeds, as scalars.

    Args:
        directory: of the runs; one directory per trial.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writers: dict[int, SummaryWriter] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Write an epoch."""
        number = trial.config["trial"]
        if number not in self._writers:
            self._writers[number] = SummaryWriter(str(self._directory / f"trial-{number}"))
        for results in result.get("results", ()):
            for key in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"):
                mean = sum(one[key] for one in results) / len(results)
                self._writers[number].add_scalar(key, mean, results[0]["epoch"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End a trial's file."""
        if (writer := self._writers.pop(trial.config["trial"], None)) is not None:
            writer.close()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End a trial's file."""
        self.on_trial_complete(iteration, trials, trial)
