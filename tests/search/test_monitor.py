"""What a person is told while a study runs: totals and the time left, with hand-made rows and a clock of our own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from rich.console import Console

from ressearch import Study
from ressearch.search import monitor as module
from ressearch.search.monitor import LiveMonitor, Monitor, PlainMonitor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    ticking = Clock()
    monkeypatch.setattr(module, "time", ticking)
    return ticking


def study(**search: Any) -> Study:
    return Study.from_dict(
        {
            "name": "s",
            "space": {"search": {"depth": [8, 14, 20], "width": {"low": 4, "high": 64}}},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 10, "seeds": 2},
            "search": {"trials": 12, "finalists": {"count": 2, "seeds": 4, "epochs": 20}, **search},
        }
    )


def row(trial: int, status: str, epochs: int, phase: str = "search", of: int = 10, seeds: int = 2) -> dict[str, Any]:
    return {
        "trial": trial,
        "name": f"net-{trial}",
        "phase": phase,
        "status": status,
        "reason": None,
        "epochs": epochs,
        "depth": 8,
        "macs": 200_000,
        "params": 1000,
        "seeds": list(range(seeds)),
        "recipe": json.dumps({"epochs": of, "lr": 0.1}),
        "val_accuracy": 0.5,
        "val_accuracy_std": 0.1,
        "train_seconds": 1.0,
    }


def watched(monitor: Monitor, rows: list[dict[str, Any]], **search: Any) -> Monitor:
    monitor.watching(study(**search), Path("runs/s")).__enter__()
    monitor.begins({one["trial"]: one for one in rows}, 2)
    return monitor


def test_half_of_the_equal_trials_take_half_the_time(clock: Clock) -> None:
    monitor = watched(Monitor(), [])
    monitor.phase("search", 12)
    assert monitor.seconds_left is None
    for trial in range(6):
        monitor.started(row(trial, "completed", 10))
    clock.now += 60
    assert monitor.progress == "6/12"
    assert monitor.seconds_left == pytest.approx(60)
    monitor.started(row(6, "running", 5))  # half of it is trained: 6.5 of 12 in 60 s
    assert monitor.seconds_left == pytest.approx(60 * 5.5 / 6.5)


@pytest.mark.parametrize("epochs", range(10))
def test_after_a_resume_the_time_left_is_never_negative(clock: Clock, epochs: int) -> None:
    ended = [row(trial, "completed", 10) for trial in range(8)]
    interrupted = row(8, "interrupted", epochs)
    monitor = watched(Monitor(), [*ended, interrupted])
    monitor.phase("search", 4)
    assert monitor.progress == "8/12"
    interrupted["status"] = "running"
    monitor.started(interrupted)
    clock.now += 30
    assert monitor.seconds_left is None  # nothing was trained since
    interrupted["epochs"] += 1
    left = monitor.seconds_left
    assert left == pytest.approx(30 * ((9 - epochs) / 10 + 3) / 0.1)
    assert monitor.progress == "8/12"


def test_interrupted_finalists_are_counted_once_and_by_their_own_epochs(clock: Clock) -> None:
    rows = [row(trial, "completed", 10) for trial in range(12)]
    finalist = row(12, "interrupted", 15, "final", of=20, seeds=4)
    monitor = watched(Monitor(), [*rows, finalist])
    monitor.phase("final", 2)
    assert monitor.progress == "12/14"
    finalist.update(status="running", epochs=16)
    clock.now += 10
    assert monitor.seconds_left == pytest.approx(10 * (4 / 20 + 1) / (1 / 20))
    finalist.update(status="completed", epochs=20)
    monitor.started(row(13, "completed", 20, "final", of=20, seeds=4))
    assert monitor.progress == "14/14"
    assert monitor.seconds_left == 0


def test_search_trials_that_a_budget_left_open_are_not_waited_for(clock: Clock) -> None:
    rows = [row(0, "completed", 10), row(1, "interrupted", 4)]
    monitor = watched(Monitor(), rows)
    monitor.phase("final", 1)
    monitor.started(row(2, "running", 10, "final", of=20, seeds=4))
    clock.now += 10
    assert monitor.progress == "1/2"
    assert monitor.seconds_left == pytest.approx(10)


def test_a_search_that_its_budget_bounds_has_no_total(clock: Clock) -> None:
    monitor = watched(Monitor(), [], trials=None, budget={"epochs": 50})
    monitor.phase("search", module.MOST_TRIALS)
    monitor.started(row(0, "completed", 10))
    clock.now += 10
    assert monitor.progress == "1"
    assert monitor.seconds_left is None
    monitor.phase("final", 2)
    assert monitor.progress == "1/3"


def test_lines_and_view_say_the_same_totals(clock: Clock) -> None:
    rows = [row(trial, "completed", 10) for trial in range(12)]
    finalist = row(12, "interrupted", 15, "final", of=20, seeds=4)
    said = io.StringIO()
    plain = watched(PlainMonitor(Console(file=said, width=200)), [*rows, finalist])
    plain.phase("final", 2)
    finalist.update(status="completed", epochs=20)
    plain.ended(finalist)
    lines = said.getvalue().splitlines()
    assert lines[0] == "s: 12 trials, 12 of them ended before, 2 at a time, into runs/s"
    assert lines[2].startswith("[13/14] trial 12 net-12")

    finalist.update(status="interrupted", epochs=15)
    live = LiveMonitor(Console(file=io.StringIO(), width=100))
    Monitor.watching(live, study(), Path("runs/s")).__enter__()
    live.begins({one["trial"]: one for one in [*rows, finalist]}, 2)
    live.phase("final", 2)
    finalist.update(status="running", epochs=16)
    clock.now += 10
    shown = Console(file=io.StringIO(), width=100)
    with shown.capture() as captured:
        shown.print(live._view())
    text = captured.get()
    assert "12/14 trials" in text
    assert "about 4:00 left" in text
    assert "16/20" in text
    assert "-" not in text.split("left")[0]
