"""The Parquet tables as a second copy of the record: what they hold that a damaged journal lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ressearch.errors import StudyError
from ressearch.results.schema import CURVES, TRIALS, is_open

TRIALS_FILE, CURVES_FILE = "trials.parquet", "curves.parquet"

_NEVER_NULL = {
    TRIALS_FILE: ("trial", "status", "epochs", "name", "depth", "params", "macs", "activations", "seeds", "recipe"),
    CURVES_FILE: ("trial", "seed", "epoch", "val_accuracy"),
}
"""Columns without which a row of a table says nothing."""

Row = dict[str, Any]
Lost = Callable[[Mapping[int, Row]], Iterator[tuple[Row, list[Row]]]]


def read_table(path: Path) -> pa.Table:
    """Return one of the tables, with the columns of the schema. Raises StudyError if it is missing or damaged."""
    schema = TRIALS if path.name == TRIALS_FILE else CURVES
    try:
        table = pq.read_table(path)
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names  # a table of an older version lacks the newer ones
            else pa.array(["search" if field.name == "phase" else None] * len(table), field.type)
            for field in schema
        ]
        for key in _NEVER_NULL[path.name]:
            if (absent := table[key].null_count if key in table.column_names else len(table)) > 0:
                raise ValueError(f"{absent} rows have no {key}")
        return pa.table(columns, schema)
    except FileNotFoundError:
        raise StudyError(f"{path}: missing, and there is no journal to make it from") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StudyError(f"{path}: damaged: {str(error).splitlines()[0]}") from None


def read_both(directory: Path) -> tuple[pa.Table, pa.Table] | None:
    """Return the trials and the curves of a study directory, None where it has neither table.

    Raises StudyError if one of them is missing or damaged.
    """
    if not (directory / TRIALS_FILE).exists() and not (directory / CURVES_FILE).exists():
        return None
    return read_table(directory / TRIALS_FILE), read_table(directory / CURVES_FILE)


def rows_of(trials: pa.Table) -> list[Row]:
    """Return a table of trials as rows that a journal could hold: times in milliseconds since 1970."""
    rows: list[Row] = trials.to_pylist()
    for row in rows:
        for key in ("started_at", "ended_at"):
            row[key] = None if row[key] is None else round(row[key].timestamp() * 1000)
    return rows


def lost_rows(directory: Path, journal: Path) -> Lost:
    """Return what, given the trials of a journal, yields those trials of the tables of which the journal knows less.

    The tables are read here, before the journal is: a journal that is being written holds what they do.

    Raises StudyError if there is no journal and a table is damaged; where there is one, a damaged table is no loss.
    """
    try:
        found = read_both(directory)
    except StudyError:
        if not journal.is_file():
            raise
        found = None
    if found is None:
        return lambda known: iter(())
    trials, curves = found

    def lost(known: Mapping[int, Row]) -> Iterator[tuple[Row, list[Row]]]:
        keys = zip(*(trials[name].to_pylist() for name in ("trial", "status", "epochs")), strict=True)
        missing = [at for at, key in enumerate(keys) if _knows_less(known.get(key[0]), *key[1:])]
        if not missing:
            return
        points: dict[int, list[Row]] = {}
        for point in curves.to_pylist():
            points.setdefault(point["trial"], []).append(point)
        for row in rows_of(trials.take(missing)):
            yield row, points.get(row["trial"], [])

    return lost


def _knows_less(known: Row | None, status: str, epochs: int) -> bool:
    """Return whether a journal's row of a trial has less on record than a table's."""
    if known is None or known["epochs"] < epochs:
        return True
    return is_open(known) and not is_open({"status": status})
