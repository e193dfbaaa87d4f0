"""Picking, aggregating, ranking and typing, on tables made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from results.made import RUN, curves, results, row

import ressearch.picking.pick
from ressearch import Architecture, cost, pick
from ressearch.errors import BudgetError, PluginError, StudyError
from ressearch.networks.cost import Cost
from ressearch.picking.field import Field
from ressearch.picking.pick import Pick, cheapest_alike

# trial 3 is best; its seeds differ by 0.04, so that a standard error is 0.02
ROWS = [
    row(0, 0.60, 50, val_accuracy_std=0.1, seed_val_accuracies=[0.55, 0.65]),
    row(1, 0.885, 200, val_accuracy_std=None, seed_val_accuracies=[0.885]),
    row(2, 0.88, 300, val_accuracy_std=math.nan, seed_val_accuracies=[0.88]),
    row(3, 0.90, 400, val_accuracy_std=0.03, seed_val_accuracies=[0.88, 0.92]),
    row(4, 0.90, 500),
    row(5, 0.99, 10, status="stopped", recipe='{"lr": 0.1, "epochs": 8}', train_seconds=6.0),
    row(6, 0.99, 10, phase="final"),
    row(7, 0.99, 10, phase="baseline"),
]
CURVES = curves((3, 0.88, 0.92), (0, 0.55, 0.65))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have `pick` find the results that a test sets."""
    holder: dict[str, Any] = {"results": results(ROWS, CURVES)}

    def load(directory: Any) -> Any:
        assert directory == "somewhere"
        return holder["results"]

    monkeypatch.setattr(ressearch.picking.pick, "load", load)
    return holder


def test_the_pick_is_the_best_that_was_trained_to_the_end_in_the_search(made: Any) -> None:
    found = pick("somewhere")
    network = Architecture(depths=(1,), widths=(5,))
    assert (found.trial, found.candidates, found.architecture) == (3, 5, network)
    assert (found.val_accuracy, found.val_accuracy_std, found.seed_val_accuracies) == (0.90, 0.03, (0.88, 0.92))
    assert found.cost == cost(network, (3, 32, 32), 10)
    assert found.cheaper is not None
    assert (found.cheaper.trial, found.cheaper.val_accuracy, found.cheaper.candidates) == (1, 0.885, 5)
    assert (found.cheaper.val_accuracy_std, found.cheaper.seed_val_accuracies) == (None, (0.885,))
    assert found.cheaper.cheaper is None


def test_a_pick_costs_what_it_costs_on_the_studys_data(made: Any) -> None:
    made["results"] = results(ROWS, CURVES, {**RUN, "input_shape": [1, 8, 8], "num_classes": 7})
    assert pick("somewhere").cost == cost(Architecture(depths=(1,), widths=(5,)), (1, 8, 8), 7)


@pytest.mark.parametrize(
    ("bounds", "trial", "candidates", "cheaper"),
    [
        ({"max_macs": 400}, 3, 4, 1),
        ({"max_macs": 399}, 1, 3, None),
        ({"max_macs": "0.2k"}, 1, 2, None),
        ({"max_macs": 199}, 0, 1, None),
        ({"max_params": 30}, 1, 3, None),
        ({"max_params": 10}, 0, 1, None),
        ({"max_activations": 21}, 1, 3, None),
        ({"max_activations": 7}, 0, 1, None),
        ({"max_params": 40, "max_macs": 250}, 1, 2, None),
    ],
    ids=str,
)
def test_the_pick_is_within_each_bound(
    bounds: dict[str, Any], trial: int, candidates: int, cheaper: int | None, made: Any
) -> None:
    found = pick("somewhere", **bounds)
    assert (found.trial, found.candidates) == (trial, candidates)
    assert (found.cheaper.trial if found.cheaper else None) == cheaper
    if set(bounds) == {"max_macs"}:
        assert pick("somewhere", None, bounds["max_macs"]).trial == trial


def test_a_study_that_has_nothing_to_pick_says_so(made: Any) -> None:
    with pytest.raises(BudgetError) as caught:
        pick("somewhere", max_params=9, max_macs=49)
    assert str(caught.value) == (
        "somewhere: none of the 5 fully trained networks fits the budget (params <= 9, macs <= 49); "
        "the nearest, basic-d1-w2 (trial 0), has params 10 and macs 50"
    )
    with pytest.raises(BudgetError, match="max_macs: 'lots' is not a count"):
        pick("somewhere", max_macs="lots")
    made["results"] = results(ROWS[5:], [])
    with pytest.raises(StudyError) as caught_none:
        pick("somewhere")
    said = "somewhere: no trial has trained every epoch yet, so there is nothing to pick from"
    assert str(caught_none.value) == said


