"""Which points a drawing finds and which it leaves out, and what a search is told of earlier studies, by hand."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from ressearch import Architecture, Study, results
from ressearch.results.schema import architecture_columns
from ressearch.search import drawing as module
from ressearch.search import earlier
from ressearch.search.drawing import Drawing
from ressearch.search.earlier import Earlier, Known, best_elsewhere, earlier_studies, first_points
from ressearch.spaces.trials import FixedTrial

INSIDE = [
    Architecture(depths=(depth,) * 3, widths=(width, 2 * width, 4 * width)) for depth in (1, 2) for width in (4, 5, 6)
]


def study(lrs: list[float] | None = None, trials: int = 6, **search: Any) -> Study:
    recipe = {"lr": {"tune": lrs}} if lrs else {}
    return Study.from_dict(
        {
            "space": {"search": {"depth": [8, 14], "width": {"low": 4, "high": 6}}},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 3, **recipe},
            "search": {"trials": trials, "sampler": "random", **search},
        }
    )


def everywhere(one: Study, is_quick: Any = lambda network: True) -> Drawing:
    return Drawing(one, is_quick)


def test_a_point_is_a_network_and_a_rate_where_rates_are_tuned() -> None:
    answers = {"depth": 14, "width": 5}
    assert everywhere(study()).point(FixedTrial(answers)) == (INSIDE[4], None)
    tuned = everywhere(study([0.2, 0.3]))
    assert tuned.point(FixedTrial({**answers, "lr": 0.3})) == (INSIDE[4], 0.3)
    assert everywhere(study(), lambda network: network != INSIDE[4]).point(FixedTrial(answers)) is None
    assert everywhere(study(constraints={"max_macs": "50k"})).point(FixedTrial(answers)) is None
    assert everywhere(study(constraints={"max_macs": "50k"})).found(FixedTrial(answers)) is None


def test_what_was_seen_is_not_fresh() -> None:
    drawing, trial = everywhere(study()), FixedTrial({"depth": 8, "width": 4})
    found = drawing.fresh(trial)
    assert found is not None
    assert (found.point, found.noted.params) == ((INSIDE[0], None), {"depth": 8, "width": 4})
    drawing.seen.add(found.point)
    assert drawing.fresh(trial) is None
    assert drawing.found(trial) is not None


def test_a_point_is_expressed_in_the_answers_that_lead_to_it() -> None:
    tuned = everywhere(study([0.2, 0.3]))
    found = tuned.expressed((INSIDE[1], 0.3))
    assert found is not None
    assert (found.point, found.noted.params) == ((INSIDE[1], 0.3), {"depth": 8, "width": 5, "lr": 0.3})
    assert tuned.expressed((Architecture.preset("resnet56-cifar"), 0.3)) is None
    assert everywhere(study()).expressed((INSIDE[1], 0.25)) is None  # the study tunes none
    assert everywhere(study(constraints={"max_macs": "50k"})).expressed((INSIDE[5], None)) is None


@pytest.mark.parametrize("draws", [0, 1, 20])
def test_a_small_space_is_drawn_to_its_last_point_each_once(draws: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAWS", draws)
    drawing = everywhere(study([0.2, 0.3]), lambda network: network != INSIDE[2])
    drawing.seen.add((INSIDE[3], 0.2))
    points = []
    while (found := drawing.draw(random.Random(len(points)))) is not None:
        drawing.seen.add(found.point)
        points.append(found.point)
    every = {(network, lr) for network in INSIDE if network != INSIDE[2] for lr in (0.2, 0.3)}
    assert len(points) == 9
    assert set(points) == every - {(INSIDE[3], 0.2)}
    assert drawing.draw(random.Random(0)) is None


def test_a_large_space_is_never_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAWS", 0)
    monkeypatch.setattr(module, "_RARE_DRAWS", 30)
    monkeypatch.setattr(module, "LISTED_POINTS", 5)
    asked: list[Architecture] = []
    drawing = everywhere(study(), lambda network: asked.append(network) or False)
    assert drawing.draw(random.Random(0)) is None
    assert len(asked) == 30
    monkeypatch.setattr(module, "LISTED_POINTS", 6)
    asked.clear()
    assert drawing.draw(random.Random(0)) is None
    assert len(asked) == 6


def read(monkeypatch: pytest.MonkeyPatch, one: Study, rows: list[dict[str, Any]], **run: Any) -> Earlier:
    """Read an earlier study of these rows."""
    columns = ["status", "recipe", "val_accuracy", "val_loss", *architecture_columns(INSIDE[0])]
    trials = pd.DataFrame(rows, columns=columns)

    def phase(*names: str) -> Any:
        assert names == ("search", "baseline")
        return SimpleNamespace(trials=trials)

    record = {"split_fingerprint": one.splits().fingerprint, **run}
    monkeypatch.setattr(results, "load", lambda directory: SimpleNamespace(run=record, phase=phase))
    one = one.model_copy(update={"search": one.search.model_copy(update={"warm_start": ("first",)})})
    (found,) = earlier_studies(one, everywhere(one))
    return found


def row(one: Study, network: Architecture, accuracy: float, status: str = "completed", **recipe: Any) -> dict[str, Any]:
    settings = {**one.recipe.with_lr(one.recipe.lrs[0]).model_dump(mode="json"), **recipe}
    scores = {"val_accuracy": accuracy, "val_loss": 1 - accuracy}
    return {"status": status, "recipe": json.dumps(settings), **scores, **architecture_columns(network)}


def test_of_an_earlier_study_what_was_trained_to_the_end_and_lies_in_this_space_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = study()
    rows = [
        row(one, INSIDE[0], 0.5),
        row(one, INSIDE[1], 0.6, status="stopped"),
        row(one, INSIDE[2], 0.7, seeds=[5, 6]),
        row(one, INSIDE[3], 0.8, epochs=4),
        row(one, Architecture.preset("resnet56-cifar"), 0.9),
        row(one, INSIDE[4], 0.4, replicates="separate", cuda_graph="off"),
    ]
    found = read(monkeypatch, one, rows)
    assert (found.directory, found.networks) == ("first", 5)
    known = [(each.found.point[0], each.values, each.is_comparable, each.is_same) for each in found.known]
    assert known == [
        (INSIDE[0], [0.5], True, True),
        (INSIDE[2], [0.7], True, False),
        (INSIDE[3], [0.8], False, False),
        (INSIDE[4], [0.4], True, False),
    ]
    assert "not comparable" in str(found.remark)
    other = read(monkeypatch, one, rows[:1], split_fingerprint="another")
    assert [(each.is_comparable, each.is_same) for each in other.known] == [(False, False)]
    both = read(monkeypatch, study(objective=["val_loss", "val_accuracy"]), rows[:1])
    assert both.known[0].values == [0.5, 0.5]
    assert read(monkeypatch, one, rows[:1]).remark is None


def test_where_rates_are_tuned_a_network_is_known_by_the_rate_it_was_trained_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuned = study([0.2, 0.3])
    rows = [row(tuned, INSIDE[0], 0.5, lr=0.3), row(tuned, INSIDE[1], 0.6, lr=0.25)]
    found = read(monkeypatch, tuned, rows)
    assert [(each.found.point, each.is_same) for each in found.known] == [((INSIDE[0], 0.3), True)]
    alone = study()  # which has one rate: networks are known by it, whatever they were trained with
    found = read(monkeypatch, alone, [row(alone, INSIDE[0], 0.5, lr=0.3)])
    assert [(each.found.point, each.is_comparable) for each in found.known] == [((INSIDE[0], None), False)]


def known(place: int, value: float, is_comparable: bool = False) -> Known:
    found: Any = f"network {place}"
    return Known(found, [value], is_comparable, False)


def test_what_is_remarked_of_an_earlier_study() -> None:
    assert Earlier("runs/first", 3, []).remark == (
        "runs/first: none of its 3 fully trained networks lies in this space"
    )
    assert Earlier("runs/first", 3, [known(1, 0.5, True)]).remark is None
    assert Earlier("runs/first", 3, [known(1, 0.5, True), known(2, 0.5)]).remark == (
        "runs/first: other data, split or recipe, so its accuracies are not comparable: the sampler is not told them, "
        "and its best networks are tried first instead"
    )


@pytest.mark.parametrize(
    ("trials", "objective", "first"),
    [
        (6, "val_accuracy", [2]),
        (20, "val_accuracy", [2, 5]),
        (40, "val_accuracy", [2, 5, 3, 1]),
        (99, "val_accuracy", [2, 5, 3, 1]),
        (30, "val_loss", [1, 5, 3]),
    ],
)
def test_the_best_of_each_earlier_study_come_in_turn_a_tenth_of_the_trials_at_the_most(
    trials: int, objective: str, first: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = study(objective=objective)
    monkeypatch.setitem(one.__dict__, "planned_trials", trials)
    studies = [
        Earlier("a", 9, [known(1, 0.2), known(2, 0.8), known(3, 0.5), known(4, 0.9, True)]),
        Earlier("b", 9, []),
        Earlier("c", 9, [known(5, 0.1)]),
    ]
    assert best_elsewhere(one, studies) == [f"network {place}" for place in first]
    assert best_elsewhere(one, []) == []


def test_points_to_try_first_have_their_answers_where_the_space_has_any() -> None:
    preset, name = Architecture.preset("resnet20-cifar"), INSIDE[5].name
    one = study([0.2, 0.3], points=["resnet20-cifar", {"depth": 8, "width": 6}, name, {"width": 4}])
    found = list(first_points(one, everywhere(one)))
    assert [point for point, _ in found[:3]] == [(preset, 0.2), (INSIDE[2], 0.2), (INSIDE[5], 0.2)]
    answers = [one and one.noted.params for _, one in found]
    assert answers[:3] == [None, {"depth": 8, "width": 6, "lr": 0.2}, {"depth": 14, "width": 6, "lr": 0.2}]
    assert answers[3] in [{"depth": depth, "width": 4, "lr": 0.2} for depth in (8, 14)]
    assert list(earlier.first_points(study(), everywhere(study()))) == []
