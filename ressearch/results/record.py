"""A trial as a typed record: a row of the trial table, each column as what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost
from ressearch.results.schema import architecture_of
from ressearch.results.status import Status


@dataclass(frozen=True)
class TrialRecord:
    """A trial, as the table has it (`ressearch.results.schema.TRIALS`); None is what is not known, yet or ever.

    Attributes:
        trial: its number.
        phase: what it is for: ``search``, ``baseline`` or ``final``.
        name: of its network.
        status: what became of it.
        reason: why it ended so, if not by its last epoch.
        depth: of its network.
        cost: of its network, for one input.
        epochs: that it trained.
        seeds: of its replicates.
        lr: its peak learning rate.
        val_accuracy, val_loss: means over seeds after the last epoch.
        seed_val_accuracies: of each seed.
        test_accuracy: mean over seeds; finalists' alone.
        seed_test_accuracies: of each seed; finalists' alone.
        of_trial: the search trial that a finalist retrains.
        row: everything, by column.
    """

    trial: int
    phase: str
    name: str
    status: Status
    reason: str | None
    depth: int
    cost: Cost
    epochs: int
    seeds: tuple[int, ...]
    lr: float | None
    val_accuracy: float | None
    val_loss: float | None
    seed_val_accuracies: tuple[float, ...]
    test_accuracy: float | None
    seed_test_accuracies: tuple[float, ...]
    of_trial: int | None
    row: Mapping[str, Any]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> TrialRecord:
        """Return the record of a row of the trial table."""
        of_trial = _known(row, "of_trial")
        return cls(
            trial=int(row["trial"]),
            phase=str(row["phase"]),
            name=str(row["name"]),
            status=Status(row["status"]),
            reason=_known(row, "reason"),
            depth=int(row["depth"]),
            cost=Cost(int(row["params"]), int(row["macs"]), int(row["activations"])),
            epochs=int(row["epochs"]),
            seeds=tuple(int(seed) for seed in row["seeds"]),
            lr=_known(row, "lr"),
            val_accuracy=_known(row, "val_accuracy"),
            val_loss=_known(row, "val_loss"),
            seed_val_accuracies=_numbers(row, "seed_val_accuracies"),
            test_accuracy=_known(row, "test_accuracy"),
            seed_test_accuracies=_numbers(row, "seed_test_accuracies"),
            of_trial=None if of_trial is None else int(of_trial),
            row=row,
        )

    @property
    def architecture(self) -> Architecture:
        """Its network. Raises StudyError if what is on record is none (or only a plugin knows it)."""
        return architecture_of(self.row)


def _known(row: Mapping[str, Any], key: str) -> Any:
    """Return a cell; None where the table has no number."""
    value = row.get(key)
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _numbers(row: Mapping[str, Any], key: str) -> tuple[float, ...]:
    value = _known(row, key)
    return () if value is None else tuple(float(one) for one in value)


__all__ = ["Status", "TrialRecord"]
