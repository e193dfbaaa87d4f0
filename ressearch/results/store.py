"""The store: a journal of events, written as they happen, and two Parquet tables made from it.

The journal (one JSON line for each event) loses nothing when the process dies: every line that was written is read
back; what must outlast a power cut, a trial's end above all, is forced to the disk. The tables are rewritten whole,
atomically, at a pace that keeps their cost below a tenth of the run; where the journal was damaged so that it lacks
what they hold, they give it back.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ressearch import durable
from ressearch.errors import StudyError, nearest
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost
from ressearch.results import examples
from ressearch.results import journal as journals
from ressearch.results.progress import Progress, progress
from ressearch.results.run_file import STUDY_FILE, is_alive, read_run, require_study
from ressearch.results.schema import architecture_columns
from ressearch.results.status import Status
from ressearch.results.storage import Mirror, localise
from ressearch.results.tables import Tables
from ressearch.results.tables_file import TRIALS_FILE, lost_rows, read_both, rows_of

JOURNAL = "journal.jsonl"

_SYNCED = ("session", "end", "plan", "finish", "change", "restore")
"""Events that are forced to the disk. What an epoch reached is told again from the trial's checkpoint."""


class Store:
    """Writes a study's results as they come. One process, the driver, writes; anyone may read.

    If the disk takes no more, the first failure is kept in `broken` and nothing is written after it, so that the
    journal stays readable up to there.

    Args:
        directory: the study directory; a journal in it is read and gone on with.
        mirror: copies the directory to where the study is to be kept, if that is elsewhere.
    """

    def __init__(self, directory: Path, mirror: Mirror | None = None) -> None:
        self.directory, self.mirror = directory, mirror
        journal = directory / JOURNAL
        self.broken: OSError | None = None
        lost = lost_rows(directory, journal)
        self.tables = replay(journal) if journal.is_file() else Tables()
        if journal.is_file():
            journals.mend_last_line(journal)
        self._journal = durable.Appender(journal)
        self._written, self._write_seconds = 0.0, 0.0
        self._correct: dict[int, examples.Correct] = {}
        self._record("session")
        for row, curves in lost(self.tables.trials):
            self._record("restore", trial=row["trial"], row=row, curves=curves)

    @property
    def active_seconds(self) -> float:
        """Time that processes have worked on the study, up to now."""
        since = self.tables.last_event
        return self.tables.active_seconds + ((_now() - since) / 1000 if since is not None else 0.0)

    def start(
        self,
        trial: int,
        architecture: Architecture,
        cost: Cost,
        recipe: str,
        seeds: Sequence[int],
        lr: float,
        **columns: Any,
    ) -> None:
        """Record that a trial started.

        Args:
            trial: its number.
            architecture: what it trains.
            cost: of the architecture.
            recipe: how, as JSON.
            seeds: of its replicates.
            lr: peak learning rate.
            columns: further ones of the trial table; and `devices` (the share of devices that the trial holds) and
                `examples` (of an epoch), from which each epoch adds to `device_seconds` and `macs_trained`.
        """
        self._record(
            "start",
            trial=trial,
            name=architecture.name,
            started_at=_now(),
            depth=architecture.depth,
            recipe=recipe,
            seeds=list(seeds),
            lr=lr,
            **columns,
            **cost._asdict(),
            **architecture_columns(architecture),
        )

    def reopen(self, trial: int, **columns: Any) -> None:
        """Record that a trial that was interrupted goes on; `columns` are `devices` and `examples`, as in `start`."""
        self._record("reopen", trial=trial, **columns)

    def epoch(self, trial: int, results: Iterable[dict[str, Any]], **columns: Any) -> None:
        """Record one epoch of every replicate of a trial; `columns` of the trial table that it is the first to know."""
        self._record("epoch", trial=trial, results=list(results), **columns)

    def hold(self, trial: int, correct: examples.Correct) -> None:
        """Hold which examples a trial had right after its last epoch on record, until its end, which writes them.

        Those of an epoch that is on record with other accuracies (trained again elsewhere) are nothing to keep.
        """
        row = self.tables.trials[trial]
        if correct.epoch == row["epochs"] and correct.parts["validation"].agrees(row["seed_val_accuracies"] or ()):
            self._correct[trial] = correct

    def end(self, trial: int, status: str, reason: str | None, **columns: Any) -> None:
        """Record what became of a trial and what it spent; which examples it had right is written before."""
        correct = self._correct.pop(trial, None)
        if correct is not None and correct.epoch == self.tables.trials[trial]["epochs"] and self.broken is None:
            try:
                examples.write(self.directory, trial, correct)
            except OSError as error:
                self.broken = error
        self._record("end", trial=trial, status=status, reason=reason, ended_at=_now(), **columns)

    def plan(self, phase: str, count: int) -> list[int]:
        """Return the numbers of the trials of a phase after the search, in order, and record them if they are new.

        Those that were planned before keep theirs; others get the next that no trial of any phase has.
        """
        tables = self.tables
        of_phase = [number for number, row in tables.trials.items() if row["phase"] == phase]
        # An older version planned without a record: its trials were numbered one after the other.
        before = range(min(of_phase), max(of_phase) + 1) if of_phase else ()
        numbers = list(tables.plans.get(phase, before))
        taken = itertools.chain(tables.trials, *tables.plans.values(), numbers)
        free = itertools.count(max(taken, default=-1) + 1)
        numbers = [*numbers, *itertools.islice(free, count)][:count]
        if phase not in tables.settled or tables.plans.get(phase) != numbers:
            self._record("plan", phase=phase, trials=numbers)
        return numbers

    def finish(self, phase: str, reason: str) -> None:
        """Record why a phase ended before its last planned trial."""
        if phase not in self.tables.finished:
            self._record("finish", phase=phase, reason=reason)

    def change(self, key: str, old: Any, new: Any) -> None:
        """Record that a study goes on with more of something than it began with."""
        self._record("change", key=key, old=old, new=new)

    def _record(self, event: str, **values: Any) -> None:
        if self.broken is not None:
            return
        record = {"event": event, "at": _now(), **values}
        try:
            self._journal.append((json.dumps(record) + "\n").encode(), is_synced=event in _SYNCED)
            self.tables.apply(record)
            # Rewriting the tables costs more as they grow: wait ten times as long as the last writing took.
            if event == "end" and time.monotonic() - self._written > max(1.0, 10 * self._write_seconds):
                self.write()
            if self.mirror is not None:
                self.mirror.push(force=event == "end")
        except OSError as error:
            self.broken = error

    def write(self) -> None:
        """Write the Parquet tables now."""
        began = time.monotonic()
        self.tables.write(self.directory)
        self._written = time.monotonic()
        self._write_seconds = self._written - began

    def close(self) -> None:
        """Write the tables a last time and close the journal."""
        for step in (self.write, self._journal.close):
            try:
                step()
            except OSError as error:
                self.broken = self.broken or error


