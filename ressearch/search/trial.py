"""One trial as Ray Tune sees it: a Trainable whose step is an epoch of every replicate. Its actor is reused."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from ressearch.architecture import Architecture
from ressearch.data import Splits, load_dataset, split
from ressearch.results.store import to_record
from ressearch.training import Diverged, Engine, Recipe


@dataclass(frozen=True)
class TrialSpec:
    """What all trials of a study share."""

    data: str
    validation: float
    test: float
    seed: int
    recipe: Recipe
    threads: int


@functools.lru_cache(maxsize=2)
def _splits(data: str, seed: int, validation: float, test: float, device: str) -> Splits:
    """Load and split once a process, not once a trial."""
    return split(load_dataset(data), seed, validation, test).to(torch.device(device))


class TrialTrainable(tune.Trainable):
    """Trains one architecture. What goes wrong inside is reported as a result, so the actor lives on."""

    def setup(self, config: dict[str, Any], spec: TrialSpec | None = None) -> None:
        """Prepare the process, then the trial."""
        assert spec is not None
        self._spec = spec
        torch.set_num_threads(spec.threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self._engine: Engine | None = None
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch of every replicate."""
        try:
            if self._engine is None:
                self._engine = self._start()
            results = self._engine.train_epoch()
        except Diverged as problem:
            return _end("diverged", str(problem))
        except (torch.OutOfMemoryError, MemoryError) as problem:
            self._engine = None
            return _end("failed", f"out of memory: {_first_line(problem)}")
        except Exception as problem:
            return _end("failed", f"{type(problem).__name__}: {_first_line(problem)}")
        return {
            "epoch": results[0].epoch,
            "val_accuracy": statistics.fmean(result.val_accuracy for result in results),
            "val_loss": statistics.fmean(result.val_loss for result in results),
            "results": [to_record(result) for result in results],
            "device": torch.cuda.get_device_name() if self._device == "cuda" else "cpu",
            "outcome": "completed" if self._engine.is_finished else None,
            "done": self._engine.is_finished,
        }

    def _start(self) -> Engine:
        spec = self._spec
        splits = _splits(spec.data, spec.seed, spec.validation, spec.test, self._device)
        architecture = Architecture.from_dict(self._config["architecture"])
        return Engine(architecture, splits, len(load_dataset(spec.data).classes), spec.recipe)


def _end(outcome: str, reason: str) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason, "done": True}


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or ["no message"])[0][:300]
