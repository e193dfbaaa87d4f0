"""The trained weights that a study keeps (`keep_weights`): one file per trial, ``weights/00012.safetensors``.

A trial's process writes its file after the last epoch, whole or not at all, before it tells the study; once the
trial's end is on record, the study removes the files that are not to be kept. Which these are follows from the record
alone. A trial whose end is not on record writes its file again. One that cannot be written costs no trial.

Of a trial's seeds the one with the best validation accuracy is kept (of several, the one of the least loss).
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from ressearch import durable, remote
from ressearch.data import Splits
from ressearch.networks.architecture import Architecture
from ressearch.results.ranking import Objective, finals_of, ranked
from ressearch.results.schema import is_open
from ressearch.results.status import Status
from ressearch.results.storage import WEIGHTS, weights_name
from ressearch.results.store import Store
from ressearch.search.study import Study
from ressearch.training import Engine
from ressearch.training.classifier import classifier_of, input_dtype_of, to_bytes
from ressearch.units import format_count

Row = Mapping[str, Any]

_PATIENCE = 10.0
"""Seconds for which writing elsewhere is tried."""

_PACE = 20
"""How many times as long as looking for files to remove took nobody looks again."""


@dataclass(frozen=True)
class Keeping:
    """What the processes of trials need to keep weights.

    Attributes:
        directory: of the files; a path or URL.
        max_size: bytes of one file at most.
        classes: their names.
        input_dtype: as the data hold inputs.
    """

    directory: str
    max_size: int
    classes: tuple[str, ...]
    input_dtype: str

    def write(
        self, trial: int, architecture: Architecture, engine: Engine, splits: Splits, results: Sequence[Row]
    ) -> str | None:
        """Write the best seed's weights; returns why they are not kept, if they are not.

        Args:
            trial: its number.
            architecture: what it trained.
            engine: that trained it.
            splits: what on.
            results: of the last epoch, one per seed.
        """
        at = max(range(len(results)), key=lambda one: (results[one]["val_accuracy"], -results[one]["val_loss"]))
        best = results[at]
        trained = {
            "trial": trial,
            **{key: best[key] for key in ("seed", "epoch", "val_accuracy", "val_loss")},
            "seeds": [one["seed"] for one in results],
            "recipe": json.loads(engine.recipe.model_dump_json()),
        }
        try:
            classifier = classifier_of(architecture, engine.state(at), splits, self.classes, self.input_dtype)
            content = to_bytes(classifier, trained)
            if len(content) > self.max_size:
                return f"{format_count(len(content))}B of weights are above keep_weights.max_size"
            self._put(weights_name(trial), content)
        except Exception as error:  # whatever it is, the trial is worth more than its file
            return f"cannot be written: {remote.describe(error).lower()}"
        return None

    def _put(self, name: str, content: bytes) -> None:
        local = remote.local_path(self.directory)
        if local is None:
            remote.write(f"{self.directory}/{name}", content, seconds=_PATIENCE)
            return
        target = Path(local) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(target, lambda file: file.write(content))


def keeping(study: Study, place: str, phase: str) -> Keeping | None:
    """Return what the trials of a phase need to keep weights; None where they keep none.

    Args:
        study: the study.
        place: its directory, as the trials see it.
        phase: its name.
    """
    section = study.keep_weights
    if section.trials == "none" or (phase == "baseline" and section.trials != "all"):
        return None
    classes = tuple(study.dataset.classes)
    return Keeping(f"{place}/{WEIGHTS}", section.max_size, classes, input_dtype_of(study.dataset))


def kept_trials(which: str, rows: Sequence[Row], objective: Objective, is_final_open: bool = False) -> list[int]:
    """Return the trials whose weights are to be kept, the most wanted first, by the record alone.

    Args:
        which: as `ressearch.search.sections.KeepWeightsSection`.
        rows: of the trial table.
        objective: of the study.
        is_final_open: finalists are to come, or train still: which network is best may change.
    """
    done = [row for row in rows if row["status"] == Status.COMPLETED]
    finals = finals_of(done)
    order = [int(row["trial"]) for row in ranked([row for row in done if row["phase"] == "search"], objective, finals)]
    of_trial = {int(row["of_trial"]): int(row["trial"]) for row in finals if row["of_trial"] is not None}
    wanted = [of_trial.get(one, one) for one in order[:1]]
    if which in ("finalists", "all") or is_final_open:
        wanted += [of_trial[one] for one in order if one in of_trial]
        wanted += order[:1] if is_final_open else []
    if which == "all":
        wanted += [*order, *sorted(int(row["trial"]) for row in done)]
    return list(dict.fromkeys(wanted)) if which != "none" else []


class Keeper:
    """Removes weights that are not to be kept, and remembers which could not be.

    Args:
        study: the study.
        store: of its record.
        place: its directory, as the trials see it.

    Attributes:
        problems: why weights were not kept, by trial.
    """

    def __init__(self, study: Study, store: Store, place: str) -> None:
        self._study, self._store, self._directory = study, store, f"{place}/{WEIGHTS}"
        self._next = 0.0
        self.problems: dict[str, str] = {}

    def ended(self, trial: int, problem: str | None) -> None:
        """A trial's end is on record; `problem` is why its weights were not kept."""
        if problem is not None:
            if not self.problems:
                logging.getLogger("ressearch").warning("trial %d: its weights are not kept: %s", trial, problem)
            self.problems[str(trial)] = problem
        if time.monotonic() >= self._next:
            began = time.monotonic()
            self.tidy()
            self._next = time.monotonic() + _PACE * (time.monotonic() - began)

    def tidy(self, is_over: bool = False) -> None:
        """Remove what is not to be kept, of trials whose end is on record; `is_over`: nothing is being written."""
        section, rows = self._study.keep_weights, list(self._store.tables.trials.values())
        with contextlib.suppress(Exception):  # each file system has its own; what cannot be removed takes space alone
            files = self._files()
            if not files:
                return
            objective = self._study.objective._replace(examples=self._study.examples["validation"])
            is_open_still = bool(self._study.search.finalists.count) and not is_over
            wanted = kept_trials(section.trials, rows, objective, is_open_still)
            names = {weights_name(int(row["trial"])): int(row["trial"]) for row in rows if not is_open(row)}
            kept, left = set(), section.max_size
            for name in map(weights_name, wanted):
                if name in files and files[name] <= left:
                    kept.add(name)
                    left -= files[name]
            for name in files:
                if (name in names and name not in kept) or (is_over and name.endswith(".part")):
                    remote.take(f"{self._directory}/{name}")

    def _files(self) -> dict[str, int]:
        """Return the sizes of what is there, by name."""
        system, path = fsspec.core.url_to_fs(self._directory)
        system.invalidate_cache()
        try:
            found = system.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        return {one["name"].rpartition("/")[2]: int(one["size"] or 0) for one in found}


__all__ = ["Keeper", "Keeping", "keeping", "kept_trials"]
