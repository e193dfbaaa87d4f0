"""What the recorder writes of what Tune tells it, with Tune's trials stood in for."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ressearch import Architecture, Study, cost
from ressearch.results import Store
from ressearch.results.examples import Correct, pack, read
from ressearch.search.ledger import Ledger
from ressearch.search.monitor import Monitor
from ressearch.search.recorder import Recorder

NETWORK = Architecture(depths=(1, 1), widths=(4, 8))
SEARCHED = Study.from_dict(
    {
        "space": {"search": {"depth": [8, 14], "width": [4, 8]}},
        "data": {"name": "synthetic"},
        "recipe": {"epochs": 4, "seeds": [3, 5], "lr": {"tune": [0.1, 0.4]}, "batch_size": 32},
        "search": {"trials": 4, "sampler": "random", "scheduler": "median"},
    }
)
EXAMPLES = len(SEARCHED.splits().train)


class Heard(Monitor):
    """Notes whom it was told of."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []

    def started(self, row: Any) -> None:
        self.events.append(("started", row["trial"], row["epochs"]))

    def epoch(self, row: Any) -> None:
        self.events.append(("epoch", row["trial"], row["epochs"]))

    def ended(self, row: Any) -> None:
        self.events.append((row["status"], row["trial"], row["epochs"]))


class World:
    """A recorder, and what it writes to and tells."""

    def __init__(self, directory: Path, phase: str = "search") -> None:
        self.store = Store(directory)
        self.ledger = Ledger(SEARCHED, self.store, phase)
        self.monitor = Heard()
        self.recorder = Recorder(SEARCHED, SEARCHED.recipe, self.store, self.ledger, self.monitor, 0.5, phase)

    def row(self, number: int = 0) -> dict[str, Any]:
        return self.store.tables.trials[number]

    def start(self, trial: Any) -> None:
        self.recorder.on_trial_start(1, [trial], trial)

    def result(self, trial: Any, *epochs: int, **told: Any) -> None:
        result = {"results": [seeds(epoch) for epoch in epochs], "epoch": epochs[-1] if epochs else 0, **told}
        trial.last_result = result
        self.recorder.on_trial_result(1, [trial], trial, result)

    def complete(self, trial: Any, **told: Any) -> None:
        trial.last_result = {**(trial.last_result or {}), **told}
        self.recorder.on_trial_complete(1, [trial], trial)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def trial(number: int = 0, lr: float | None = 0.4, error: str | None = None, **columns: Any) -> Any:
    """What a recorder asks of Tune's trial."""
    config = {"trial": number, "architecture": NETWORK.to_dict(), "lr": lr, **({"columns": columns} if columns else {})}
    return SimpleNamespace(config=config, last_result=None, get_error=lambda: error)


def seeds(epoch: int) -> list[dict[str, Any]]:
    base = {"epoch": epoch, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5, "seconds": 2.0}
    return [
        {"seed": seed, **base, "val_loss": loss, "val_accuracy": round(accuracy + epoch / 100, 2)}
        for seed, loss, accuracy in ((3, 0.5, 0.2), (5, 1.5, 0.6))
    ]


def test_a_trials_row_says_what_it_trains_and_how(world: World) -> None:
    world.start(trial(lr=0.4, proposal=11, answers='{"depth": 8}'))
    row, price = world.row(), cost(NETWORK, (1, 8, 8), 3)
    assert (row["trial"], row["phase"], row["status"], row["name"]) == (0, "search", "running", NETWORK.name)
    assert (row["params"], row["macs"], row["activations"]) == (price.params, price.macs, price.activations)
    assert (row["depth"], row["seeds"], row["proposal"], row["answers"]) == (NETWORK.depth, [3, 5], 11, '{"depth": 8}')
    assert row["lr"] == pytest.approx(0.4)
    recipe = json.loads(row["recipe"])
    assert (recipe["lr"], recipe["epochs"], recipe["batch_size"]) == (0.4, 4, 32)
    assert (row["widths"], row["depths"], row["epochs"]) == ([4, 8], [1, 1], 0)
    assert world.monitor.events == [("started", 0, 0)]


