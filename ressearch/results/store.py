"""The store: a journal of events, written as they happen, and two Parquet tables made from it.

The journal (one JSON line an event) loses nothing when the process dies: every line that was written is read back. The
tables are rewritten whole, atomically, at a pace that keeps their cost below a tenth of the run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ressearch.architecture import Architecture
from ressearch.cost import Cost
from ressearch.errors import StudyError
from ressearch.results.schema import CURVES, TRIALS, architecture_columns, macs_trained
from ressearch.results.storage import Mirror, localise

JOURNAL, TRIALS_FILE, CURVES_FILE = "journal.jsonl", "trials.parquet", "curves.parquet"
STUDY_FILE, RUN_FILE = "study.yaml", "run.json"


@dataclass
class Tables:
    """The rows of both tables, built event by event.

    Attributes:
        trials: rows of the trial table by trial.
        curves: rows of the learning curves.
        active_seconds: time that processes have worked on the study, pauses between them left out.
        last_event: when the last event happened, in milliseconds since 1970.
    """

    trials: dict[int, dict[str, Any]] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)
    active_seconds: float = 0.0
    last_event: int | None = None

    def apply(self, event: dict[str, Any]) -> None:
        """Take in one event of the journal."""
        event = dict(event)
        kind, at = event.pop("event"), event.pop("at", None)
        if at is not None:
            if self.last_event is not None and kind != "session":
                self.active_seconds += (at - self.last_event) / 1000
            self.last_event = at
        if kind == "session":  # another process goes on: nothing was trained since the last event
            return
        trial = event["trial"]
        if kind == "start":
            empty = dict.fromkeys(TRIALS.names)
            self.trials[trial] = {
                **empty,
                "phase": "search",
                **event,
                "status": "running",
                "epochs": 0,
                "train_seconds": 0.0,
                "wall_seconds": 0.0,
                "began": event["started_at"],
            }
            self._add_spending(self.trials[trial], 0.0)
        elif kind == "reopen":
            row = self.trials[trial]
            row.update(status="running", reason=None, ended_at=None, began=at)
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

    def _apply_epoch(self, row: dict[str, Any], results: Sequence[dict[str, Any]]) -> None:
        self.curves += [{"trial": row["trial"], **result} for result in results]
        accuracies = [result["val_accuracy"] for result in results]
        mean = statistics.fmean(accuracies)
        row["epochs"] = results[0]["epoch"]
        row["val_accuracy"] = mean
        row["val_accuracy_std"] = statistics.stdev(accuracies) if len(accuracies) > 1 else None
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
        return _frame(self._trial_table()), _frame(pa.Table.from_pylist(self.curves, CURVES))

    def _trial_table(self) -> pa.Table:
        return pa.Table.from_pylist([self.trials[number] for number in sorted(self.trials)], TRIALS)

    def write(self, directory: Path) -> None:
        """Write both tables as Parquet, atomically."""
        for name, table in (
            (TRIALS_FILE, self._trial_table()),
            (CURVES_FILE, pa.Table.from_pylist(self.curves, CURVES)),
        ):
            part = directory / f".{name}.part"
            pq.write_table(table, part, compression="zstd")
            part.replace(directory / name)


def _frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas()


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
        self.tables = Tables()
        self.broken: OSError | None = None
        if journal.is_file():
            self.tables = _replay(journal)
            _cut_last_line(journal)
        self._journal = journal.open("a", encoding="utf-8")
        self._written, self._write_seconds = 0.0, 0.0
        self._record("session")

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

    def end(self, trial: int, status: str, reason: str | None, **columns: Any) -> None:
        """Record what became of a trial and what it spent."""
        self._record("end", trial=trial, status=status, reason=reason, ended_at=_now(), **columns)

    def _record(self, event: str, **values: Any) -> None:
        if self.broken is not None:
            return
        record = {"event": event, "at": _now(), **values}
        try:
            self._journal.write(json.dumps(record) + "\n")
            self._journal.flush()
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
        try:
            self.write()
            self._journal.close()
        except OSError as error:
            self.broken = self.broken or error


def _now() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Results:
    """A study directory, read.

    Attributes:
        directory: where it lies (of a URL: the local copy).
        trials: one row a trial; columns as `ressearch.results.schema.TRIALS`.
        curves: one row an epoch of a replicate; columns as `ressearch.results.schema.CURVES`.
        run: versions, machine, times and command of the run.
        study_text: the study file, verbatim.
    """

    directory: Path
    trials: pd.DataFrame
    curves: pd.DataFrame
    run: dict[str, Any]
    study_text: str

    def phase(self, *names: str) -> Results:
        """Return the results of some phases alone: ``search``, ``baseline``, ``final``."""
        trials = self.trials[self.trials["phase"].isin(names)]
        curves = self.curves[self.curves["trial"].isin(trials["trial"])]
        return dataclasses.replace(self, trials=trials, curves=curves)

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
    if (path / JOURNAL).is_file():
        tables = _replay(path / JOURNAL)
        tables.fill_spending(run)
        if not is_alive(run):
            for row in tables.trials.values():
                if row["status"] == "running":
                    row.update(status="interrupted", reason="the study's process ended")
        trials, curves = tables.frames()
    else:
        trials, curves = (_read_table(path / name) for name in (TRIALS_FILE, CURVES_FILE))
        for column in TRIALS.names:  # a table of an older version lacks the newer ones
            if column not in trials:
                trials[column] = "search" if column == "phase" else None
    study = path / STUDY_FILE
    return Results(path, trials, curves, run, study.read_text(encoding="utf-8") if study.is_file() else "")


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return _frame(pq.read_table(path))
    except FileNotFoundError:
        raise StudyError(f"{path}: missing, and there is no journal to make it from") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise StudyError(f"{path}: damaged: {str(error).splitlines()[0]}") from None


def _replay(journal: Path) -> Tables:
    """Read the journal back. A last line cut short by a kill is left out; a damaged line elsewhere is an error."""
    tables = Tables()
    lines = journal.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            tables.apply(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            if number == len(lines):
                break
            raise StudyError(f"{journal}:{number}: damaged line") from None
    return tables


def _cut_last_line(journal: Path) -> None:
    """Remove a last line that a kill cut short, so that the next event starts a line of its own."""
    with journal.open("rb+") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            file.truncate(end)


def require_study(path: Path, name: str | Path) -> None:
    """Raise StudyError if a directory holds no study; `name` is what the user calls it."""
    if not path.is_dir():
        raise StudyError(f"{name}: no such directory; `ressearch run STUDY.yaml --out {name}` makes one")
    if not (path / RUN_FILE).is_file():
        raise StudyError(f"{name}: holds no study (no {RUN_FILE})")


def read_run(directory: Path) -> dict[str, Any]:
    """Return what is known of the run: versions, machine, process, planned trials. Raises StudyError if damaged."""
    try:
        run = json.loads((directory / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{directory / RUN_FILE}: damaged: {error}") from None
    if not isinstance(run, dict):
        raise StudyError(f"{directory / RUN_FILE}: damaged: expected a mapping")
    return run


def write_run(directory: Path, run: dict[str, Any]) -> None:
    """Write what is known of the run, atomically."""
    part = directory / f".{RUN_FILE}.part"
    part.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    part.replace(directory / RUN_FILE)


def is_alive(run: dict[str, Any]) -> bool:
    """Return whether the process that writes the study still runs (unknown, so yes, on another machine)."""
    if run.get("ended_at") is not None:
        return False
    if run.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(run["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def to_record(result: Any) -> dict[str, Any]:
    """Return an `EpochResult` as a row of the curves."""
    return dataclasses.asdict(result)
