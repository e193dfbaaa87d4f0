"""Published networks trained under a study's recipe, so that a budget's pick stands beside them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost, cost
from ressearch.picking.fresh import Trainer, append_line, read_lines
from ressearch.results.status import Status
from ressearch.results.store import Results, load
from ressearch.units import counted

FILE = "presets.jsonl"
"""The file of a study's directory that holds what published networks reached, a line each."""


@dataclass(frozen=True)
class PresetTrained:
    """A published network, trained as a study trains on seeds that the study has not used.

    Attributes:
        preset: the name it is published by.
        name: of its architecture.
        epochs: trained.
        seeds: used.
        seed_val_accuracies: of each, after the last epoch.
        train_seconds: that one seed took.
        ended_at: seconds since 1970.
        problem: why it did not train to the end; None where it did.
    """

    preset: str
    name: str
    epochs: int
    seeds: tuple[int, ...]
    seed_val_accuracies: tuple[float, ...]
    train_seconds: float
    ended_at: float
    problem: str | None = None

    @property
    def val_accuracy(self) -> float:
        """The mean over seeds; NaN where it did not train to the end."""
        return float(np.mean(self.seed_val_accuracies)) if self.seed_val_accuracies else math.nan

    def cost(self, results: Results) -> Cost:
        """Return what it costs for one input of a study's data."""
        return cost(Architecture.from_name(self.name), tuple(results.run["input_shape"]), results.run["num_classes"])

    def __str__(self) -> str:
        if self.problem is not None:
            return f"{self.preset}: {self.problem}"
        return f"{self.preset}: {self.val_accuracy:.4f} on {counted(len(self.seeds), 'fresh seed')}"


def train_presets(
    directory: str | Path,
    presets: Sequence[str],
    *,
    allow_plugins: bool = False,
    data: Any = None,
    told: Callable[[PresetTrained], None] = lambda one: None,
) -> list[PresetTrained]:
    """Train published networks as a study trains, on as many seeds, which it has not used.

    What each reached is kept in `FILE` as soon as it ended; one that is there, or that the study itself trained to the
    last epoch, is not trained again, and of the latter nothing is returned.

    Args:
        directory: the study directory.
        presets: names of published networks.
        allow_plugins: as in `ressearch.pick`.
        data: the study's data set, if it was one in memory.
        told: called with each as it ends.

    Raises:
        ArchitectureError: a name is unknown, or the network does not take the study's data; nothing was trained.
        StudyError: the directory holds no study, or its data have changed.
    """
    results = load(directory)
    wanted = {name: Architecture.preset(name) for name in presets}
    shape, classes = tuple(results.run["input_shape"]), results.run["num_classes"]
    for name, architecture in wanted.items():
        try:
            cost(architecture, shape, classes)
        except ArchitectureError as error:
            raise ArchitectureError(f"{name}: {error}") from None
    done = set(results.trials["name"][results.trials["status"] == Status.COMPLETED])
    wanted = {name: architecture for name, architecture in wanted.items() if architecture.name not in done}
    if not wanted:
        return []
    trainer = Trainer.of(results, directory, allow_plugins, data)
    known = {one.preset: one for one in read_presets(results) if one.epochs == trainer.recipe.epochs}
    for name, architecture in wanted.items():
        if name not in known:
            known[name] = _trained(trainer, name, architecture)
            append_line(trainer.results.directory / FILE, asdict(known[name]))
        told(known[name])
    return [known[name] for name in wanted]


def _trained(trainer: Trainer, preset: str, architecture: Architecture) -> PresetTrained:
    from ressearch.training import Diverged

    epochs = trainer.recipe.epochs
    try:
        reached = trainer.train(architecture)
    except Diverged as problem:  # a result too
        seeds, why = trainer.recipe.seeds, f"diverged: {problem}"
        return PresetTrained(preset, architecture.name, epochs, seeds, (), math.nan, round(time.time(), 3), why)
    return PresetTrained(
        preset,
        architecture.name,
        epochs,
        reached.seeds,
        reached.seed_val_accuracies,
        reached.train_seconds / len(reached.seeds),
        reached.ended_at,
    )


def read_presets(results: Results) -> list[PresetTrained]:
    """Return what published networks reached that were trained beside a study; damaged lines are left out."""
    found: dict[str, PresetTrained] = {}
    for values in read_lines(results.directory / FILE):
        with contextlib.suppress(TypeError):  # a line of something else
            one = PresetTrained(**values)
            found[one.preset] = one
    return list(found.values())


__all__ = ["FILE", "PresetTrained", "read_presets", "train_presets"]
