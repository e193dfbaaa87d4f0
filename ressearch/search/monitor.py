"""What a person sees while a study runs: nothing, plain lines, or a live view of the terminal."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ressearch.limits import MOST_TRIALS
from ressearch.results.ranking import finals_of, ranked
from ressearch.results.schema import PHASES, is_open
from ressearch.results.status import Status
from ressearch.search.recorded import recipe_values
from ressearch.units import format_count, format_milliseconds

if TYPE_CHECKING:
    from ressearch.search.study import Study

Row = Mapping[str, Any]
"""A row of the trial table."""


class Monitor:
    """Is told of every event of a run and shows nothing; the base of those that do."""

    @contextlib.contextmanager
    def watching(self, study: Study, directory: Path) -> Iterator[None]:
        """Watch a study from before Ray starts until it has ended."""
        self.study, self.directory = study, directory
        self.planned = study.planned_trials
        self.rows: dict[int, Row] = {}
        self.known: dict[int, float] = {}
        self.current = "search"
        self._ranked: tuple[int, Row | None] = (-1, None)
        self.began = time.monotonic()
        yield

    def begins(self, rows: Mapping[int, Row], concurrency: int) -> None:
        """Ray has started; `rows` are on record of an earlier run."""
        self.rows.update(rows)
        self.known = {number: self._done(row) for number, row in rows.items()}

    def phase(self, name: str, trials: int) -> None:
        """A phase begins that has so many trials to end still, interrupted ones included; the first is the search."""
        self.current = name
        self.planned = self.ended_trials + trials

    @property
    def ended_trials(self) -> int:
        """How many trials have ended; those that were interrupted have not."""
        return sum(not is_open(row) for row in self._rows())

    @property
    def progress(self) -> str:
        """Trials that have ended, of those planned; their number alone where the budget decides how many there are."""
        return str(self.ended_trials) if self._is_unbounded else f"{self.ended_trials}/{self.planned}"

    @property
    def _is_unbounded(self) -> bool:
        return self.current == "search" and self.planned >= MOST_TRIALS - self.ended_trials

    def started(self, row: Row) -> None:
        """A trial started."""
        self.rows[row["trial"]] = row

    def epoch(self, row: Row) -> None:
        """A trial ended an epoch."""

    def ended(self, row: Row) -> None:
        """A trial ended."""

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the end of the phase; None while nothing says how long its trials take.

        Trials count by depth and MACs, epochs and seeds; those to come like the mean of the phase's so far.
        """
        trained = sum(self._work(row) * (self._done(row) - self.known.get(row["trial"], 0)) for row in self._rows())
        if trained <= 0 or self._is_unbounded:
            return None
        of_phase = [row for row in self._rows() if row["phase"] == self.current]
        going = [row for row in of_phase if is_open(row)]
        like = of_phase or self._rows()
        to_come = max(0, self.planned - self.ended_trials - len(going)) * sum(map(self._work, like)) / len(like)
        left = sum(self._work(row) * (1 - self._done(row)) for row in going)
        return (time.monotonic() - self.began) * (left + to_come) / trained

    def _rows(self) -> list[Row]:
        return list(self.rows.values())  # a copy, for the view is drawn by a thread of its own

    def _work(self, row: Row) -> float:
        """Return what all epochs of a trial cost, in a unit of our own."""
        return float((row["depth"] + row["macs"] / 2e5) * self.epochs(row) * len(row["seeds"]))

    def _done(self, row: Row) -> float:
        """Return which share of its epochs a trial has behind it; all of them once it has ended."""
        return min(1.0, row["epochs"] / self.epochs(row)) if is_open(row) else 1.0

    def epochs(self, row: Row) -> int:
        """Return how many epochs a trial is to train: those of its own recipe, as finalists' may differ."""
        return int(recipe_values(row)["epochs"])

    @property
    def best(self) -> Row | None:
        """The best row so far of the search, among trials that trained every epoch (else among all)."""
        objective = self.study.objective
        rows = [row for row in self._rows() if row["phase"] == "search" and row[objective.column] is not None]
        if self.ended_trials != self._ranked[0]:  # ranking thousands of trials takes too long for each refresh
            self._ranked = self.ended_trials, next(iter(ranked(rows, objective, finals_of(self._rows()))), None)
        return self._ranked[1] or min(rows, key=objective.key, default=None)


