"""The two tables of a study: one row a trial, and one row an epoch of a replicate. Column names are the API.

`trials`: what was trained (Architecture fields, cost), how (recipe, seeds), what became of it (`status`, `reason`),
what it reached, and what it spent. `curves`: the learning curve of every seed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ressearch.architecture import Architecture

STATUSES = {
    "running": "training now",
    "completed": "trained every epoch",
    "stopped": "ended early by the scheduler",
    "diverged": "the loss was no longer a number",
    "failed": "raised, ran out of memory or lost its process",
    "interrupted": "was training when the study was stopped",
}
"""What can become of a trial."""

_INTS = pa.list_(pa.int64())

TRIALS = pa.schema(
    [
        ("trial", pa.int64()),
        ("name", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("depth", pa.int64()),
        ("params", pa.int64()),
        ("macs", pa.int64()),
        ("activations", pa.int64()),
        ("epochs", pa.int64()),
        ("val_accuracy", pa.float64()),
        ("val_accuracy_std", pa.float64()),
        ("best_val_accuracy", pa.float64()),
        ("val_loss", pa.float64()),
        ("train_accuracy", pa.float64()),
        ("train_loss", pa.float64()),
        ("seeds", _INTS),
        ("seed_val_accuracies", pa.list_(pa.float64())),
        ("started_at", pa.timestamp("ms", tz="UTC")),
        ("ended_at", pa.timestamp("ms", tz="UTC")),
        ("wall_seconds", pa.float64()),
        ("train_seconds", pa.float64()),
        ("device_seconds", pa.float64()),
        ("macs_trained", pa.float64()),
        ("device", pa.string()),
        ("block", pa.string()),
        ("depths", _INTS),
        ("widths", _INTS),
        ("strides", _INTS),
        ("bottleneck_ratio", pa.float64()),
        ("group_width", _INTS),
        ("se_ratio", pa.float64()),
        ("kernel_size", pa.int64()),
        ("activation", pa.string()),
        ("norm", pa.string()),
        ("norm_order", pa.string()),
        ("skip", pa.string()),
        ("skip_options", pa.string()),
        ("shortcut", pa.string()),
        ("stem", pa.string()),
        ("stem_width", pa.int64()),
        ("recipe", pa.string()),
    ]
)
"""One row a trial. Accuracies are fractions, means over seeds at the last epoch run (`best_` at the best epoch);
`train_seconds` sums the epochs of all seeds, `device_seconds` multiplies that by the trial's share of devices (its
GPUs, else its CPU cores); `macs_trained` counts forward and backward passes as three forward ones; `group_width`
holds one number, one a stage, or none; `skip_options` and `recipe` are JSON."""

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


def architecture_columns(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture's fields as columns of the trial table."""
    columns = architecture.to_dict()
    columns["skip_options"] = json.dumps(columns["skip_options"])
    if isinstance(columns["group_width"], int):
        columns["group_width"] = [columns["group_width"]]
    return columns


def architecture_of(row: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a row of the trial table; undoes `architecture_columns`."""
    fields: dict[str, Any] = {field.name: row[field.name] for field in dataclasses.fields(Architecture)}
    for key in ("depths", "widths", "strides"):
        fields[key] = tuple(int(number) for number in fields[key])
    for key in ("kernel_size", "stem_width"):
        fields[key] = int(fields[key])
    groups = fields["group_width"]
    if groups is not None:
        numbers = tuple(int(number) for number in groups)
        fields["group_width"] = numbers[0] if len(numbers) == 1 and len(fields["depths"]) != 1 else numbers
    fields["skip_options"] = json.loads(fields["skip_options"])
    return Architecture(**fields)
