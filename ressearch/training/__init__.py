"""Training one trial: a recipe and the engine that runs it epoch by epoch. Needs neither Ray nor Optuna."""

from ressearch.training.engine import Engine, EpochResult
from ressearch.training.recipe import Recipe

__all__ = ["Engine", "EpochResult", "Recipe"]