def test_an_epoch_is_written_once_and_adds_to_what_is_spent(world: World) -> None:
    one = trial()
    world.start(one)
    world.result(one, 1, device="cpu", engine="how", grouped=True, channels_last=False)
    world.result(one, 1, 2, engine="another")  # after a restart it tells what came before
    world.result(one, 4)  # one is missing: not written
    world.result(one)
    row = world.row()
    assert row["epochs"] == 2
    assert row["val_accuracy"] == pytest.approx((0.22 + 0.62) / 2)
    assert row["val_loss"] == pytest.approx(1.0)
    assert (row["device"], row["engine"], row["grouped"], row["channels_last"]) == ("cpu", "how", True, False)
    assert world.monitor.events == [("started", 0, 0), ("epoch", 0, 1), ("epoch", 0, 2)]
    macs = cost(NETWORK, (1, 8, 8), 3).macs
    assert world.ledger.epochs == 4
    assert world.ledger.macs == pytest.approx(3 * macs * EXAMPLES * 4)
    assert row["macs_trained"] == pytest.approx(3 * macs * EXAMPLES * 4)
    assert row["train_seconds"] == pytest.approx(8.0)
    assert row["device_seconds"] == pytest.approx(0.5 * 8.0)


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        ({"outcome": "completed"}, "completed", None),
        ({"outcome": "completed", "reason": "none of it"}, "completed", None),
        ({}, "stopped", "median after epoch 1"),
        ({"outcome": "diverged", "reason": "seed 3: loss is nan"}, "diverged", "seed 3: loss is nan"),
        ({"outcome": "failed", "reason": "out of memory"}, "failed", "out of memory"),
    ],
)
def test_an_end_is_the_trials_own_word_or_the_schedulers(
    world: World, told: dict[str, Any], status: str, reason: str | None
) -> None:
    one = trial()
    world.start(one)
    world.result(one, 1)
    world.complete(one, **told)
    assert (world.row()["status"], world.row()["reason"]) == (status, reason)
    assert world.monitor.events[-1] == (status, 0, 1)
    assert world.ledger._outcomes == {status: 1}


def test_a_finalists_test_scores_are_means_with_the_sample_deviation(tmp_path: Path) -> None:
    world = World(tmp_path, "final")
    for number, scores in enumerate([[(0.5, 1.0), (0.7, 2.0), (0.9, 6.0)], [(0.5, 1.0)]]):
        one = trial(number, of_trial=3)
        world.start(one)
        world.result(one, 1)
        world.complete(one, outcome="completed", test=[{"accuracy": a, "loss": b} for a, b in scores])
    row = world.row()
    assert (row["phase"], row["of_trial"]) == ("final", 3)
    assert row["test_accuracy"] == pytest.approx(0.7)
    assert row["test_accuracy_std"] == pytest.approx(0.2)  # by hand: sqrt((0.04 + 0 + 0.04) / 2)
    assert row["test_loss"] == pytest.approx(3.0)
    assert row["seed_test_accuracies"] == [0.5, 0.7, 0.9]
    assert world.row(1)["test_accuracy"] == 0.5
    assert world.row(1)["test_accuracy_std"] is None
    world.store.close()


def right(epoch: int, **others: Any) -> Correct:
    """What a trial had right after an epoch whose accuracies are those of `seeds`."""
    bits = np.arange(100) < np.array([[20 + epoch], [60 + epoch]])
    return Correct(epoch, {name: pack(one) for name, one in {"validation": bits, **others}.items()})


def kept(world: World, part: str = "validation") -> list[int] | None:
    """How many examples each seed of trial 0 has right, by the record."""
    found = read(world.store.directory, {**world.row()}, part)
    return None if found is None else found.sum(1).tolist()


@pytest.mark.parametrize("told", [{"outcome": "completed"}, {}, {"outcome": "diverged", "reason": "loss is nan"}])
def test_what_a_trial_had_right_after_its_last_epoch_is_kept_however_it_ends(
    world: World, told: dict[str, Any]
) -> None:
    one = trial()
    world.start(one)
    world.result(one, 1, correct=right(1))
    world.result(one, 2, correct=right(2))
    assert "correct" not in one.last_result  # Tune keeps the last result of every trial
    assert kept(world) is None
    world.complete(one, **told)
    assert kept(world) == [22, 62]