class PlainMonitor(Monitor):
    """A line when a trial ends; for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begins(self, rows: Mapping[int, Row], concurrency: int) -> None:
        """Say what starts."""
        super().begins(rows, concurrency)
        at_once = f"{concurrency} at a time" if concurrency > 1 else "one at a time"
        ended = sum(not is_open(row) for row in rows.values() if row["phase"] == "search")
        before = f", {ended} of them ended before" if rows else ""
        trials = "trials until the budget is spent" if self._is_unbounded else f"{self.planned} trials"
        self._say(f"{self.study.name}: {trials}{before}, {at_once}, into {self.directory}")

    def phase(self, name: str, trials: int) -> None:
        """Say what the phase is for."""
        super().phase(name, trials)
        if name != "search":
            self._say(f"{name}: {trials} {'trials' if trials > 1 else 'trial'} ({PHASES[name]})")

    def ended(self, row: Row) -> None:
        """Say what became of the trial."""
        self._say(f"[{self.progress}] trial {row['trial']} {describe(row)}")


def describe(row: Row) -> str:
    """Return one line on a trial that ended: its name, cost, fate and score."""
    latency = f", {format_milliseconds(row['latency'])}" if row.get("latency") is not None else ""
    text = f"{row['name']} ({format_count(row['params'])} params{latency}): {row['status']}"
    if row["status"] not in (Status.COMPLETED, Status.RUNNING) and row["reason"]:
        text += f" ({row['reason']})"
    if row["val_accuracy"] is not None:
        text += f", val_accuracy {row['val_accuracy']:.4f}"
        if row["val_accuracy_std"] is not None:
            text += f" (sd {row['val_accuracy_std']:.4f} over {len(row['seeds'])} seeds)"
    return f"{text}, {row['epochs']} epochs, {row['train_seconds']:.1f} s"


class LiveMonitor(Monitor):
    """A view that is redrawn in place: progress, counts, the best so far and what trains now."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def watching(self, study: Study, directory: Path) -> Iterator[None]:
        """Show the view until the study has ended."""
        with (
            super().watching(study, directory),
            Live(get_renderable=self._view, console=self._console, refresh_per_second=4),
        ):
            yield

    def _view(self) -> Group:
        counts = Counter(row["status"] for row in self._rows())
        left = self.seconds_left
        head = Text.assemble((self.study.name, "bold"), f"  {self.progress} trials  ")
        head.append(f"{_clock(time.monotonic() - self.began)} elapsed")
        if self.ended_trials < self.planned:
            head.append(f", about {_clock(left)} left" if left is not None else "" if self.rows else ", starting Ray")
        total = sum(self._done(row) for row in self._rows())
        bar = Table.grid()  # a bar by itself does not end its line
        bar.add_row(ProgressBar(total=self.planned, completed=total, width=min(76, self._console.width - 4)))
        tally = Text(", ".join(f"{count} {status}" for status, count in counts.items()) or "no trial yet")
        parts: list[Any] = [head, bar, tally]
        if (best := self.best) is not None:
            parts.append(
                Text.assemble(
                    ("best ", "bold green"),
                    _score(best),
                    " ",
                    best["name"],
                    overflow="ellipsis",
                    no_wrap=True,
                )
            )
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for column in ("trial", "epoch", "val"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("network")  # the one column that gives way where the terminal is narrow
        for row in self._rows():
            if row["status"] == Status.RUNNING:
                name = Text(row["name"], overflow="ellipsis", no_wrap=True)
                table.add_row(str(row["trial"]), f"{row['epochs']}/{self.epochs(row)}", _score(row), name)
        if table.row_count:
            parts.append(table)
        return Group(*parts)


def _score(row: Row) -> str:
    return "-" if row["val_accuracy"] is None else f"{row['val_accuracy']:.4f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
