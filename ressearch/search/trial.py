"""One trial as Ray Tune sees it: a Trainable whose step is an epoch of every replicate. Its actor is reused.

A trial costs what its training costs: the actor's process imports and warms up once, all processes of a machine share
one copy of the data, and what goes wrong is a result, so the actor lives on. Trials of the search are not told which
examples are the test part's; finalists are.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray import tune

from ressearch.data import Lazy, Place, Split, Splits
from ressearch.errors import PluginError, StudyError, first_line
from ressearch.networks.architecture import Architecture
from ressearch.networks.latency import measure_latency
from ressearch.networks.pretrained import Weights
from ressearch.plugins import Plugin, load_shipped
from ressearch.results.examples import Correct, pack
from ressearch.results.status import Status
from ressearch.results.store import to_record
from ressearch.search.choices import RETRIED, Choices
from ressearch.search.resources import trial_device
from ressearch.search.weights import Keeping
from ressearch.training import Diverged, Engine, Evaluation, Recipe, checkpoint
from ressearch.training.replicates import KEPT_EXAMPLES

_GRACE = 10.0
"""Seconds past its time limit after which the process of a trial that hangs in an epoch ends itself."""


HOW_IT_RAN = ("device", "engine", "grouped", "channels_last", "latency")
"""Columns of the trial table that come with each of a trial's reports."""


@dataclass(frozen=True)
class TrialSpec:
    """What all trials of a phase share.

    Attributes:
        recipe: how to train.
        threads: CPU threads.
        classes: number of classes.
        checkpoints: directory (or URL) of checkpoints, one file a trial; None writes none.
        time_limit: seconds after which a trial has failed; None has no limit.
        is_final: score the test part after the last epoch (finalists alone).
        gpus: what a trial reserves of GPUs; 0 trains on the CPU, whatever the machine has.
        plugins: what the process has to load to know the networks.
        measures_latency: whether each network's latency is measured before it is trained.
        init: the weights that the recipe starts from, if it names some.
        keeping: how trained weights are kept; None keeps none.
    """

    recipe: Recipe
    threads: int
    classes: int
    checkpoints: str | None = None
    time_limit: float | None = None
    is_final: bool = False
    gpus: float = 0.0
    plugins: tuple[Plugin, ...] = ()
    measures_latency: bool = False
    init: Weights | None = None
    keeping: Keeping | None = None

    def checkpoint(self, trial: int) -> str | None:
        """Return the path (or URL) of a trial's checkpoint."""
        return f"{self.checkpoints}/{checkpoint_name(trial)}" if self.checkpoints is not None else None


def checkpoint_name(trial: int) -> str:
    """Return the name of a trial's checkpoint in the directory of checkpoints."""
    return f"trial-{trial}.pt"


Arrays = dict[str, Any]
"""The parts as arrays, which Ray's object store shares between processes without a copy; or where they lie in a file
that all processes of the machine map; or where images lie that are decoded when needed."""


def to_arrays(splits: Splits, with_test: bool = False, can_map: bool = True) -> Arrays:
    """Return what a trial gets of the data: training and validation part, and for finalists the test part.

    Where the data lie in a file, a worker maps all of it, but is told only which of its examples are in those parts.

    Args:
        splits: the parts.
        with_test: whether the test part is among them.
        can_map: whether workers find this machine's files.
    """
    splits.train.prepare()
    arrays: Arrays = {"mean": splits.mean.numpy(), "std": splits.std.numpy()}
    for name in ("train", "validation", *(["test"] if with_test else [])):
        part: Split = getattr(splits, name)
        arrays[f"{name}_labels"] = part.labels.numpy()
        if part.place is not None and part.places is not None and can_map:
            arrays |= {f"{name}_pool": part.place, f"{name}_places": part.places.numpy()}
        else:
            inputs = part.inputs
            arrays[f"{name}_pool"] = inputs if isinstance(inputs, Lazy) else inputs.numpy()
    return arrays


