"""Pick: from a study's results, the network for a compute budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ressearch.errors import BudgetError, StudyError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Budget, Cost, cost
from ressearch.results import load
from ressearch.results.schema import architecture_of
from ressearch.units import format_count


@dataclass(frozen=True)
class Pick:
    """The network chosen, and how sure the choice is.

    Attributes:
        architecture: the network.
        trial: its trial in the study.
        cost: what it costs for one input of the study's data.
        val_accuracy: mean over seeds after the last epoch.
        val_accuracy_std: standard deviation over seeds; None for a single seed.
        seed_val_accuracies: the accuracy of each seed.
        candidates: how many fully trained networks fitted the budget.
        cheaper: a network with fewer MACs whose mean is within one standard error, if there is one.
    """

    architecture: Architecture
    trial: int
    cost: Cost
    val_accuracy: float
    val_accuracy_std: float | None
    seed_val_accuracies: tuple[float, ...]
    candidates: int
    cheaper: Pick | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the pick as JSON-ready values."""
        return {
            "name": self.architecture.name,
            "trial": self.trial,
            "depth": self.architecture.depth,
            **self.cost._asdict(),
            "val_accuracy": self.val_accuracy,
            "val_accuracy_std": self.val_accuracy_std,
            "seed_val_accuracies": list(self.seed_val_accuracies),
            "candidates": self.candidates,
            "architecture": self.architecture.to_dict(),
            "cheaper": self.cheaper.to_dict() if self.cheaper else None,
        }

    def __str__(self) -> str:
        seeds = len(self.seed_val_accuracies)
        spread = f" (sd {self.val_accuracy_std:.4f} over {seeds} seeds)" if self.val_accuracy_std is not None else ""
        return (
            f"{self.architecture.name}\n"
            f"  depth {self.architecture.depth}, {format_count(self.cost.params)} params, "
            f"{format_count(self.cost.macs)} MACs, {format_count(self.cost.activations)} activations\n"
            f"  val_accuracy {self.val_accuracy:.4f}{spread}"
        )


def pick(
    directory: str | Path,
    max_params: int | str | None = None,
    max_macs: int | str | None = None,
    max_activations: int | str | None = None,
) -> Pick:
    """Return the network with the best mean validation accuracy, among those trained to the last epoch, in a budget.

    Ties go to the network with fewer MACs. The mean of the best of many is optimistic: score it on fresh data.

    Args:
        directory: a study directory.
        max_params: most parameters, such as 20000 or ``20k``.
        max_macs: most multiply-accumulates for one input of the study's data.
        max_activations: most activations for one input.

    Raises:
        BudgetError: a bound is not a count, or no fully trained network fits; the text says what the smallest one has.
        StudyError: the directory holds no study, or none of its trials trained to the last epoch.
    """
    budget = Budget(max_params, max_macs, max_activations)
    results = load(directory)
    trials = results.trials
    done = trials[(trials["status"] == "completed") & (trials["phase"] == "search")]
    if done.empty:
        raise StudyError(f"{directory}: no trial has trained every epoch yet, so there is nothing to pick from")
    fits = done[[budget.allows(_cost(row)) for _, row in done.iterrows()]]
    if fits.empty:
        least = ", ".join(f"{field} {done[field].min()}" for field in budget.bounds)
        raise BudgetError(
            f"{directory}: none of the {len(done)} fully trained networks fits the budget ({budget}); least: {least}"
        )
    ranked = fits.sort_values(["val_accuracy", "macs"], ascending=[False, True])
    best = ranked.iloc[0]
    error = 0.0 if pd.isna(best["val_accuracy_std"]) else best["val_accuracy_std"] / len(best["seeds"]) ** 0.5
    near = ranked[(ranked["val_accuracy"] >= best["val_accuracy"] - error) & (ranked["macs"] < best["macs"])]
    cheaper = _pick(results.run, near.sort_values("macs").iloc[0], len(fits)) if not near.empty else None
    return _pick(results.run, best, len(fits), cheaper)


def _cost(row: pd.Series) -> Cost:
    return Cost(int(row["params"]), int(row["macs"]), int(row["activations"]))


def _pick(run: dict[str, Any], row: pd.Series, candidates: int, cheaper: Pick | None = None) -> Pick:
    std = row["val_accuracy_std"]
    architecture = architecture_of({str(key): value for key, value in row.items()})
    return Pick(
        architecture=architecture,
        trial=int(row["trial"]),
        cost=cost(architecture, tuple(run["input_shape"]), run["num_classes"]),
        val_accuracy=float(row["val_accuracy"]),
        val_accuracy_std=None if pd.isna(std) else float(std),
        seed_val_accuracies=tuple(float(value) for value in row["seed_val_accuracies"]),
        candidates=candidates,
        cheaper=cheaper,
    )
