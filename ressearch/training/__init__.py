"""Training one trial: a recipe and the engine that runs it epoch by epoch. Needs neither Ray nor Optuna."""

from ressearch.training.engine import Engine
from ressearch.training.recipe import Recipe
from ressearch.training.replicates import Diverged, EpochResult, Evaluation

__all__ = ["Diverged", "Engine", "EpochResult", "Evaluation", "Recipe"]
