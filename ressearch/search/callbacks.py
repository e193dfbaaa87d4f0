"""Standard tools that watch a study: TensorBoard event files, MLflow, Weights & Biases. To add one, add it here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ressearch.errors import StudyError

if TYPE_CHECKING:
    from ressearch.search.study import Study

LOGGERS: dict[str, Callable[[Study, Path], Any]] = {}
"""Tune callbacks by name, as a study's `loggers` lists them; each takes the study and its directory."""


def logger(name: str) -> Callable[[Callable[[Study, Path], Any]], Callable[[Study, Path], Any]]:
    """Register a maker of callbacks as `name`."""

    def register(make: Callable[[Study, Path], Any]) -> Callable[[Study, Path], Any]:
        LOGGERS[name] = make
        return make

    return register


@logger("tensorboard")
def tensorboard(study: Study, directory: Path) -> Any:
    """Event files under ``tensorboard/`` of the study directory, one run a trial."""
    from ressearch.search.tensorboard import TensorBoard

    return TensorBoard(directory / "tensorboard")


@logger("mlflow")
def mlflow(study: Study, directory: Path) -> Any:
    """Ray's MLflow callback: an experiment of the study's name; ``MLFLOW_TRACKING_URI`` says where."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return _plainly("mlflow", MLflowLoggerCallback(experiment_name=study.name))


@logger("wandb")
def wandb(study: Study, directory: Path) -> Any:
    """Ray's Weights & Biases callback: a project of the study's name; ``WANDB_MODE=offline`` needs no account."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    return _plainly("wandb", WandbLoggerCallback(project=study.name, dir=str(directory)))


def _plainly(name: str, callback: Any) -> Any:
    """Have a callback whose tool is not set up say so in one line."""
    setup = callback.setup

    def checked(**info: Any) -> None:
        try:
            setup(**info)
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StudyError(f"loggers: {name} is not set up: {said[:300]}") from None

    callback.setup = checked
    return callback


def callbacks(study: Study, directory: Path) -> list[Any]:
    """Return the callbacks that a study asks for."""
    return [LOGGERS[name](study, directory) for name in study.loggers]
