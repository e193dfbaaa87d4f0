"""The lines and the view that a person sees while a study runs, from rows made by hand and a clock of our own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from rich.console import Console

from ressearch import Study
from ressearch.limits import MOST_TRIALS
from ressearch.search import monitor as module
from ressearch.search.monitor import LiveMonitor, Monitor, PlainMonitor, describe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    ticking = Clock()
    monkeypatch.setattr(module, "time", ticking)
    return ticking


def study(trials: int | None = 5, **search: Any) -> Study:
    return Study.from_dict(
        {
            "name": "s",
            "space": {"search": {"depth": [8, 14, 20], "se_ratio": {"low": 0.1, "high": 0.5}}},
            "data": {"name": "synthetic"},
            "search": {"trials": trials, **search},
        }
    )


def row(trial: int = 0, **columns: Any) -> dict[str, Any]:
    of = columns.pop("of", 10)
    return {
        "trial": trial,
        "name": f"net-{trial}",
        "phase": "search",
        "status": "completed",
        "reason": None,
        "epochs": of,
        "depth": 8,
        "macs": 200_000,
        "params": 1234,
        "seeds": [0, 1],
        "recipe": json.dumps({"epochs": of, "lr": 0.1}),
        "val_accuracy": 0.5,
        "val_accuracy_std": 0.1,
        "train_seconds": 1.25,
        "of_trial": None,
        **columns,
    }


def watched(monitor: Monitor, rows: list[dict[str, Any]], at_once: int = 2, **search: Any) -> Monitor:
    Monitor.watching(monitor, study(**search), Path("runs/s")).__enter__()
    monitor.begins({one["trial"]: one for one in rows}, at_once)
    return monitor


def said_by(rows: list[dict[str, Any]], at_once: int = 2, **search: Any) -> tuple[PlainMonitor, io.StringIO]:
    file = io.StringIO()
    monitor = PlainMonitor(Console(file=file, width=40))
    watched(monitor, rows, at_once, **search)
    return monitor, file


SCORE = "val_accuracy 0.5000 (sd 0.1000 over 2 seeds)"
DESCRIBED = [
    ({}, f"net-0 (1.23k params): completed, {SCORE}, 10 epochs, 1.2 s"),
    ({"latency": 0.0025}, f"net-0 (1.23k params, 2.5 ms): completed, {SCORE}, 10 epochs, 1.2 s"),
    ({"reason": "not said"}, f"net-0 (1.23k params): completed, {SCORE}, 10 epochs, 1.2 s"),
    (
        {"status": "running", "reason": "not said", "epochs": 4},
        f"net-0 (1.23k params): running, {SCORE}, 4 epochs, 1.2 s",
    ),
    (
        {"status": "stopped", "reason": "asha after epoch 4", "epochs": 4},
        f"net-0 (1.23k params): stopped (asha after epoch 4), {SCORE}, 4 epochs, 1.2 s",
    ),
    ({"status": "stopped"}, f"net-0 (1.23k params): stopped, {SCORE}, 10 epochs, 1.2 s"),
    (
        {"status": "failed", "reason": "no memory", "val_accuracy": None, "val_accuracy_std": None, "epochs": 0},
        "net-0 (1.23k params): failed (no memory), 0 epochs, 1.2 s",
    ),
    (
        {"val_accuracy": 0.87654, "val_accuracy_std": None, "seeds": [0], "train_seconds": 61.0, "params": 2_500_000},
        "net-0 (2.5M params): completed, val_accuracy 0.8765, 10 epochs, 61.0 s",
    ),
]


@pytest.mark.parametrize(("columns", "line"), DESCRIBED)
def test_a_trial_that_ended_is_one_line(columns: dict[str, Any], line: str) -> None:
    assert describe(row(**columns)) == line


BEGINS = [
    ([], 1, {}, "s: 5 trials, one at a time, into runs/s"),
    ([], 2, {}, "s: 5 trials, 2 at a time, into runs/s"),
    (
        [row(0), row(1, status="running", epochs=3)],
        3,
        {},
        "s: 5 trials, 1 of them ended before, 3 at a time, into runs/s",
    ),
    (
        [row(0, status="interrupted", epochs=3)],
        2,
        {},
        "s: 5 trials, 0 of them ended before, 2 at a time, into runs/s",
    ),
    ([row(0), row(1, phase="final")], 2, {}, "s: 5 trials, 1 of them ended before, 2 at a time, into runs/s"),
    (
        [],
        2,
        {"trials": None, "budget": {"epochs": 50}},
        "s: trials until the budget is spent, 2 at a time, into runs/s",
    ),
]


@pytest.mark.parametrize(("rows", "at_once", "search", "line"), BEGINS)
def test_what_begins_is_one_line(
    clock: Clock, rows: list[dict[str, Any]], at_once: int, search: dict[str, Any], line: str
) -> None:
    _, file = said_by(rows, at_once, **search)
    assert file.getvalue() == f"{line}\n"


def test_phases_after_the_search_say_what_they_are_for(clock: Clock) -> None:
    monitor, file = said_by([])
    monitor.phase("search", 5)
    monitor.phase("final", 1)
    monitor.phase("baseline", 2)
    assert file.getvalue().splitlines()[1:] == [
        "final: 1 trial (one of the best, trained again on fresh seeds and scored on the test part)",
        "baseline: 2 trials (drawn at random, to compare the search with)",
    ]


def test_lines_are_said_as_they_are_without_markup_or_colours_or_folds(clock: Clock) -> None:
    file = io.StringIO()
    monitor = PlainMonitor(Console(file=file, width=40, force_terminal=True))
    watched(monitor, [])
    monitor.started(row(3, name="[red]net[/red]"))
    monitor.ended(row(3, name="[red]net[/red]"))
    assert file.getvalue().splitlines() == [
        "s: 5 trials, 2 at a time, into runs/s",
        f"[1/5] trial 3 [red]net[/red] (1.23k params): completed, {SCORE}, 10 epochs, 1.2 s",
    ]


def test_what_a_study_is_known_by_when_it_is_watched(clock: Clock) -> None:
    monitor, one = Monitor(), study()
    with monitor.watching(one, Path("runs/s")):
        assert (monitor.study, monitor.directory, monitor.planned) == (one, Path("runs/s"), 5)
        assert (monitor.rows, monitor.known, monitor.current, monitor.began) == ({}, {}, "search", 1000.0)
        assert (monitor.progress, monitor.seconds_left, monitor.best) == ("0/5", None, None)
    monitor.epoch(row())
    monitor.ended(row())
    assert monitor.rows == {}


@pytest.mark.parametrize(
    ("phase", "trials", "rows", "progress"),
    [
        ("search", MOST_TRIALS, 0, "0"),
        ("search", MOST_TRIALS - 1, 0, "0/99999"),
        ("search", MOST_TRIALS - 2, 1, "1"),
        ("search", MOST_TRIALS - 3, 1, "1/99998"),
        ("final", MOST_TRIALS, 0, "0/100000"),
    ],
)
def test_a_search_of_as_many_trials_as_there_can_be_has_no_total(
    clock: Clock, phase: str, trials: int, rows: int, progress: str
) -> None:
    monitor = watched(Monitor(), [row(trial) for trial in range(rows)])
    monitor.phase(phase, trials)
    assert monitor.progress == progress


def test_trials_count_by_their_depth_and_macs_epochs_and_seeds(clock: Clock) -> None:
    monitor = watched(Monitor(), [])
    assert monitor._work(row(macs=2 * 10**9)) == (8 + 10_000) * 10 * 2
    monitor.phase("search", 5)
    monitor.started(row(0))  # (8 + 1) x 10 epochs x 2 seeds = 180
    monitor.started(row(1, status="running", depth=20, macs=2_000_000, of=20, epochs=5, seeds=[0, 1, 2, 3]))  # 2400
    clock.now += 78  # for 180 + 2400 / 4 = 780; 1800 are left, and three trials of 1290 in the mean
    assert monitor.seconds_left == pytest.approx((1800 + 3 * 1290) / 10)
    monitor.phase("final", 2)  # which has no trial yet: they are like those of the search
    assert monitor.seconds_left == pytest.approx(2 * 1290 / 10)
    monitor.started(row(2, phase="final", status="running", epochs=0))  # 180, and one more like it
    assert monitor.seconds_left == pytest.approx(2 * 180 / 10)


def test_more_epochs_on_record_than_a_recipe_has_are_all_of_them(clock: Clock) -> None:
    monitor = watched(Monitor(), [])
    monitor.phase("search", 1)
    monitor.started(row(0, status="running", epochs=12))
    clock.now += 10
    assert monitor.seconds_left == 0


BEST = [
    ([], None),
    ([row(0, val_accuracy=None)], None),
    ([row(0, val_accuracy=0.4), row(1, val_accuracy=0.6), row(2, val_accuracy=0.5)], 1),
    ([row(0, val_accuracy=0.4), row(1, val_accuracy=0.9, phase="final")], 0),
    ([row(0, val_accuracy=0.4), row(1, val_accuracy=0.9, status="stopped", epochs=3)], 0),
    ([row(0, val_accuracy=0.4, status="stopped"), row(1, val_accuracy=0.9, status="running", epochs=3)], 1),
    ([row(0, val_accuracy=0.4), row(1, val_accuracy=0.4, macs=1000)], 1),
]


@pytest.mark.parametrize(("rows", "best"), BEST)
def test_the_best_so_far_is_of_the_search_and_trained_to_the_end_where_one_is(
    clock: Clock, rows: list[Mapping[str, Any]], best: int | None
) -> None:
    monitor = watched(Monitor(), [dict(one) for one in rows])
    found = monitor.best
    assert (found and found["trial"]) == best


def test_the_best_by_its_loss_has_the_least(clock: Clock) -> None:
    rows = [row(0, val_loss=0.9), row(1, val_loss=0.2), row(2, val_loss=None)]
    monitor = watched(Monitor(), rows, objective="val_loss")
    assert monitor.best is not None
    assert monitor.best["trial"] == 1


def seen(monitor: LiveMonitor, width: int = 80, colours: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colours, color_system="standard" if colours else None
    )
    with console.capture() as captured:
        console.print(monitor._view())
    return [line.rstrip() for line in captured.get().splitlines()]


def live(rows: list[dict[str, Any]], width: int = 80, **search: Any) -> LiveMonitor:
    monitor = LiveMonitor(Console(file=io.StringIO(), width=width))
    watched(monitor, rows, **search)
    return monitor


def test_before_anything_trains_the_view_says_that_ray_starts(clock: Clock) -> None:
    monitor = live([])
    clock.now += 3
    assert seen(monitor) == ["s  0/5 trials  0:03 elapsed, starting Ray", "", "no trial yet"]


def test_the_view_says_progress_counts_the_best_and_what_trains(clock: Clock) -> None:
    monitor = live([])
    monitor.phase("search", 5)
    monitor.started(row(0, val_accuracy=0.75))
    monitor.started(row(1, status="stopped"))
    monitor.started(row(2, status="running", epochs=3))
    clock.now += 2.3 * 60
    assert seen(monitor)[0] == "s  2/5 trials  2:18 elapsed, about 2:42 left"
    assert seen(monitor)[2:] == [
        "1 completed, 1 stopped, 1 running",
        "best 0.7500 net-0",
        " trial  epoch     val  network",
        "     2   3/10  0.5000  net-2",
    ]


def test_what_trains_without_a_score_and_without_a_best(clock: Clock) -> None:
    monitor = live([])
    monitor.phase("search", 5)
    monitor.started(row(12, status="running", epochs=0, val_accuracy=None))
    assert seen(monitor) == [
        "s  0/5 trials  0:00 elapsed",
        "",
        "1 running",
        " trial  epoch  val  network",
        "    12   0/10    -  net-12",
    ]


def test_when_all_have_ended_no_time_is_left_and_nothing_trains(clock: Clock) -> None:
    monitor = live([])
    monitor.phase("search", 2)
    monitor.started(row(0))
    monitor.started(row(1))
    clock.now += 3661
    assert seen(monitor) == [
        "s  2/2 trials  1:01:01 elapsed",
        "━" * 76,
        "2 completed",
        "best 0.5000 net-0",
    ]


def test_the_bar_is_as_full_as_trials_and_their_epochs_say(clock: Clock) -> None:
    monitor = live([], width=44)
    monitor.phase("search", 5)
    monitor.started(row(0))
    monitor.started(row(1))
    monitor.started(row(2, status="running", epochs=5))
    bar = seen(monitor, 60, colours=True)[1]
    assert bar.count("━") + bar.count("╸") + bar.count("╺") == 40  # the terminal's width but four
    filled = bar.split("\x1b[0m")[0]
    assert filled.count("━") + filled.count("╸") == 20  # two and a half of five


def test_names_that_are_too_long_end_in_an_ellipsis(clock: Clock) -> None:
    monitor = live([], width=40)
    monitor.phase("search", 5)
    monitor.started(row(0, name="n" * 99))
    monitor.started(row(1, name="m" * 99, status="running", epochs=1))
    lines = seen(monitor, 50)
    assert lines[3] == "best 0.5000 " + "n" * 37 + "…"
    assert lines[5] == "     1   1/10  0.5000  " + "m" * 25 + "…"
    assert len(lines) == 6


def test_the_name_of_the_study_the_best_and_the_heading_stand_out(clock: Clock) -> None:
    monitor = live([])
    monitor.phase("search", 5)
    monitor.started(row(0))
    monitor.started(row(1, status="running", epochs=1))
    lines = seen(monitor, colours=True)
    assert lines[0].startswith("\x1b[1ms\x1b[0m  1/5 trials")
    assert lines[3].startswith("\x1b[1;32mbest \x1b[0m0.5000 net-0")
    assert all(f"\x1b[2m{name}" in lines[4].replace(" ", "") for name in ("trial", "epoch", "val", "network"))


def test_the_view_is_drawn_in_the_terminal_until_the_study_has_ended() -> None:
    file = io.StringIO()
    monitor = LiveMonitor(Console(file=file, width=80, force_terminal=False))
    with monitor.watching(study(), Path("runs/s")):
        assert monitor.directory == Path("runs/s")
        monitor.begins({0: row(0)}, 2)
    assert "s  1/5 trials" in file.getvalue()
    assert "best 0.5000 net-0" in file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (754, "12:34"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (36_065, "10:01:05"),
    ],
)
def test_a_time_is_written_as_a_clock_shows_it(seconds: float, text: str) -> None:
    assert module._clock(seconds) == text
