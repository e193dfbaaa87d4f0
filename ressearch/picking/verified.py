"""What predicted networks reached once they were trained, kept beside a study; later predictions learn from it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ressearch.picking.fresh import read_lines
from ressearch.units import counted

VERIFIED = "verified.jsonl"
"""The file of a study's directory that holds what verified networks reached, a line each."""


@dataclass(frozen=True)
class Verified:
    """What a network reached on seeds that the study had not used, beside what was predicted.

    Attributes:
        name: of the network.
        seeds: used.
        seed_val_accuracies: of each.
        val_accuracy: their mean.
        mean, low, high: as predicted.
        ended_at: seconds since 1970.
    """

    name: str
    seeds: tuple[int, ...]
    seed_val_accuracies: tuple[float, ...]
    val_accuracy: float
    mean: float
    low: float
    high: float
    ended_at: float

    @property
    def holds(self) -> bool:
        """Whether what was obtained lies in the predicted interval."""
        return self.low <= self.val_accuracy <= self.high

    def __str__(self) -> str:
        side = "within" if self.holds else "above" if self.val_accuracy > self.high else "below"
        return (
            f"{self.name}: {self.val_accuracy:.4f} on {counted(len(self.seeds), 'fresh seed')}, {side} the predicted "
            f"{self.low:.4f} to {self.high:.4f}"
        )


def read_verified(directory: Path) -> list[Verified]:
    """Return what verified networks of a study reached; a line that was cut off is left out."""
    found = []
    for values in read_lines(directory / VERIFIED):
        with contextlib.suppress(TypeError):  # a line of something else
            found.append(Verified(**values))
    return found


__all__ = ["VERIFIED", "Verified", "read_verified"]
