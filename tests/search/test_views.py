"""What a person sees while a study runs, line by line, with a clock of our own and rows made by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from rich.console import Console

from ressearch import Study
from ressearch.search import monitor as module
from ressearch.search.monitor import LiveMonitor, Monitor, PlainMonitor, describe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    monkeypatch.setattr(module, "time", ticking)
    return ticking


STUDY = Study.from_dict(
    {
        "name": "mine",
        "space": {"search": {"depth": [8, 14, 20], "width": {"low": 4, "high": 64}}},
        "data": {"name": "synthetic"},
        "recipe": {"epochs": 10, "seeds": 2},
        "search": {"trials": 4, "finalists": {"count": 2, "seeds": 4}},
    }
)


def row(trial: int, status: str, epochs: int, accuracy: float | None = 0.5, **changes: Any) -> dict[str, Any]:
    return {
        "trial": trial,
        "name": f"net-{trial}",
        "phase": "search",
        "status": status,
        "reason": None,
        "epochs": epochs,
        "depth": 8,
        "macs": 200_000,
        "params": 12_345,
        "seeds": [0, 1],
        "recipe": json.dumps({"epochs": 10, "lr": 0.1}),
        "val_accuracy": accuracy,
        "val_accuracy_std": 0.01,
        "train_seconds": 1.25,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "net-3 (12.3k params): completed, val_accuracy 0.5000 (sd 0.0100 over 2 seeds), 10 epochs, 1.2 s"),
        ({"val_accuracy_std": None}, "net-3 (12.3k params): completed, val_accuracy 0.5000, 10 epochs, 1.2 s"),
        ({"val_accuracy": None, "val_accuracy_std": None}, "net-3 (12.3k params): completed, 10 epochs, 1.2 s"),
        (
            {"reason": "not said"},
            "net-3 (12.3k params): completed, val_accuracy 0.5000 (sd 0.0100 over 2 seeds), 10 epochs, 1.2 s",
        ),
        (
            {"status": "stopped", "reason": "asha after epoch 3", "epochs": 3},
            "net-3 (12.3k params): stopped (asha after epoch 3), val_accuracy 0.5000 (sd 0.0100 over 2 seeds), "
            "3 epochs, 1.2 s",
        ),
        ({"status": "running", "reason": "x", "val_accuracy": None}, "net-3 (12.3k params): running, 10 epochs, 1.2 s"),
    ],
)
def test_a_trial_that_ended_is_one_line(changes: dict[str, Any], said: str) -> None:
    assert describe({**row(3, "completed", 10), **changes}) == said


def test_plain_lines_say_what_starts_what_each_phase_is_for_and_what_ends(clock: Clock) -> None:
    said = io.StringIO()
    plain = PlainMonitor(Console(file=said, width=60))
    with plain.watching(STUDY, Path("runs/mine")):
        plain.begins({}, 1)
        plain.phase("search", 4)
        one = row(0, "running", 0)
        plain.started(one)
        plain.epoch(one)
        one.update(status="completed", epochs=10)
        plain.ended(one)
        plain.phase("final", 1)
        plain.phase("baseline", 2)
    assert said.getvalue().splitlines() == [
        "mine: 4 trials, one at a time, into runs/mine",
        "[1/4] trial 0 net-0 (12.3k params): completed, val_accuracy 0.5000 (sd 0.0100 over 2 seeds), 10 epochs, 1.2 s",
        "final: 1 trial (one of the best, trained again on fresh seeds and scored on the test part)",
        "baseline: 2 trials (drawn at random, to compare the search with)",
    ]


def test_a_resumed_study_says_what_of_its_search_had_ended(clock: Clock) -> None:
    said = io.StringIO()
    plain = PlainMonitor(Console(file=said, width=200))
    with plain.watching(STUDY, Path("runs/mine")):
        rows = [row(0, "completed", 10), row(1, "interrupted", 3), row(2, "completed", 10, phase="final")]
        plain.begins({one["trial"]: one for one in rows}, 3)
    assert said.getvalue() == "mine: 4 trials, 1 of them ended before, 3 at a time, into runs/mine\n"


def shown(live: LiveMonitor) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(live._view())
    return [line.rstrip() for line in captured.get().splitlines()]


def live_of(rows: list[dict[str, Any]]) -> LiveMonitor:
    live = LiveMonitor(Console(file=io.StringIO(), width=80))
    Monitor.watching(live, STUDY, Path("runs/mine")).__enter__()
    live.begins({}, 2)
    live.phase("search", 4)
    for one in rows:
        live.started(one)
    return live


def test_before_the_first_trial_the_view_says_that_ray_starts(clock: Clock) -> None:
    live = live_of([])
    clock.now += 5
    head, _, tally = shown(live)
    assert head == "mine  0/4 trials  0:05 elapsed, starting Ray"
    assert tally == "no trial yet"


def test_the_view_shows_the_head_the_tally_the_best_and_what_trains(clock: Clock) -> None:
    live = live_of(
        [
            row(0, "completed", 10, 0.75),
            row(1, "completed", 10, 0.875),
            row(2, "running", 5, 0.9375),
            row(3, "running", 0, None),
        ]
    )
    clock.now += 3725
    head, _, tally, best, columns, *trains = shown(live)
    assert head == "mine  2/4 trials  1:02:05 elapsed, about 37:15 left"  # 2.5 of 4 trials' work in 3725 s
    assert tally == "2 completed, 2 running"
    assert best == "best 0.8750 net-1"
    assert columns.split() == ["trial", "epoch", "val", "network"]
    assert [line.split() for line in trains] == [["2", "5/10", "0.9375", "net-2"], ["3", "0/10", "-", "net-3"]]


def test_while_nothing_was_trained_every_epoch_the_best_so_far_is_shown(clock: Clock) -> None:
    view = shown(live_of([row(0, "running", 5, 0.25), row(1, "running", 5, 0.5), row(2, "running", 0, None)]))
    assert view[3] == "best 0.5000 net-1"
    finalist = row(1, "completed", 10, 0.99, phase="final")
    assert "best" not in "\n".join(shown(live_of([finalist])))  # a finalist competes with nobody


def test_a_study_that_has_ended_says_nothing_of_time_left(clock: Clock) -> None:
    live = live_of([row(n, "completed", 10) for n in range(4)])
    clock.now += 61
    assert shown(live)[0] == "mine  4/4 trials  1:01 elapsed"
    assert "network" not in "\n".join(shown(live))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (36_061, "10:01:01")],
)
def test_times_are_clocks(seconds: float, text: str) -> None:
    assert module._clock(seconds) == text


def test_the_view_is_drawn_while_the_study_is_watched_and_not_after() -> None:
    said = io.StringIO()
    live = LiveMonitor(Console(file=said, width=80, force_terminal=True))
    with live.watching(STUDY, Path("runs/mine")):
        live.begins({}, 2)
    assert "mine" in said.getvalue()