def _now() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Results:
    """A study directory, read.

    Attributes:
        directory: where it lies (of a URL: the local copy).
        trials: one row per trial; columns as `ressearch.results.schema.TRIALS`.
        curves: one row per epoch of a replicate; columns as `ressearch.results.schema.CURVES`.
        run: versions, machine, times and command of the run.
        study_text: the study file, verbatim.
        progress: how far the study is, by its record.
        notes: what is damaged, and what stands for it; one line each.
        source: what was read: the directory or its URL; None is `directory`.
    """

    directory: Path
    trials: pd.DataFrame
    curves: pd.DataFrame
    run: dict[str, Any]
    study_text: str
    progress: Progress
    notes: tuple[str, ...] = ()
    source: str | Path | None = None

    def phase(self, *names: str) -> Results:
        """Return the results of some phases alone: ``search``, ``baseline``, ``final``."""
        trials = self.trials[self.trials["phase"].isin(names)]
        curves = self.curves[self.curves["trial"].isin(trials["trial"])]
        return dataclasses.replace(self, trials=trials, curves=curves)

    def correct(self, trial: int, split: str = "validation") -> NDArray[np.bool_] | None:
        """Return which examples each replicate of a trial classified right after the last epoch that it trained.

        The examples of a split have the same order in all trials of a study: that of the split. So two networks can be
        compared on the same examples.

        Args:
            trial: its number.
            split: ``validation``, or ``test``, which scored the finalists alone.

        Returns:
            Shape (seeds, examples), rows in the order of the trial's `seeds`; the mean of a row is that seed's accuracy
            in `trials`, exactly. None where it is not on record: in directories of older versions, of trials that ended
            no epoch or whose process was lost and that did not go on, and of splits of more than 200,000 examples.

        Raises:
            StudyError: there is no such trial or split, or the file is damaged.

        Examples:
            >>> results = load(directory)  # doctest: +SKIP
            >>> (results.correct(3) & ~results.correct(5)).mean(1)  # doctest: +SKIP
        """
        if split not in examples.ACCURACIES:
            raise StudyError(f"split: {split!r} is unknown; {nearest(split, examples.ACCURACIES)}")
        found = self.trials[self.trials["trial"] == trial]
        if found.empty:
            raise StudyError(f"{self.directory}: no trial {trial} is among these results")
        place = self.directory if self.source is None else self.source
        return examples.read(place, found.iloc[0].to_dict(), split)

    def __iter__(self) -> Any:
        """Unpack as ``trials, curves = ressearch.load(directory)``."""
        return iter((self.trials, self.curves))


