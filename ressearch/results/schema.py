"""The two tables of a study: one row per trial, and one row per epoch of a replicate. Column names are the API.

`trials`: what was trained (Architecture fields, cost), how (recipe, seeds), what became of it (`status`, `reason`),
what it reached, and what it spent. `curves`: the learning curve of every seed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ressearch.errors import StudyError
from ressearch.networks.architecture import Architecture
from ressearch.results.status import Status

PHASES = {
    "search": "proposed by the study's sampler, or a point of its grid",
    "baseline": "drawn at random, to compare the search with",
    "final": "one of the best, trained again on fresh seeds and scored on the test part",
}
"""What a trial is for."""

_INTS = pa.list_(pa.int64())
_ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_()}


def _arrow_type(field: dataclasses.Field[Any]) -> pa.DataType:
    """Return a column's type from an Architecture field's annotation; numbers that may be one per stage are lists."""
    annotation = str(field.type)
    if field.name == "skip_options":
        return pa.string()
    if "tuple" in annotation:
        return pa.list_(pa.float64() if "float" in annotation else pa.int64())
    return _ARROW_TYPES[annotation.removesuffix(" | None")]


TRIALS = pa.schema(
    [
        ("trial", pa.int64()),
        ("phase", pa.string()),
        ("name", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("depth", pa.int64()),
        ("params", pa.int64()),
        ("macs", pa.int64()),
        ("activations", pa.int64()),
        ("latency", pa.float64()),
        ("epochs", pa.int64()),
        ("val_accuracy", pa.float64()),
        ("val_accuracy_std", pa.float64()),
        ("best_val_accuracy", pa.float64()),
        ("val_loss", pa.float64()),
        ("train_accuracy", pa.float64()),
        ("train_loss", pa.float64()),
        ("test_accuracy", pa.float64()),
        ("test_accuracy_std", pa.float64()),
        ("test_loss", pa.float64()),
        ("seeds", _INTS),
        ("seed_val_accuracies", pa.list_(pa.float64())),
        ("seed_test_accuracies", pa.list_(pa.float64())),
        ("started_at", pa.timestamp("ms", tz="UTC")),
        ("ended_at", pa.timestamp("ms", tz="UTC")),
        ("wall_seconds", pa.float64()),
        ("train_seconds", pa.float64()),
        ("device_seconds", pa.float64()),
        ("macs_trained", pa.float64()),
        ("device", pa.string()),
        ("engine", pa.string()),
        ("grouped", pa.bool_()),
        ("channels_last", pa.bool_()),
        ("lr", pa.float64()),
        ("proposal", pa.int64()),
        ("answers", pa.string()),
        ("of_trial", pa.int64()),
        *((field.name, _arrow_type(field)) for field in dataclasses.fields(Architecture)),
        ("recipe", pa.string()),
    ]
)
"""One row per trial. `latency` is the median of a forward pass of one input, in seconds, measured where the trial ran;
null unless the study bounds or optimises it. Accuracies are fractions, means over seeds at the last epoch run
(`best_` at the best epoch); `test_` columns are the finalists' alone (`of_trial` is whom they repeat); `proposal` is
the trial's number in the Optuna study, and `answers` what its sampler chose for each key of the space (JSON); `lr`
is the peak learning rate, `engine` how the seeds were run, `grouped` (seeds as one network) and `channels_last`
(memory layout) what a warm-up may have chosen of it; `train_seconds` sums the epochs of all seeds, `device_seconds`
multiplies that by the trial's share of devices (its GPUs, else its CPU cores); `macs_trained` counts forward and
backward passes as three forward ones. Then Architecture's fields: those that may be one number or one per stage are
lists; `skip_options` and `recipe` are JSON."""

CURVES = pa.schema(
    [
        ("trial", pa.int64()),
        ("seed", pa.int64()),
        ("epoch", pa.int64()),
        ("lr", pa.float64()),
        ("train_loss", pa.float64()),
        ("train_accuracy", pa.float64()),
        ("val_loss", pa.float64()),
        ("val_accuracy", pa.float64()),
        ("seconds", pa.float64()),
    ]
)
"""One row for each epoch of each replicate (`trial`, `seed`); losses are cross-entropies in nats."""


_OPEN = {status for status in Status if status.is_open}


def is_open(row: Mapping[str, Any]) -> bool:
    """Return whether a trial on record has not ended: it trains, or was interrupted."""
    return row["status"] in _OPEN


def macs_trained(row: Mapping[str, Any], examples: int, epochs: int) -> float:
    """Return the MACs of some epochs of a trial's replicates, forward and backward passes as three forward ones."""
    macs: float = row["macs"]
    return 3.0 * macs * examples * epochs * len(row["seeds"])


def architecture_columns(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture's fields as columns of the trial table."""
    columns = architecture.to_dict()
    columns["skip_options"] = json.dumps(columns["skip_options"])
    for key, value in columns.items():
        if pa.types.is_list(TRIALS.field(key).type) and isinstance(value, int | float):
            columns[key] = [value]
    return columns


def architecture_of(row: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a row of the trial table; undoes `architecture_columns`.

    A table of an older version lacks the newer fields; they take their defaults.

    Raises StudyError if the row describes no network.
    """
    try:
        values = {field.name: _plain(field.name, row[field.name]) for field in _FIELDS if field.name in row}
        return Architecture(**{key: value for key, value in values.items() if value is not None or key in _NULLABLE})
    except (ValueError, TypeError, OverflowError) as error:
        raise StudyError(f"trial {row.get('trial')}: what is on record is no network: {error}") from None


_FIELDS = dataclasses.fields(Architecture)
_NULLABLE = {field.name for field in _FIELDS if "None" in str(field.type)}


def _plain(key: str, value: Any) -> Any:
    """Return one column's value as Architecture takes it."""
    kind = TRIALS.field(key).type
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if key == "skip_options":
        return json.loads(value)
    if pa.types.is_list(kind):
        number = float if pa.types.is_floating(kind.value_type) else int
        numbers = tuple(number(one) for one in value) if hasattr(value, "__len__") else (number(value),)
        return numbers[0] if len(numbers) == 1 and key not in ("depths", "widths", "strides") else numbers
    if pa.types.is_integer(kind):
        return int(value)
    return bool(value) if pa.types.is_boolean(kind) else value