def from_arrays(arrays: Arrays, device: torch.device) -> Splits:
    """Undo `to_arrays`; where there is no test part, an empty one stands for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nobody writes to data
        tensors = {name: torch.from_numpy(one) if isinstance(one, np.ndarray) else one for name, one in arrays.items()}
    opened: dict[Place, torch.Tensor] = {}

    def part(name: str) -> Split:
        pool = tensors[f"{name}_pool"]
        if isinstance(pool, Place):
            if pool not in opened:
                opened[pool] = pool.open()
            pool = opened[pool]
        return Split(pool, tensors[f"{name}_labels"], tensors.get(f"{name}_places"))

    train = part("train")
    test = part("test") if "test_pool" in tensors else Split(torch.empty(0, *train.input_shape), train.labels[:0])
    return Splits(train, part("validation"), test, tensors["mean"], tensors["std"]).to(device)


def _fetched(arrays: Arrays) -> Arrays:
    """Return the arrays that references to Ray's object store stand for; those of this node are not copied."""
    names = [name for name, value in arrays.items() if isinstance(value, ray.ObjectRef)]
    return {**arrays, **dict(zip(names, ray.get([arrays[name] for name in names]), strict=True))} if names else arrays


class TrialTrainable(tune.Trainable):  # type: ignore[misc]  # Ray's classes are not checked
    """Trains one architecture. What goes wrong inside is reported as a result, so the actor lives on."""

    def setup(self, config: dict[str, Any], spec: TrialSpec | None = None, data: Arrays | None = None) -> None:
        """Prepare the process, then the trial."""
        assert spec is not None
        assert data is not None
        self._spec = spec
        self._unusable: str | None = None
        try:
            load_shipped(spec.plugins)
        except PluginError as error:  # here alone: the driver has loaded it
            self._unusable = f"in the process that trains: {error}"
        torch.set_num_threads(spec.threads)
        self._device = trial_device(spec.gpus)
        self._splits = from_arrays(_fetched(data), self._device)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self._engine: Engine | None = None
        self._latency: float | None = None
        self._config = new_config
        self._recipe = self._spec.recipe.with_lr(new_config["lr"])
        self._note = ""
        self._history: list[list[dict[str, Any]]] = []
        self._is_told = True
        self._checkpoint = self._spec.checkpoint(new_config["trial"])
        limit = self._spec.time_limit
        self._deadline = None if limit is None else time.monotonic() + limit
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Give Tune nothing: a trial keeps its own checkpoint, which survives the study's process too."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing; see `save_checkpoint`."""

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Have the process end some seconds past the time limit, should an epoch hang so that nobody looks at it."""
        if self._deadline is None:
            yield
            return
        left = max(0.0, self._deadline - time.monotonic()) + _GRACE
        watchdog = threading.Timer(left, self._give_up, [self._mark])
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    @property
    def _mark(self) -> str | None:
        """The file that says that the trial hung: its process, started again, reads it."""
        return f"{self._checkpoint.removesuffix('.pt')}.hung" if self._checkpoint else None

    @staticmethod
    def _give_up(mark: str | None) -> None:
        if mark is not None:
            checkpoint.mark(mark)
        os._exit(1)

    def step(self) -> dict[str, Any]:
        """Train one epoch of every replicate."""
        if self._unusable is not None:
            return self._end(Status.FAILED, self._unusable)
        if self._spec.time_limit is not None and self._mark is not None and checkpoint.take(self._mark):
            return self._end(Status.FAILED, f"over its time limit of {self._spec.time_limit:g} s, and did not answer")
        if self._deadline is not None and time.monotonic() > self._deadline:
            return self._end(Status.FAILED, f"over its time limit of {self._spec.time_limit:g} s")
        try:
            with self._watched():
                self._train_epoch()
                assert self._engine is not None
                test = self._test() if self._engine.is_finished and self._spec.is_final else None
                not_kept = self._keep() if self._engine.is_finished else None
        except Diverged as problem:
            return self._end(Status.DIVERGED, str(problem))
        except (torch.OutOfMemoryError, MemoryError) as problem:
            return self._end(Status.FAILED, f"out of memory: {first_line(problem)}")
        except Exception as problem:
            return self._end(Status.FAILED, f"{type(problem).__name__}: {first_line(problem)}")
        results = self._history[-1]
        # After a restart the study may not know the epochs that this trial had trained before: tell them again.
        told = self._history[-1:] if self._is_told else self._history
        self._is_told = True
        return {
            "epoch": results[0]["epoch"],
            "val_accuracy": statistics.fmean(result["val_accuracy"] for result in results),
            "val_loss": statistics.fmean(result["val_loss"] for result in results),
            "results": told,
            "test": self._scores(test) if test is not None else None,
            "correct": self._correct(results[0]["epoch"], test),
            "not_kept": not_kept,
            "outcome": Status.COMPLETED if self._engine.is_finished else None,
            "done": self._engine.is_finished,
            **self._where(),
        }

    def _train_epoch(self) -> None:
        """Train an epoch; a trial that runs out of memory in its first one is tried once more, packed less."""
        try:
            self._engine = self._engine or self._start()
            self._advance()
            return
        except (torch.OutOfMemoryError, MemoryError):
            is_first_epoch = self._engine is None or self._engine.epoch == 0
            if not is_first_epoch or self._note:
                raise
        self._engine = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._recipe = self._recipe.model_copy(update={"replicates": "separate"})
        self._note = RETRIED
        self._engine = self._start()
        self._advance()

    def _advance(self) -> None:
        """Train one epoch and write the checkpoint; do nothing if all are trained, as after a lost last report."""
        assert self._engine is not None
        if self._engine.is_finished:
            return
        self._history.append([to_record(result) for result in self._engine.train_epoch()])
        if self._checkpoint is None:
            return
        state = {"config": self._key, "history": self._history, "note": self._note, **self._engine.state_dict()}
        with contextlib.suppress(OSError):  # a full disk costs the epochs since the last checkpoint, not the trial
            checkpoint.save(self._checkpoint, state)

    @property
    def _key(self) -> str:
        """What a checkpoint must agree on to be gone on from."""
        config = {key: self._config[key] for key in ("architecture", "lr")}
        init = [self._spec.init.sha256] if self._spec.init is not None else []
        return json.dumps([config, self._spec.recipe.model_dump(mode="json"), *init], sort_keys=True)

    def _start(self) -> Engine:
        """Return the engine, at the trial's last checkpoint if it has one."""
        architecture = Architecture.from_dict(self._config["architecture"])
        if self._spec.measures_latency:
            self._latency = self._measure(architecture)
        arguments = architecture, self._splits, self._spec.classes
        state = None
        if self._checkpoint is not None and not self._note:
            with contextlib.suppress(StudyError):  # damaged: start over
                state = checkpoint.load(self._checkpoint, self._device)
        if state is None or state.get("config") != self._key:
            settle = Choices(self._spec.checkpoints) if self._spec.checkpoints is not None else None
            return Engine(*arguments, self._recipe, settle=settle, init=self._spec.init)
        self._history, self._note = state["history"], state["note"]
        self._is_told = False
        if self._note:
            self._recipe = self._recipe.model_copy(update={"replicates": "separate"})
        return Engine(*arguments, self._recipe, state)

    def _measure(self, architecture: Architecture) -> float:
        """Return the network's latency with this trial's share of the machine, in seconds."""
        return measure_latency(
            architecture,
            self._splits.train.input_shape,
            self._spec.classes,
            device=self._device,
            threads=self._spec.threads,
            remember=True,
        ).median

    def _test(self) -> Evaluation:
        """Score the test part, once, after the last epoch."""
        assert self._engine is not None
        return self._engine.evaluate(self._splits.test)

    def _keep(self) -> str | None:
        """Keep the trained weights, if they are to be kept; returns why they are not."""
        assert self._engine is not None
        if self._spec.keeping is None:
            return None
        architecture = Architecture.from_dict(self._config["architecture"])
        return self._spec.keeping.write(
            self._config["trial"], architecture, self._engine, self._splits, self._history[-1]
        )

    @staticmethod
    def _scores(test: Evaluation) -> list[dict[str, float]]:
        pairs = zip(test.losses, test.accuracies, strict=True)
        return [{"loss": loss, "accuracy": accuracy} for loss, accuracy in pairs]

    def _correct(self, epoch: int, test: Evaluation | None) -> Correct | None:
        """Return which examples the replicates have right after an epoch; None if that is not kept."""
        assert self._engine is not None
        validation = self._engine.correct
        if validation is None:
            return None
        parts = {"validation": pack(validation)}
        if test is not None and test.correct.shape[1] <= KEPT_EXAMPLES:
            parts["test"] = pack(test.correct)
        return Correct(epoch, parts)

    def _where(self) -> dict[str, Any]:
        """Return where and how the trial runs: `HOW_IT_RAN`."""
        device = torch.cuda.get_device_name() if self._device.type == "cuda" else "cpu"
        latency = {} if self._latency is None else {"latency": self._latency}
        if self._engine is None:
            return {"device": device, **latency}
        grouped, channels_last = self._engine.choice
        engine = self._engine.description + self._note
        return {"device": device, "engine": engine, "grouped": grouped, "channels_last": channels_last, **latency}

    def _end(self, outcome: str, reason: str) -> dict[str, Any]:
        where = self._where()
        self._engine = None
        return {"outcome": outcome, "reason": reason, "done": True, **where}
