"""Hand-made records: events, rows and results, each as a study would leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ressearch import Architecture, cost
from ressearch.results.progress import Progress
from ressearch.results.schema import CURVES, TRIALS, architecture_columns
from ressearch.results.store import Results
from ressearch.results.tables import Tables

RUN: dict[str, Any] = {"name": "made", "planned_trials": 3, "input_shape": [3, 32, 32], "num_classes": 10, "record": 1}


def point(epoch: int = 1, seed: int = 0, accuracy: float = 0.5, **values: Any) -> dict[str, Any]:
    """Return what one epoch of a replicate reached."""
    return {
        "seed": seed,
        "epoch": epoch,
        "lr": 0.1,
        "train_loss": 2.0,
        "train_accuracy": 0.25,
        "val_loss": 1.5,
        "val_accuracy": accuracy,
        "seconds": 3.0,
        **values,
    }


def start(trial: int = 0, at: int | None = 1000, width: int = 4, **values: Any) -> dict[str, Any]:
    """Return the event of a trial's start."""
    network = Architecture(depths=(1,), widths=(width,))
    return {
        "event": "start",
        "at": at,
        "trial": trial,
        "name": network.name,
        "started_at": 1000,
        "depth": network.depth,
        "recipe": "{}",
        "seeds": [0, 1],
        "lr": 0.1,
        **cost(network)._asdict(),
        **architecture_columns(network),
        **values,
    }


def epoch(trial: int = 0, number: int = 1, at: int | None = 2000, **values: Any) -> dict[str, Any]:
    """Return the event of an epoch of two replicates."""
    results = [point(number, 0, 0.5), point(number, 1, 0.7)]
    return {"event": "epoch", "at": at, "trial": trial, "results": results, **values}


def end(trial: int = 0, status: str = "completed", at: int | None = 5000, **values: Any) -> dict[str, Any]:
    """Return the event of a trial's end."""
    return {"event": "end", "at": at, "trial": trial, "status": status, "reason": None, "ended_at": 5000, **values}


def told(*events: dict[str, Any]) -> Tables:
    """Return what some events add up to."""
    tables = Tables()
    for event in events:
        tables.apply(event)
    return tables


def row(trial: int, accuracy: float | None, macs: int = 100, **values: Any) -> dict[str, Any]:
    """Return a row of the trial table; its network is as wide as its number says."""
    network = Architecture(depths=(1,), widths=(trial + 2,))
    return {
        **dict.fromkeys(TRIALS.names),
        **architecture_columns(network),
        "trial": trial,
        "phase": "search",
        "name": network.name,
        "status": "completed",
        "depth": network.depth,
        "params": 10 * (trial + 1),
        "macs": macs,
        "activations": 7 * (trial + 1),
        "epochs": 2,
        "seeds": [0, 1],
        "val_accuracy": accuracy,
        "recipe": "{}",
        **values,
    }


def results(rows: list[dict[str, Any]], curves: list[dict[str, Any]], run: dict[str, Any] = RUN) -> Results:
    """Return the results of a study of these rows."""
    trials = pd.DataFrame(rows, columns=TRIALS.names)
    progress = Progress(len(rows), len(rows), (), {})
    return Results(Path("made"), trials, pd.DataFrame(curves, columns=CURVES.names), run, "", progress)


def curves(*last: tuple[int, float, float]) -> list[dict[str, Any]]:
    """Return learning curves of two epochs and two seeds whose last accuracies are these, by trial."""
    return [
        {"trial": trial, **point(epoch, seed, accuracy if epoch == 2 else 0.01)}
        for trial, *accuracies in last
        for epoch in (2, 1)
        for seed, accuracy in enumerate(accuracies)
    ]
