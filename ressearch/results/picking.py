"""Pick: from a study's results, the network for a compute budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ressearch.errors import BudgetError, StudyError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Budget, Cost, cost
from ressearch.plugins import require_networks
from ressearch.results.aggregate import replicates
from ressearch.results.ranking import Objective, ranked
from ressearch.results.record import TrialRecord
from ressearch.results.store import Results, load
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
    allow_plugins: bool = False,
) -> Pick:
    """Return the network that is best by the study's first objective, of those trained to the last epoch, in a budget.

    That is the mean validation accuracy over seeds, or the loss (`ressearch.results.ranking`). Ties go to the network
    with fewer MACs. The mean of the best of many is optimistic: score it on fresh data.

    Args:
        directory: a study directory.
        max_params: most parameters, such as 20000 or ``20k``.
        max_macs: most multiply-accumulates for one input of the study's data.
        max_activations: most activations for one input.
        allow_plugins: run the plugins that came with the study, if its networks need any; they are code.

    Raises:
        PluginError: the networks need plugins that are not allowed to run, or are missing, or were changed.
        BudgetError: a bound is not a count, or no fully trained network fits; the text says what the smallest one has.
        StudyError: the directory holds no study, or none of its trials trained to the last epoch.
    """
    budget = Budget(max_params, max_macs, max_activations)
    results = load(directory)
    objective = Objective.of(results.run)
    searched = results.trials[results.trials["phase"] == "search"]
    rows: list[Any] = searched.to_dict("records")
    done = [TrialRecord.from_row(row) for row in ranked(rows, objective)]
    if not done:
        raise StudyError(f"{directory}: no trial has trained every epoch yet, so there is nothing to pick from")
    fits = [trial for trial in done if budget.allows(trial.cost)]
    if not fits:
        least = ", ".join(f"{field} {min(getattr(trial.cost, field) for trial in done)}" for field in budget.bounds)
        raise BudgetError(
            f"{directory}: none of the {len(done)} fully trained networks fits the budget ({budget}); least: {least}"
        )
    best, cheaper = fits[0], cheapest_alike(results, fits, objective)
    require_networks(results.directory, results.run, allow_plugins, directory)
    other = _pick(results.run, cheaper, len(fits)) if cheaper is not None else None
    return _pick(results.run, best, len(fits), other)


def cheapest_alike(results: Results, trials: Sequence[TrialRecord], objective: Objective) -> TrialRecord | None:
    """Return the trial of fewest MACs whose mean is within one standard error of the best, if it is not the best.

    Args:
        results: of the study.
        trials: the best first.
        objective: what they were ranked by.
    """
    best = trials[0]
    last = replicates(results)
    values = last[last["trial"] == best.trial][objective.column]
    error = 0.0 if len(values) < 2 else float(values.std()) / len(values) ** 0.5
    bound = best.row[objective.column] + (-error if objective.is_more else error)
    near = [one for one in trials if not objective.is_better(bound, one.row[objective.column])]
    cheaper = [one for one in near if one.cost.macs < best.cost.macs]
    return min(cheaper, key=lambda one: (one.cost.macs, one.trial), default=None)


def _pick(run: dict[str, Any], trial: TrialRecord, candidates: int, cheaper: Pick | None = None) -> Pick:
    std = trial.row["val_accuracy_std"]
    architecture = trial.architecture
    assert trial.val_accuracy is not None
    return Pick(
        architecture=architecture,
        trial=trial.trial,
        cost=cost(architecture, tuple(run["input_shape"]), run["num_classes"]),
        val_accuracy=trial.val_accuracy,
        val_accuracy_std=None if std is None or math.isnan(std) else float(std),
        seed_val_accuracies=trial.seed_val_accuracies,
        candidates=candidates,
        cheaper=cheaper,
    )