def test_what_a_trial_had_right_is_kept_where_its_process_or_the_study_ends(world: World) -> None:
    one = trial(error="killed")
    world.start(one)
    world.result(one, 1, correct=right(1))
    world.store.end(0, "interrupted", "the study was stopped after epoch 1")
    assert kept(world) == [21, 61]
    world.start(one)
    world.result(one, 1, correct=right(1))  # its last report was lost: it is told again
    world.recorder.on_trial_error(1, [one], one)
    assert kept(world) == [21, 61]
    assert world.row()["status"] == "failed"


def test_a_trial_that_tells_only_of_epochs_on_record_has_its_examples_kept(world: World) -> None:
    one = trial()
    world.start(one)
    world.result(one, 1, correct=None)
    world.result(one, 2)
    again = trial()
    world.result(again, 1, 2, correct=right(2))  # another process, from the checkpoint of the last epoch
    world.complete(again, outcome="completed")
    assert kept(world) == [22, 62]


def test_a_finalists_test_examples_are_those_of_its_test_accuracies(tmp_path: Path) -> None:
    world = World(tmp_path, "final")
    one = trial(of_trial=3)
    bits = np.array([[1, 0, 0, 1, 1], [1, 1, 1, 0, 1]], bool)
    world.start(one)
    world.result(one, 1, correct=right(1, test=bits))
    world.complete(one, outcome="completed", test=[{"accuracy": each, "loss": 1.0} for each in (0.6, 0.8)])
    assert kept(world) == [21, 61]
    assert kept(world, "test") == [3, 4]
    world.store.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("Traceback\n  ...\nWorkerCrashed: signal 9  \n", "its process ended: WorkerCrashed: signal 9"),
        (None, "its process ended: no message"),
        ("x" * 400, f"its process ended: {'x' * 400}"[:300]),
    ],
)
def test_a_process_that_was_lost_is_a_failed_trial_with_its_last_line(
    world: World, error: str | None, reason: str
) -> None:
    world.recorder.on_trial_error(1, [], trial(error=error))  # it may never have started
    assert (world.row()["status"], world.row()["reason"]) == ("failed", reason)
    assert world.ledger._outcomes == {"failed": 1}


def test_a_trial_that_was_interrupted_goes_on_in_its_row(world: World) -> None:
    one = trial()
    world.start(one)
    world.result(one, 1)
    world.store.end(0, "interrupted", "stopped")
    world.start(one)
    assert world.row()["status"] == "running"
    world.start(one)  # its process was lost: it starts again
    journal = (world.store.directory / "journal.jsonl").read_text()
    assert journal.count('"event": "reopen"') == 1
    assert journal.count('"event": "start"') == 1
    world.result(one, 2)
    assert world.row()["device_seconds"] == pytest.approx(0.5 * 8.0)


def test_a_trial_that_ended_leaves_no_checkpoint(world: World) -> None:
    checkpoints = world.store.directory / "checkpoints"
    checkpoints.mkdir()
    for number in (0, 1):
        (checkpoints / f"trial-{number}.pt").write_text("")
    one = trial()
    world.start(one)
    world.complete(one, outcome="completed")
    assert [file.name for file in checkpoints.iterdir()] == ["trial-1.pt"]


def test_nothing_is_written_or_said_once_the_directory_takes_no_more(world: World) -> None:
    one = trial()
    world.start(one)
    checkpoint = world.store.directory / "checkpoints" / "trial-0.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_text("")
    world.store.broken = OSError(errno.ENOSPC, "full")
    said = list(world.monitor.events)
    world.result(one, 1)
    world.complete(one, outcome="completed")
    world.recorder.on_trial_error(1, [], one)
    assert world.row()["epochs"] == 0
    assert world.row()["status"] == "running"
    assert world.monitor.events == said
    assert checkpoint.exists()  # a resumed study goes on from it
    assert world.recorder.__getstate__() == {}
