"""Networks trained as a study trains, on seeds that it has not used; what each reached is a line of a file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ressearch import durable
from ressearch.networks.architecture import Architecture
from ressearch.picking.field import Field
from ressearch.results.store import Results
from ressearch.search.again import fresh_seed, study_of
from ressearch.search.recorded import recipe_of
from ressearch.search.resources import trial_device

if TYPE_CHECKING:
    from ressearch.data import Dataset, Splits
    from ressearch.search.study import Study
    from ressearch.training.recipe import Recipe


@dataclass(frozen=True)
class Reached:
    """What a network reached.

    Attributes:
        seeds: fresh ones, as many as the study's trials have.
        seed_val_accuracies: of each, after the last epoch.
        train_seconds: that training all of them took.
        ended_at: seconds since 1970.
    """

    seeds: tuple[int, ...]
    seed_val_accuracies: tuple[float, ...]
    train_seconds: float
    ended_at: float


@dataclass(frozen=True)
class Trainer:
    """Trains networks as a study trains: on its data, under the recipe of its best network.

    Attributes:
        results, study, splits, recipe: of the study; the recipe's seeds are fresh.
    """

    results: Results
    study: Study
    splits: Splits
    recipe: Recipe

    @classmethod
    def of(
        cls, results: Results, directory: str | Path, allow_plugins: bool = False, data: Dataset | None = None
    ) -> Trainer:
        """Return the trainer of a study.

        Args:
            results, directory, allow_plugins, data: as `ressearch.search.again.study_of` takes them.

        Raises:
            StudyError: its data have changed.
        """
        study, recipe, fresh = (
            study_of(results, directory, allow_plugins, data),
            recipe_for(results),
            fresh_seed(results),
        )
        seeds = tuple(range(fresh, fresh + len(recipe.seeds)))
        splits = study.splits().to(trial_device(None))
        return cls(results, study, splits, recipe.model_copy(update={"seeds": seeds}))

    def train(self, architecture: Architecture) -> Reached:
        """Train a network to the last epoch. Raises Diverged if a loss was no number."""
        from ressearch.training import Engine

        began, classes = time.perf_counter(), len(self.study.dataset.classes)
        engine = Engine(architecture, self.splits, classes, self.recipe, init=self.study.initial_weights)
        accuracies: tuple[float, ...] = ()
        while not engine.is_finished:
            accuracies = tuple(float(one.val_accuracy) for one in engine.train_epoch())
        seconds = time.perf_counter() - began
        return Reached(self.recipe.seeds, accuracies, round(seconds, 3), round(time.time(), 3))


def append_line(file: Path, values: dict[str, Any]) -> None:
    """Add a line of JSON to a file; it is on the disk when this returns."""
    was_cut = file.is_file() and not file.read_bytes().endswith(b"\n")
    journal = durable.Appender(file)
    journal.append(("\n" * was_cut + json.dumps(values) + "\n").encode(), is_synced=True)
    journal.close()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of such a file, lists as tuples; none where there is no file, damaged lines left out."""
    found = []
    for line in file.read_bytes().splitlines() if file.is_file() else ():
        try:
            values = json.loads(line)
            found.append({key: tuple(one) if isinstance(one, list) else one for key, one in values.items()})
        except (ValueError, AttributeError):
            continue
    return found


def recipe_for(results: Results) -> Recipe:
    """Return the recipe of a study's best network, or of its first trial where none trained to the end."""
    best = Field.of([results]).entrants
    rows: list[Any] = [best[0].record.row] if best else results.trials.head(1).to_dict("records")
    return recipe_of(rows[0])


__all__ = ["Reached", "Trainer", "append_line", "read_lines", "recipe_for"]
