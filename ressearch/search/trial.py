"""One trial as Ray Tune sees it: a Trainable whose step is an epoch of every replicate. Its actor is reused.

A trial costs what its training costs: the actor's process imports and warms up once, the data come once a node from
Ray's object store (the test part never leaves the driver), and what goes wrong is a result, so the actor lives on.
"""

from __future__ import annotations

import statistics
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray import tune

from ressearch.architecture import Architecture
from ressearch.data import Split, Splits
from ressearch.results.store import to_record
from ressearch.training import Diverged, Engine, Recipe


@dataclass(frozen=True)
class TrialSpec:
    """What all trials of a study share: how to train, with how many CPU threads, on how many classes."""

    recipe: Recipe
    threads: int
    classes: int


Arrays = dict[str, np.ndarray]
"""The training and validation parts as arrays, which Ray's object store shares between processes without a copy."""


def to_arrays(splits: Splits) -> Arrays:
    """Return what a trial may see of the data: not the test part."""
    tensors = {
        "train_inputs": splits.train.inputs,
        "train_labels": splits.train.labels,
        "validation_inputs": splits.validation.inputs,
        "validation_labels": splits.validation.labels,
        "mean": splits.mean,
        "std": splits.std,
    }
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def from_arrays(arrays: Arrays, device: torch.device) -> Splits:
    """Undo `to_arrays`; the test part is empty."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nobody writes to data
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    train = Split(tensors["train_inputs"], tensors["train_labels"])
    validation = Split(tensors["validation_inputs"], tensors["validation_labels"])
    test = Split(train.inputs[:0], train.labels[:0])
    return Splits(train, validation, test, tensors["mean"], tensors["std"], fingerprint="")


class TrialTrainable(tune.Trainable):
    """Trains one architecture. What goes wrong inside is reported as a result, so the actor lives on."""

    def setup(self, config: dict[str, Any], spec: TrialSpec | None = None, data: Arrays | None = None) -> None:
        """Prepare the process, then the trial."""
        assert spec is not None
        assert data is not None
        self._spec = spec
        torch.set_num_threads(spec.threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._splits = from_arrays(data, self._device)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self._engine: Engine | None = None
        self._config = new_config
        self._recipe = self._spec.recipe.with_lr(new_config["lr"])
        self._note = ""
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch of every replicate."""
        try:
            results = self._train_epoch()
        except Diverged as problem:
            return self._end("diverged", str(problem))
        except (torch.OutOfMemoryError, MemoryError) as problem:
            return self._end("failed", f"out of memory: {_first_line(problem)}")
        except Exception as problem:
            return self._end("failed", f"{type(problem).__name__}: {_first_line(problem)}")
        assert self._engine is not None
        return {
            "epoch": results[0].epoch,
            "val_accuracy": statistics.fmean(result.val_accuracy for result in results),
            "val_loss": statistics.fmean(result.val_loss for result in results),
            "results": [to_record(result) for result in results],
            "outcome": "completed" if self._engine.is_finished else None,
            "done": self._engine.is_finished,
            **self._where(),
        }

    def _train_epoch(self) -> list[Any]:
        """Train an epoch; a trial that runs out of memory in its first one is tried once more, packed less."""
        try:
            self._engine = self._engine or self._start()
            return self._engine.train_epoch()
        except (torch.OutOfMemoryError, MemoryError):
            is_first_epoch = self._engine is None or self._engine.groups[0].epoch == 0
            if not is_first_epoch or self._note:
                raise
        self._engine = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._recipe = self._recipe.model_copy(update={"replicates": "separate"})
        self._note = ", tried again after running out of memory"
        self._engine = self._start()
        return self._engine.train_epoch()

    def _start(self) -> Engine:
        architecture = Architecture.from_dict(self._config["architecture"])
        return Engine(architecture, self._splits, self._spec.classes, self._recipe)

    def _where(self) -> dict[str, str | None]:
        device = torch.cuda.get_device_name() if self._device.type == "cuda" else "cpu"
        return {"device": device, "engine": self._engine.description + self._note if self._engine else None}

    def _end(self, outcome: str, reason: str) -> dict[str, Any]:
        where = self._where()
        self._engine = None
        return {"outcome": outcome, "reason": reason, "done": True, **where}


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or ["no message"])[0][:300]
