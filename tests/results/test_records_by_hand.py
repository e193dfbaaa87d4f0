"""Records, aggregates and objectives, on tables made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from results.made import curves, results, row

from ressearch import Architecture
from ressearch.networks.cost import Cost
from ressearch.results.aggregate import replicates, spent
from ressearch.results.ranking import OBJECTIVES, Objective, ranked, ranked_table
from ressearch.results.record import TrialRecord
from ressearch.results.status import Status

# trial 3 is best; its seeds differ by 0.04, so that a standard error is 0.02
ROWS = [
    row(0, 0.60, 50, val_accuracy_std=0.1, seed_val_accuracies=[0.55, 0.65]),
    row(1, 0.885, 200, val_accuracy_std=None, seed_val_accuracies=[0.885]),
    row(2, 0.88, 300, val_accuracy_std=math.nan, seed_val_accuracies=[0.88]),
    row(3, 0.90, 400, val_accuracy_std=0.03, seed_val_accuracies=[0.88, 0.92]),
    row(4, 0.90, 500),
    row(5, 0.99, 10, status="stopped"),
    row(6, 0.99, 10, phase="final"),
    row(7, 0.99, 10, phase="baseline"),
]
CURVES = curves((3, 0.88, 0.92), (0, 0.55, 0.65))


def test_replicates_are_rows_of_the_last_epoch_in_order() -> None:
    found = replicates(results(ROWS[::-1], curves((3, 0.88, 0.92), (0, 0.55, 0.65))))
    assert list(zip(found["trial"], found["seed"], found["epoch"], found["val_accuracy"], strict=True)) == [
        (0, 0, 2, 0.55),
        (0, 1, 2, 0.65),
        (3, 0, 2, 0.88),
        (3, 1, 2, 0.92),
    ]
    assert list(found.index) == [0, 1, 2, 3]
    assert found["name"].tolist() == ["basic-d1-w2"] * 2 + ["basic-d1-w5"] * 2
    assert found["macs"].tolist() == [50, 50, 400, 400]
    own = ["name", "status", "depth", "params", "macs", "block", "skip", "norm_order"]
    losses = ["epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"]
    assert list(found) == ["trial", "seed", *losses, *own]


def test_what_was_spent_is_summed_by_status() -> None:
    rows = [
        row(0, 0.5, epochs=2, seeds=[0, 1], macs_trained=10.0, train_seconds=1.0, device_seconds=2.0),
        row(1, 0.5, epochs=3, seeds=[0, 1, 2], macs_trained=20.0, train_seconds=2.0, device_seconds=4.0),
        row(2, None, epochs=1, seeds=[0], macs_trained=5.0, train_seconds=0.5, device_seconds=1.0, status="failed"),
    ]
    found = spent(results(rows, []))
    columns = ["trials", "replicate_epochs", "macs_trained", "train_seconds", "device_seconds"]
    assert (list(found.index), list(found)) == (["completed", "failed", "total"], columns)
    assert found.to_numpy().tolist() == [[2, 13, 30, 3, 6], [1, 1, 5, 0.5, 1], [3, 14, 35, 3.5, 7]]
    assert found["trials"].dtype.kind == found["replicate_epochs"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("name", "is_more", "mode", "words"),
    [
        ("val_accuracy", True, "max", "validation accuracy"),
        ("val_loss", False, "min", "validation loss"),
        ("params", False, "min", "params"),
        ("macs", False, "min", "macs"),
        ("activations", False, "min", "activations"),
    ],
)
def test_each_objective_has_a_direction_and_a_name(name: str, is_more: bool, mode: str, words: str) -> None:
    found = Objective.named(name)
    assert (found, found.mode, found.words) == (Objective(name, is_more), mode, words)
    assert found.is_better(2, 1) is is_more
    assert found.is_better(1, 2) is not is_more
    assert not found.is_better(1, 1)
    assert name in OBJECTIVES
    assert Objective.of({"study": {"search": {"objective": [name]}}}) == found
    assert Objective.of({"study": {"search": {"objective": [name, "params"]}}}) == found


@pytest.mark.parametrize(
    "run", [{}, {"study": {}}, {"study": {"search": {}}}, {"study": {"search": {"objective": []}}}]
)
def test_a_study_that_names_no_objective_seeks_accuracy(run: dict[str, Any]) -> None:
    assert Objective.of(run) == Objective("val_accuracy", True)


def test_ranking_sorts_by_value_then_macs_then_number() -> None:
    rows = [
        row(5, 0.5, 10),
        row(4, 0.5, 10),
        row(3, 0.5, 9),
        row(2, 0.9, 99),
        row(1, 0.1, 1),
        row(0, 1.0, 1, status="failed"),
    ]
    table = pd.DataFrame(rows)
    by_accuracy, by_macs = Objective.named("val_accuracy"), Objective.named("macs")
    assert [one["trial"] for one in ranked(rows, by_accuracy)] == [2, 3, 4, 5, 1]
    assert ranked_table(table, by_accuracy)["trial"].tolist() == [2, 3, 4, 5, 1]
    assert [one["trial"] for one in ranked(rows, by_macs)] == [1, 3, 4, 5, 2]
    assert ranked_table(table, by_macs)["trial"].tolist() == [1, 3, 4, 5, 2]
    assert by_accuracy.key(rows[0]) == (-0.5, 10, 5)
    assert by_macs.key(rows[0]) == (10.0, 10, 5)


def test_a_record_holds_none_for_what_is_not_known() -> None:
    values = {"lr": 0.1, "val_loss": 1.5, "seed_val_accuracies": [0, 1], "seed_test_accuracies": [0.25]}
    made = {
        **row(3, 0.5, 400, status="diverged", phase="final", reason="why", test_accuracy=0.75),
        **values,
        "of_trial": 2.0,
    }
    found = TrialRecord.from_row(made)
    assert found == TrialRecord(
        3, "final", "basic-d1-w5", Status.DIVERGED, "why", 4, Cost(40, 400, 28), 2, (0, 1), 0.1, 0.5, 1.5,
        (0.0, 1.0), 0.75, (0.25,), 2, made,
    )  # fmt: skip
    assert [type(one) for one in found.seed_val_accuracies] == [float, float]
    assert isinstance(found.of_trial, int)
    assert found.architecture == Architecture(depths=(1,), widths=(5,))
    optional = ("reason", "lr", "val_accuracy", "val_loss", "test_accuracy", "of_trial")
    lists = ("seed_val_accuracies", "seed_test_accuracies")
    needed = {key: value for key, value in made.items() if key not in (*optional, *lists)}
    for absent in ({}, dict.fromkeys((*optional, *lists)), dict.fromkeys((*optional, *lists), math.nan)):
        found = TrialRecord.from_row({**needed, **absent})
        assert [getattr(found, key) for key in optional] == [None] * 6
        assert [getattr(found, key) for key in lists] == [(), ()]


def test_each_status_says_what_it_means() -> None:
    assert {status.value: (status.summary, status.is_open) for status in Status} == {
        "running": ("training now", True),
        "completed": ("trained every epoch", False),
        "stopped": ("ended early by the scheduler, or because the budget was spent", False),
        "diverged": ("the loss was no longer a number", False),
        "failed": ("raised, ran out of memory or lost its process", False),
        "interrupted": ("was training when the study was stopped", True),
    }
    assert Status("failed") is Status.FAILED
    assert Path(Status.FAILED).name == "failed"
