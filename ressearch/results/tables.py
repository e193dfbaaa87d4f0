"""What the events of a journal add up to: the rows of both tables."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ressearch import durable
from ressearch.results.schema import CURVES, TRIALS, macs_trained
from ressearch.results.status import Status
from ressearch.results.tables_file import CURVES_FILE, TRIALS_FILE

_EMPTY: dict[str, Any] = dict.fromkeys(TRIALS.names)


@dataclass
class Tables:
    """The rows of both tables, built event by event.

    Attributes:
        trials: rows of the trial table by trial.
        curves: rows of the learning curves.
        points: further ones as a table, of trials whose record is the tables alone; rows of many would be slow.
        active_seconds: time that processes have worked on the study, pauses between them left out.
        last_event: when the last event happened, in milliseconds since 1970.
        plans: the numbers of the trials of each phase after the search, once it was planned.
        settled: the phases whose plan is still what the study asks for.
        finished: why a phase ended before its last planned trial: its budget is spent, or its space is exhausted.
    """

    trials: dict[int, dict[str, Any]] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)
    points: pa.Table = field(default_factory=CURVES.empty_table)
    active_seconds: float = 0.0
    last_event: int | None = None
    plans: dict[str, list[int]] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    finished: dict[str, str] = field(default_factory=dict)

    def apply(self, event: dict[str, Any]) -> None:
        """Take in one event of the journal. Raises ValueError if it cannot follow the events before it."""
        event = dict(event)
        kind, at = event.pop("event"), event.pop("at", None)
        if at is not None:
            if self.last_event is not None and kind != "session":
                self.active_seconds += (at - self.last_event) / 1000
            self.last_event = at
        if kind == "session":  # another process goes on: nothing was trained since the last event
            return
        if kind in ("plan", "finish", "change"):
            self._apply_to_phases(kind, event)
            return
        trial = event["trial"]
        if kind in ("reopen", "epoch", "end") and trial not in self.trials:
            raise ValueError(f"trial {trial} has not started")
        if kind == "restore":
            if trial in self.trials:
                self.curves = [point for point in self.curves if point["trial"] != trial]
                self.points = self.points.filter(pc.field("trial") != trial)
            self._restore({**event["row"], "trial": trial}, at)
            self.curves.extend(event["curves"])
        elif kind == "start":
            self.trials[trial] = {
                **_EMPTY,
                "phase": "search",
                **event,
                "status": Status.RUNNING,
                "epochs": 0,
                "train_seconds": 0.0,
                "wall_seconds": 0.0,
                "began": event["started_at"],
            }
            self._add_spending(self.trials[trial], 0.0)
        elif kind == "reopen":
            row = self.trials[trial]
            row.update(status=Status.RUNNING, reason=None, ended_at=None, began=at)
            row.update({key: event[key] for key in ("devices", "examples") if key in event})
            if row["device_seconds"] is None and row.get("devices") is not None:
                self._add_spending(row, row["train_seconds"])
        elif kind == "epoch":
            self._apply_epoch(self.trials[trial], event.pop("results"))
            self.trials[trial].update(event)
        else:
            row = self.trials[trial]
            row["wall_seconds"] += max(0.0, (event["ended_at"] - row["began"]) / 1000)
            row.update({key: value for key, value in event.items() if key != "wall_seconds"})

    def take(self, rows: Iterable[dict[str, Any]], points: pa.Table) -> None:
        """Take in trials and their learning curves as the tables of a study hold them."""
        for row in rows:
            self._restore(row, None)
        known = pc.is_in(points["trial"], value_set=pa.array(list(self.trials), points["trial"].type))
        self.points = points.filter(known)

    def _restore(self, row: dict[str, Any], at: int | None) -> None:
        row = {**_EMPTY, **row}
        for key in ("epochs", "train_seconds", "wall_seconds"):
            row[key] = row[key] or 0
        row["began"] = row["started_at"] or at or 0
        self.trials[row["trial"]] = row

    def _apply_to_phases(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "change":  # what the study asks for has grown: each phase has to be planned anew
            self.settled.clear()
            self.finished.clear()
            return
        phase = event["phase"]
        if kind == "plan":
            self.plans[phase] = event["trials"]
            self.settled.add(phase)
        else:
            self.finished[phase] = event["reason"]

    def _apply_epoch(self, row: dict[str, Any], results: Sequence[dict[str, Any]]) -> None:
        if results[0]["epoch"] != row["epochs"] + 1:
            raise ValueError(f"trial {row['trial']} tells epoch {results[0]['epoch']} after {row['epochs']}")
        self.curves += [{"trial": row["trial"], **result} for result in results]
        accuracies = [result["val_accuracy"] for result in results]
        mean = statistics.fmean(accuracies)
        row["epochs"] = results[0]["epoch"]
        row["val_accuracy"] = mean
        row["val_accuracy_std"] = _deviation(accuracies) if len(accuracies) > 1 else None
        row["best_val_accuracy"] = max(mean, row["best_val_accuracy"] or 0.0)
        row["seed_val_accuracies"] = accuracies
        for key in ("val_loss", "train_accuracy", "train_loss"):
            row[key] = statistics.fmean(result[key] for result in results)
        seconds = sum(result["seconds"] for result in results)
        row["train_seconds"] += seconds
        self._add_spending(row, seconds)

    def _add_spending(self, row: dict[str, Any], seconds: float) -> None:
        """Count what some seconds of training spent, so that every trial's row has it, whatever ends the trial."""
        if row.get("devices") is None or row.get("examples") is None:
            return  # a journal of an older version: its `end` events carry both
        row["device_seconds"] = (row["device_seconds"] or 0.0) + seconds * row["devices"]
        row["macs_trained"] = macs_trained(row, row["examples"], row["epochs"])

    def fill_spending(self, run: dict[str, Any]) -> None:
        """Count what trials of a journal of an older version spent, where no `end` event says it."""
        devices = run.get("gpus_per_trial") or run.get("cpus_per_trial")
        examples = run.get("examples", {}).get("train")
        for row in self.trials.values():
            if row["macs_trained"] is None:
                row.update(devices=devices, examples=examples)
                self._add_spending(row, row["train_seconds"])

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return (trials, curves) as DataFrames with the types of the schema."""
        return _frame(self._trial_table()), _frame(self._curve_table())

    def _trial_table(self) -> pa.Table:
        return pa.Table.from_pylist([self.trials[number] for number in sorted(self.trials)], TRIALS)

    def _curve_table(self) -> pa.Table:
        told = pa.Table.from_pylist(sorted(self.curves, key=lambda point: point["trial"]), CURVES)
        if not len(self.points):
            return told
        return pa.concat_tables([self.points, told]).sort_by("trial")  # rows of a trial keep their order

    def write(self, directory: Path) -> None:
        """Write both tables as Parquet, atomically, and force them to the disk."""
        for name, table in (
            (TRIALS_FILE, self._trial_table()),
            (CURVES_FILE, self._curve_table()),
        ):
            durable.replace(directory / name, functools.partial(_write_table, table))


def _deviation(values: Sequence[float]) -> float:
    """Return the standard deviation (n - 1); `statistics.stdev`, in fractions, takes half the time of a replay.

    Raises ValueError if a value is not finite.
    """
    shifted = [one - values[0] for one in values]  # equal values have none at all
    mean = statistics.fmean(shifted)
    found = math.sqrt(math.fsum((one - mean) ** 2 for one in shifted) / (len(values) - 1))
    if not math.isfinite(found):
        raise ValueError(f"accuracies {values} are no numbers that have a spread")
    return found


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _write_table(table: pa.Table, file: IO[bytes]) -> None:
    pq.write_table(table, file, compression="zstd")