def load(directory: str | Path) -> Results:
    """Read a study directory, finished or not.

    Returns:
        `Results`; unpack it as ``trials, curves = ressearch.load(directory)``.

    Raises:
        StudyError: the directory is missing or holds no study, or a file in it is damaged.
    """
    path = localise(directory)
    require_study(path, directory)
    run = read_run(path)
    tables, notes = read_tables(path)
    if not tables.trials and run.get("ended_at") is not None and not (path / JOURNAL).is_file():
        raise StudyError(f"{path / TRIALS_FILE}: missing, and there is no journal to make it from")
    tables.fill_spending(run)
    if not is_alive(run, path):
        for row in tables.trials.values():
            if row["status"] == Status.RUNNING:
                row.update(status=Status.INTERRUPTED, reason="the study's process ended")
    trials, curves = tables.frames()
    study = path / STUDY_FILE
    text = study.read_text(encoding="utf-8", errors="replace") if study.is_file() else ""
    return Results(path, trials, curves, run, text, progress(run, tables), notes, directory)


def read_tables(path: Path) -> tuple[Tables, tuple[str, ...]]:
    """Return what is on record in a study directory, and what had to stand for what is damaged.

    The journal is the record. Trials and epochs that it lacks, because it was lost or cut, come from the tables.

    Raises StudyError if what is left cannot be read.
    """
    journal = path / JOURNAL
    if not journal.is_file():
        tables = Tables()
        if (found := read_both(path)) is not None:
            tables.take(rows_of(found[0]), found[1])
        return tables, ()
    lost = lost_rows(path, journal)  # read before the journal, which then holds what they do, if it is whole
    tables = replay(journal)
    events = [
        {"event": "restore", "trial": row["trial"], "row": row, "curves": curves} for row, curves in lost(tables.trials)
    ]
    for event in events:
        tables.apply(event)
    if not events:
        return tables, ()
    return tables, (f"{JOURNAL} lacks what {len(events)} trials reached, which {TRIALS_FILE} holds: taken from there",)


def replay(journal: Path) -> Tables:
    """Return what a journal records. Raises StudyError if a line is damaged, unless a kill cut the last one short."""
    tables = Tables()
    for number, event in journals.events(journal):
        try:
            tables.apply(event)
        except (
            ValueError,
            ArithmeticError,
            AttributeError,
            TypeError,
        ) as error:  # numbers of the right type may be absurd
            raise StudyError(f"{journal}:{number}: damaged line: {error}") from None
    return tables


def to_record(result: Any) -> dict[str, Any]:
    """Return an `EpochResult` as a row of the curves."""
    return dataclasses.asdict(result)
