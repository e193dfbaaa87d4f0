"""The one order of trials: by the study's first objective, the cheaper network first where two are equal.

`status`, `pick`, the report, `export` and the choice of finalists all use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from ressearch.results.status import Status

Row = TypeVar("Row", bound=Mapping[str, Any])

OBJECTIVES = {"val_accuracy": "max", "val_loss": "min", "params": "min", "macs": "min", "activations": "min"}
"""What a search may optimise, and in which direction."""


class Objective(NamedTuple):
    """What trials are ranked by.

    Attributes:
        column: of the trial table, a mean over seeds.
        is_more: whether more is better.
    """

    column: str
    is_more: bool

    @classmethod
    def named(cls, name: str) -> Objective:
        """Return the objective of a name in `OBJECTIVES`."""
        return cls(name, OBJECTIVES[name] == "max")

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> Objective:
        """Return the first objective of a study, by its `run.json`; validation accuracy where it says none."""
        names = run.get("study", {}).get("search", {}).get("objective") or ("val_accuracy",)
        return cls.named(names[0] if names[0] in OBJECTIVES else "val_accuracy")

    @property
    def mode(self) -> str:
        """``max`` or ``min``, as Ray Tune calls it."""
        return "max" if self.is_more else "min"

    @property
    def words(self) -> str:
        """What it is, for pages."""
        return {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}.get(self.column, self.column)

    def is_better(self, one: float, other: float) -> bool:
        """Return whether one value is strictly better than another."""
        return one > other if self.is_more else one < other

    def key(self, row: Mapping[str, Any]) -> tuple[float, int, int]:
        """Return what sorts rows of the trial table, the best first: its value, then fewer MACs, then the number."""
        value = float(row[self.column])
        return -value if self.is_more else value, int(row["macs"]), int(row["trial"])


def ranked(rows: Iterable[Row], objective: Objective) -> list[Row]:
    """Return the rows of trials that trained every epoch, the best first."""
    return sorted((row for row in rows if row["status"] == Status.COMPLETED), key=objective.key)


def ranked_table(trials: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """Return the trials of a table that trained every epoch, the best first."""
    done = trials[trials["status"] == Status.COMPLETED]
    return done.sort_values([objective.column, "macs", "trial"], ascending=[not objective.is_more, True, True])


__all__ = ["OBJECTIVES", "Objective", "ranked", "ranked_table"]