def test_the_networks_of_plugins_are_picked_only_if_their_code_may_run(made: Any) -> None:
    plugins = {"some_module_that_is_not": {"sha256": "0", "registers": [["blocks", "mine"]]}}
    made["results"] = results(ROWS, CURVES, {**RUN, "plugins": plugins})
    with pytest.raises(PluginError, match=r"^somewhere.*some_module_that_is_not.*--allow-plugins"):
        pick("somewhere")
    with pytest.raises(PluginError, match="some_module_that_is_not") as caught:
        pick("somewhere", allow_plugins=True)
    assert "--allow-plugins" not in str(caught.value)


def test_a_loss_is_picked_by_the_least(made: Any) -> None:
    losses = [0.5, 0.52, 0.48, 0.7, 0.9]
    rows = [{**one, "val_loss": loss} for one, loss in zip(ROWS, losses, strict=False)]
    points = [{**one, "val_loss": loss} for one, loss in zip(curves((2, 0, 0)), (0.46, 0.50, 9, 9), strict=True)]
    run = {**RUN, "study": {"search": {"objective": ["val_loss", "macs"]}}}
    made["results"] = results(rows, points, run)
    found = pick("somewhere")
    assert (found.trial, found.cheaper.trial if found.cheaper else None) == (2, 0)  # a standard error is 0.02
    made["results"] = results([{**rows[0], "val_loss": 0.501}, *rows[1:]], points, run)
    assert pick("somewhere").cheaper is None


@pytest.mark.parametrize(
    ("seeds", "cheaper"),
    [
        ((0.88, 0.92), 1),  # within 0.02: trials 1 and 2; the cheaper of them
        ((0.895, 0.905), None),
        ((0.87, 0.93), 1),
        ((0.2, 1.6), 0),
        ((0.9,), None),  # one seed: no error is known
        ((0.885, 0.9, 0.915), None),  # 0.015 / sqrt 3 = 0.0087
        ((0.87, 0.9, 0.93), 1),  # 0.03 / sqrt 3 = 0.0173
    ],
)
def test_the_cheapest_alike_is_within_one_standard_error(seeds: tuple[float, ...], cheaper: int | None) -> None:
    rows = [{**one, "val_loss": 1 - one["val_accuracy"], "seed_val_accuracies": None} for one in ROWS[:5]]
    points = [{**one, "val_loss": 1 - one["val_accuracy"]} for one in curves((3, *seeds), (1, 0, 1))]  # type: ignore[arg-type]
    run = {**RUN, "study": {"search": {"objective": ["val_loss"]}}}
    field = Field.of([results(rows, points, run)])
    assert [one.record.trial for one in field] == [3, 4, 1, 2, 0]
    best = cheapest_alike(field, field.entrants)
    assert (best.record.trial if best else None) == cheaper


def test_of_equally_cheap_networks_the_earliest_is_alike() -> None:
    rows = [row(0, 0.9, 400), row(1, 0.9, 100), row(2, 0.9, 100), row(3, 0.9, 400)]
    field = Field.of([results(rows, curves((0, 0.9, 0.9)))])
    by_trial = {one.record.trial: one for one in field}
    best = cheapest_alike(field, [by_trial[at] for at in (0, 2, 1, 3)])
    assert best is not None
    assert best.record.trial == 1


PICK = Pick(
    Architecture(depths=(1,), widths=(5,)),
    Path("runs/a"),
    3,
    Cost(1500, 2_000_000, 700),
    0.91234,
    0.0123,
    (0.9, 0.92468),
    5,
)


def test_a_pick_reads_as_three_lines() -> None:
    assert str(PICK) == (
        "basic-d1-w5\n  depth 4, 1.5k params, 2M MACs, 700 activations\n  val_accuracy 0.9123 (sd 0.0123 over 2 seeds)"
    )
    alone = Pick(PICK.architecture, PICK.directory, 3, PICK.cost, 0.5, None, (0.5,), 5)
    assert str(alone) == "basic-d1-w5\n  depth 4, 1.5k params, 2M MACs, 700 activations\n  val_accuracy 0.5000"


def test_a_pick_is_json_ready() -> None:
    both = Pick(PICK.architecture, PICK.directory, 4, PICK.cost, 0.5, None, (0.5,), 6, cheaper=PICK)
    plain = {
        "name": "basic-d1-w5",
        "directory": "runs/a",
        "estimate": None,
        "low": None,
        "high": None,
        "probability_of_best": None,
        "tied": [],
        "trial": 3,
        "depth": 4,
        "params": 1500,
        "macs": 2_000_000,
        "activations": 700,
        "val_accuracy": 0.91234,
        "val_accuracy_std": 0.0123,
        "seed_val_accuracies": [0.9, 0.92468],
        "candidates": 5,
        "cheaper": None,
    }
    found = both.to_dict()
    inner = found.pop("cheaper")
    for written in (found, inner):
        assert written.pop("architecture")["widths"] == [5]
        written.pop("saved", None)
    assert inner == plain
    changed = {"trial": 4, "val_accuracy": 0.5, "val_accuracy_std": None, "seed_val_accuracies": [0.5], "candidates": 6}
    assert found == {key: value for key, value in {**plain, **changed}.items() if key != "cheaper"}
