"""A killed study's scheduler, made again from the record, decides as Tune's own that was never stopped."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from ressearch.search.replay import Continued
from ressearch.search.schedulers import REPLAYED, SCHEDULERS

EPOCHS, TRIALS, AT_ONCE = 9, 14, 3
OPTIONS: dict[str, dict[str, Any]] = {
    "fifo": {},
    "asha": {"grace_period": 1, "reduction_factor": 2},
    "median": {"grace_period": 2, "min_samples_required": 2},
}
CASES = [(name, metric, mode) for name in OPTIONS for metric, mode in (("val_accuracy", "max"), ("val_loss", "min"))]


class Controller:
    """Tune's controller as far as these schedulers look at it: no trial waits for another."""

    def get_live_trials(self) -> list[Any]:
        return []


class Trial:
    """Tune's trial: a new object, with an id of its own, in each process."""

    def __init__(self, number: int, process: int) -> None:
        self.trial_id, self.config = f"{process}-{number}", {"trial": number}


@dataclass
class Record:
    """What a journal holds: rows by number, and the epochs as they happened."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    epochs: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


def curve(number: int, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(f"{seed}:{number}")
    goal = chance.random()
    values = [goal * (1 - 0.6**epoch) + chance.gauss(0, 0.03) for epoch in range(1, EPOCHS + 1)]
    return [
        {"epoch": epoch, "training_iteration": epoch, "val_accuracy": value, "val_loss": 1 - value}
        for epoch, value in enumerate(values, start=1)
    ]


def fails_at(number: int) -> int | None:
    return 2 if number % 3 == 1 else None


class Tune:
    """Hands epochs of trials to a scheduler in a fixed order, as Tune does, and keeps its decisions and the record.

    Args:
        scheduler: asked.
        seed: of the curves and of the order in which trials report.
        record: of an earlier process.
        steps: how many reports came before it.
    """

    def __init__(self, scheduler: Any, seed: int, record: Record | None = None, steps: int = 0) -> None:
        self.scheduler, self.seed, self.steps = scheduler, seed, steps
        self.record = record or Record()
        self.decisions: list[tuple[int, int, str]] = []
        self.trials = {number: self._add(number) for number, row in self.record.rows.items() if is_open(row)}

    def _add(self, number: int) -> Trial:
        trial = Trial(number, process=self.steps)
        self.scheduler.on_trial_add(Controller(), trial)
        return trial

    def run(self, until: int = 10_000) -> None:
        while self.steps < until:
            while len(self.trials) < AT_ONCE and len(self.record.rows) < TRIALS:
                number = len(self.record.rows)
                self.record.rows[number] = {"status": "running", "epochs": 0}
                self.trials[number] = self._add(number)
            if not self.trials:
                return
            number = random.Random(f"{self.seed}:{self.steps}").choice(sorted(self.trials))
            self.steps += 1
            self._report(number)

    def _report(self, number: int) -> None:
        row, trial = self.record.rows[number], self.trials[number]
        epoch = row["epochs"] + 1
        if epoch == fails_at(number):
            failed = {"outcome": "failed", "done": True}
            # Tune's own median stopping breaks on such a result, so that the reference is told of an error.
            if isinstance(self.scheduler, Continued):
                self.scheduler.on_trial_complete(Controller(), trial, failed)
            else:
                self.scheduler.on_trial_error(Controller(), trial)
            self._end(number, "failed")
            return
        result = curve(number, self.seed)[epoch - 1]
        row["epochs"] = epoch
        self.record.epochs.append((number, result))
        if epoch == EPOCHS:  # the trial says that it is done: Tune does not ask
            self.scheduler.on_trial_complete(Controller(), trial, result)
            self._end(number, "completed")
            return
        decision = self.scheduler.on_trial_result(Controller(), trial, result)
        self.decisions.append((number, epoch, decision))
        if decision == "STOP":
            self.scheduler.on_trial_complete(Controller(), trial, result)
            self._end(number, "stopped")

    def _end(self, number: int, status: str) -> None:
        self.record.rows[number]["status"] = status
        del self.trials[number]


def is_open(row: dict[str, Any]) -> bool:
    return row["status"] in ("running", "interrupted")


def made(name: str, metric: str, mode: str) -> Any:
    return SCHEDULERS[name](metric, mode, EPOCHS, **OPTIONS[name])


def recorded(name: str, metric: str, mode: str) -> Record:
    """The record of a study that has ended."""
    tune = Tune(made(name, metric, mode), 0)
    tune.run()
    return tune.record


def continued(name: str, metric: str, mode: str, record: Record) -> Any:
    scheduler = made(name, metric, mode)
    return Continued(scheduler, record.rows, record.epochs) if name in REPLAYED else scheduler


@pytest.mark.parametrize(("name", "metric", "mode"), CASES)
def test_after_a_kill_at_any_epoch_a_scheduler_decides_as_one_that_was_never_stopped(
    name: str, metric: str, mode: str
) -> None:
    for seed in range(3):
        undisturbed = Tune(made(name, metric, mode), seed)
        undisturbed.run()
        assert {row["status"] for row in undisturbed.record.rows.values()} >= {"completed", "failed"}
        stops = [one for one in undisturbed.decisions if one[2] == "STOP"]
        assert bool(stops) == (name != "fifo")
        for kill in range(0, undisturbed.steps, 3):
            first = Tune(continued(name, metric, mode, Record()), seed)
            first.run(until=kill)
            for row in first.record.rows.values():
                row["status"] = "interrupted" if row["status"] == "running" else row["status"]
            second = Tune(continued(name, metric, mode, first.record), seed, first.record, kill)
            second.run()
            assert first.decisions + second.decisions == undisturbed.decisions


@pytest.mark.parametrize(("name", "metric", "mode"), CASES)
def test_epochs_that_the_record_lacks_are_judged_when_the_trial_tells_them(name: str, metric: str, mode: str) -> None:
    """A kill between a checkpoint and the journal: the trial's next report tells both epochs."""
    others = recorded(name, metric, mode)
    best, worst = (
        [{**one, "val_accuracy": value, "val_loss": -value} for one in curve(99, 0)] for value in (2.0, -2.0)
    )
    for told in range(1, 4):
        whole = continued(name, metric, mode, others)
        trial = Trial(99, 0)
        whole.on_trial_add(Controller(), trial)
        mixed = worst[:told] + best[told:]
        decisions = [whole.on_trial_result(Controller(), trial, result) for result in mixed[: told + 1]]
        lost = continued(name, metric, mode, others)
        lost.on_trial_add(Controller(), trial)
        results = [[{**one, "seed": 0}] for one in mixed[: told + 1]]
        at_once = lost.on_trial_result(Controller(), trial, {**mixed[told], "results": results})
        assert at_once == ("STOP" if "STOP" in decisions else "CONTINUE")


@pytest.mark.parametrize("name", REPLAYED)
def test_a_trial_that_was_to_stop_when_the_study_was_killed_stops_at_its_next_report(name: str) -> None:
    others = recorded(name, "val_accuracy", "max")
    others.rows[99] = {"status": "interrupted", "epochs": 2}
    poor = [{**one, "val_accuracy": -1.0} for one in curve(99, 0)]
    others.epochs += [(99, one) for one in poor[:2]]
    scheduler, trial = continued(name, "val_accuracy", "max", others), Trial(99, 1)
    scheduler.on_trial_add(Controller(), trial)
    assert scheduler.on_trial_result(Controller(), trial, {**poor[2], "val_accuracy": 1.0}) == "STOP"
