"""Standard tools that watch a study: TensorBoard event files, MLflow, Weights & Biases. To add one, add it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ressearch.errors import StudyError
from ressearch.registry import Registry

Maker = Callable[[str, Path], Any]
"""Takes a study's name and its directory; returns a `ray.tune.Callback`."""


@dataclass(frozen=True)
class LoggerType:
    """A registered logger.

    Attributes:
        make: makes the callback.
        package: the package that has to be installed for it; None if none has to.
    """

    make: Maker
    package: str | None = None


LOGGERS: Registry[LoggerType] = Registry("loggers", StudyError, "logger {name} is unknown")
"""Tune callbacks by name, as a study's `loggers` lists them."""


def logger(name: str, *, package: str | None = None, replace: bool = False) -> Callable[[Maker], Maker]:
    """Register a maker of callbacks as `name`; `package` has to be installed for it."""
    return LOGGERS.register(name, make=lambda make: LoggerType(make, package), replace=replace)


@logger("tensorboard", package="tensorboardX")
def tensorboard(study: str, directory: Path) -> Any:
    """Event files under ``tensorboard/`` of the study directory, one run a trial."""
    from ressearch.search.tensorboard import TensorBoard

    return TensorBoard(directory / "tensorboard")


@logger("mlflow", package="mlflow")
def mlflow(study: str, directory: Path) -> Any:
    """Ray's MLflow callback: an experiment of the study's name; ``MLFLOW_TRACKING_URI`` says where."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return _plainly("mlflow", MLflowLoggerCallback(experiment_name=study))


@logger("wandb", package="wandb")
def wandb(study: str, directory: Path) -> Any:
    """Ray's Weights & Biases callback: a project of the study's name; ``WANDB_MODE=offline`` needs no account."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    return _plainly("wandb", WandbLoggerCallback(project=study, dir=str(directory)))


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


def callbacks(names: Sequence[str], study: str, directory: Path) -> list[Any]:
    """Return the callbacks that a study of a name, in a directory, asks for."""
    return [LOGGERS[name].make(study, directory) for name in names]
