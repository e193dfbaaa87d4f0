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

from ressearch.results.schema import PHASES, is_open
from ressearch.units import format_count

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
        self.began = time.monotonic()
        yield

    def begins(self, rows: Mapping[int, Row], concurrency: int) -> None:
        """Ray has started; `rows` are on record of an earlier run."""
        self.rows.update(rows)
        self.known = {number: self._done(row) for number, row in rows.items()}

    def phase(self, name: str, trials: int) -> None:
        """A phase of so many trials begins; the first is the search."""
        if name != "search":
            self.planned = len(self.rows) + trials

    def started(self, row: Row) -> None:
        """A trial started."""
        self.rows[row["trial"]] = row

    def epoch(self, row: Row) -> None:
        """A trial ended an epoch."""

    def ended(self, row: Row) -> None:
        """A trial ended."""

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the end: trials count by depth and MACs, those to come like the mean so far."""
        if not self.rows:
            return None
        weights = {number: row["depth"] + row["macs"] / 2e5 for number, row in self.rows.items()}
        done = sum(weights[number] * (self._done(row) - self.known.get(number, 0)) for number, row in self.rows.items())
        open_share = sum(weights[number] * (1 - self._done(row)) for number, row in self.rows.items())
        to_come = (self.planned - len(self.rows)) * sum(weights.values()) / len(weights)
        elapsed = time.monotonic() - self.began
        return elapsed * (open_share + to_come) / done if done else None

    def _done(self, row: Row) -> float:
        return row["epochs"] / self.study.recipe.epochs if row["status"] == "running" else 1.0

    @property
    def best(self) -> Row | None:
        """The row with the best first objective so far, among trials that trained every epoch (else among all)."""
        key = self.study.search.objective[0]
        scored = [row for row in self.rows.values() if row[key] is not None]
        scored = [row for row in scored if row["status"] == "completed"] or scored
        if not scored:
            return None
        return (max if key == "val_accuracy" else min)(scored, key=lambda row: row[key])


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
        ended = sum(not is_open(row) for row in rows.values())
        before = f", {ended} of them ended before" if rows else ""
        self._say(f"{self.study.name}: {self.planned} trials{before}, {at_once}, into {self.directory}")

    def phase(self, name: str, trials: int) -> None:
        """Say what the phase is for."""
        super().phase(name, trials)
        if name != "search":
            self._say(f"{name}: {trials} {'trials' if trials > 1 else 'trial'} ({PHASES[name]})")

    def ended(self, row: Row) -> None:
        """Say what became of the trial."""
        ended = sum(one["status"] != "running" for one in self.rows.values())
        self._say(f"[{ended}/{self.planned}] trial {row['trial']} {describe(row)}")


def describe(row: Row) -> str:
    """Return one line on a trial that ended: its name, cost, fate and score."""
    text = f"{row['name']} ({format_count(row['params'])} params): {row['status']}"
    if row["status"] not in ("completed", "running") and row["reason"]:
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
        counts = Counter(row["status"] for row in self.rows.values())
        ended = sum(counts.values()) - counts["running"]
        left = self.seconds_left
        head = Text.assemble((self.study.name, "bold"), f"  {ended}/{self.planned} trials  ")
        head.append(f"{_clock(time.monotonic() - self.began)} elapsed")
        if ended < self.planned:
            head.append(f", about {_clock(left)} left" if left is not None else "" if self.rows else ", starting Ray")
        total = sum(self._done(row) for row in self.rows.values())
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
        table = Table(box=None, padding=(0, 1), show_header=True, header_style="dim")
        for column, justify in (
            ("trial", "right"),
            ("epoch", "right"),
            ("val", "right"),
            ("network", "left"),
        ):
            table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
        for row in self.rows.values():
            if row["status"] == "running":
                table.add_row(
                    str(row["trial"]), f"{row['epochs']}/{self.study.recipe.epochs}", _score(row), row["name"]
                )
        if table.row_count:
            parts.append(table)
        return Group(*parts)


def _score(row: Row) -> str:
    return "-" if row["val_accuracy"] is None else f"{row['val_accuracy']:.4f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
