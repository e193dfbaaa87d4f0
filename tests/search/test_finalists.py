"""Which trials the phases of a study train, against records made by hand whose right answer is in the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ressearch import Architecture, Study, cost
from ressearch.results import Store
from ressearch.search.phases import Phase, phases
from ressearch.search.proposer import Proposer
from ressearch.training import Recipe

NETWORKS = [Architecture(depths=(1, 1), widths=(width, 2 * width)) for width in range(4, 12)]


def study(recipe: dict[str, Any] | None = None, **search: Any) -> Study:
    return Study.from_dict(
        {
            "space": {"search": {"depths": [[1, 1]], "widths": [[w, 2 * w] for w in range(4, 16)]}},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 6, "seeds": 2, **(recipe or {})},
            "search": {"trials": 6, "sampler": "random", **search},
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def put(
    store: Store,
    searched: Study,
    trial: int,
    accuracy: float,
    *,
    loss: float = 1.0,
    network: int | None = None,
    status: str = "completed",
    phase: str = "search",
    epochs: int = 6,
    lr: float | None = None,
) -> None:
    """Record a trial that reached these values."""
    recipe = searched.recipe.with_lr(lr)
    architecture = NETWORKS[trial if network is None else network]
    price = cost(architecture, (1, 8, 8), 3)
    store.start(trial, architecture, price, recipe.model_dump_json(), (0, 1), recipe.peak_lr, phase=phase)
    for epoch in range(1, epochs + 1):
        values = {"epoch": epoch, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5, "seconds": 1.0}
        store.epoch(trial, [{"seed": seed, **values, "val_loss": loss, "val_accuracy": accuracy} for seed in (0, 1)])
    if status not in ("running",):
        store.end(trial, status, None)


def put_final(store: Store, recipe: Recipe, number: int, of_trial: int, status: str) -> None:
    """Record a finalist."""
    network = NETWORKS[of_trial]
    columns = {"phase": "final", "of_trial": of_trial}
    store.start(number, network, cost(network, (1, 8, 8), 3), recipe.model_dump_json(), recipe.seeds, 0.1, **columns)
    store.end(number, status, None)


def configs(phase: Phase) -> list[dict[str, Any]]:
    found = []
    while (config := phase.searcher.suggest("x")) != Proposer.FINISHED:
        found.append(config)
    return found


def of(searched: Study, store: Store, tmp_path: Path) -> dict[str, Phase]:
    return {phase.name: phase for phase in phases(searched, store, tmp_path)}


#            trial: accuracy, loss
REACHED = {0: (0.60, 0.9), 1: (0.90, 0.8), 2: (0.70, 0.1), 3: (0.80, 0.7), 4: (0.50, 0.2), 5: (0.65, 0.3)}


@pytest.mark.parametrize(
    ("objective", "count", "finalists"),
    [
        ("val_accuracy", 3, [1, 3, 2]),
        ("val_loss", 3, [2, 4, 5]),
        ("val_accuracy", 1, [1]),
        ("val_accuracy", 9, [1, 3, 2, 5, 0, 4]),
    ],
)
def test_the_finalists_are_the_best_of_the_search_in_their_order(
    store: Store, tmp_path: Path, objective: str, count: int, finalists: list[int]
) -> None:
    searched = study(objective=objective, finalists={"count": count, "seeds": 2})
    for trial, (accuracy, loss) in REACHED.items():
        put(store, searched, trial, accuracy, loss=loss)
    found = of(searched, store, tmp_path)
    assert list(found) == ["final"]  # the search has ended, and no baseline was asked for
    final = found["final"]
    assert final.is_final
    assert final.trials == len(finalists)
    chosen = configs(final)
    assert [config["columns"] for config in chosen] == [{"of_trial": trial} for trial in finalists]
    assert [Architecture.from_dict(config["architecture"]) for config in chosen] == [NETWORKS[n] for n in finalists]
    assert [config["trial"] for config in chosen] == list(range(6, 6 + len(finalists)))
    assert [config["lr"] for config in chosen] == [None] * len(finalists)


def test_trials_that_did_not_train_every_epoch_are_no_finalists(store: Store, tmp_path: Path) -> None:
    searched = study(finalists={"count": 2, "seeds": 2})
    fates = ["completed", "stopped", "diverged", "failed", "completed", "completed"]
    for trial, (accuracy, status) in enumerate(zip((0.5, 0.99, 0.98, 0.97, 0.4, 0.3), fates, strict=True)):
        put(store, searched, trial, accuracy, status=status)
    assert [config["columns"]["of_trial"] for config in configs(of(searched, store, tmp_path)["final"])] == [0, 4]


def test_of_equal_networks_the_cheaper_is_the_finalist_and_then_the_earlier(store: Store, tmp_path: Path) -> None:
    searched = study(finalists={"count": 2, "seeds": 2})
    for trial, network in enumerate([5, 3, 7, 3, 6, 4]):
        put(store, searched, trial, 0.5, network=network)
    # trial 3 trained the network of trial 1 again: it is no second finalist
    assert [config["columns"]["of_trial"] for config in configs(of(searched, store, tmp_path)["final"])] == [1, 5]


@pytest.mark.parametrize(
    ("asked", "used", "seeds", "epochs"),
    [
        ({"count": 1, "seeds": 3}, 2, (2, 3, 4), 6),
        ({"count": 1, "seeds": 1, "epochs": 30}, [0, 7], (8,), 30),
        ({"count": 1}, 1, (1, 2, 3), 6),
    ],
)
def test_finalists_train_on_seeds_that_the_search_has_not_used(
    store: Store, tmp_path: Path, asked: dict[str, Any], used: Any, seeds: tuple[int, ...], epochs: int
) -> None:
    searched = study({"seeds": used}, finalists=asked)
    for trial, (accuracy, _) in REACHED.items():
        put(store, searched, trial, accuracy)
    recipe = of(searched, store, tmp_path)["final"].recipe
    assert (recipe.seeds, recipe.epochs) == (seeds, epochs)
    assert recipe.model_copy(update={"seeds": searched.recipe.seeds, "epochs": 6}) == searched.recipe


def test_a_finalist_keeps_the_rate_that_made_it_one(store: Store, tmp_path: Path) -> None:
    searched = study({"lr": {"tune": [0.03, 0.3]}}, finalists={"count": 2, "seeds": 2})
    for trial, (accuracy, _) in REACHED.items():
        put(store, searched, trial, accuracy, lr=(0.03, 0.3)[trial % 2])
    assert [(c["columns"]["of_trial"], c["lr"]) for c in configs(of(searched, store, tmp_path)["final"])] == [
        (1, 0.3),
        (3, 0.3),
    ]


def test_the_best_of_the_baseline_trains_with_the_finalists(store: Store, tmp_path: Path) -> None:
    searched = study(finalists={"count": 1, "seeds": 2}, baseline="random")
    for trial, (accuracy, _) in REACHED.items():
        put(store, searched, trial, accuracy)
    baseline = of(searched, store, tmp_path)["baseline"]
    numbers = [config["trial"] for config in configs(baseline)]
    for place, number in enumerate(numbers):
        put(store, searched, number, 0.1 + 0.01 * (place == 1), network=place, phase="baseline")
    final = of(searched, store, tmp_path)["final"]
    assert [config["columns"]["of_trial"] for config in configs(final)] == [1, numbers[1]]


def test_the_baseline_is_worth_the_searchs_macs_and_repeats_nothing(store: Store, tmp_path: Path) -> None:
    searched = study(baseline="random")
    for trial, (accuracy, _) in REACHED.items():  # two of them stopped after two epochs of six
        stopped = trial in (0, 4)
        put(store, searched, trial, accuracy, status="stopped" if stopped else "completed", epochs=2 if stopped else 6)
    baseline = of(searched, store, tmp_path)["baseline"]
    assert (baseline.recipe, baseline.is_final, baseline.at_once) == (searched.recipe, False, None)
    drawn = [Architecture.from_dict(config["architecture"]) for config in configs(baseline)]
    assert len(set(drawn)) == len(drawn)
    macs = [cost(one, (1, 8, 8), 3).macs for one in NETWORKS]
    spent = sum(macs[trial] * (2 if trial in (0, 4) else 6) for trial in REACHED)
    prices = [cost(one, (1, 8, 8), 3).macs * 6 for one in drawn]
    assert spent - max(prices) < sum(prices) < spent + max(prices)
    # The last is the one whose end comes nearest to what was spent.
    assert abs(sum(prices) - spent) <= abs(sum(prices[:-1]) - spent)
    assert [c["trial"] for c in configs(of(searched, store, tmp_path)["baseline"])] == list(range(6, 6 + len(drawn)))


def test_another_seed_draws_another_baseline_and_the_same_seed_the_same(tmp_path: Path) -> None:
    drawn = []
    for place, seed in enumerate((0, 0, 1)):
        searched = study(baseline="random").model_copy(update={"seed": seed})
        (tmp_path / str(place)).mkdir()
        made = Store(tmp_path / str(place))
        for trial, (accuracy, _) in REACHED.items():
            put(made, searched, trial, accuracy)
        baseline = of(searched, made, tmp_path)["baseline"]
        drawn.append([json.dumps(config["architecture"]) for config in configs(baseline)])
        made.close()
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_resumed_final_goes_on_with_what_is_open_and_starts_what_never_started(store: Store, tmp_path: Path) -> None:
    searched = study(finalists={"count": 3, "seeds": 2})
    for trial, (accuracy, _) in REACHED.items():
        put(store, searched, trial, accuracy)
    first = configs(of(searched, store, tmp_path)["final"])
    assert [config["trial"] for config in first] == [6, 7, 8]
    recipe = of(searched, store, tmp_path)["final"].recipe
    put_final(store, recipe, 6, 1, "completed")
    put_final(store, recipe, 7, 3, "interrupted")
    left = of(searched, store, tmp_path)["final"]
    assert left.trials == 2
    assert [config["trial"] for config in configs(left)] == [7, 8]
    store.reopen(7)
    store.end(7, "completed", None)
    put_final(store, recipe, 8, 2, "completed")
    assert of(searched, store, tmp_path) == {}


def test_a_search_is_left_what_has_not_ended(store: Store, tmp_path: Path) -> None:
    searched = study()
    put(store, searched, 0, 0.5)
    put(store, searched, 1, 0.5, status="stopped")
    put(store, searched, 2, 0.5, status="interrupted")
    put(store, searched, 3, 0.5, status="failed")
    search = of(searched, store, tmp_path)["search"]
    assert (search.trials, search.at_once, search.recipe, search.is_final) == (3, None, searched.recipe, False)
    numbers = [config["trial"] for config in configs(search)]
    assert numbers == [2, 4, 5]


def test_hyperband_is_handed_a_bracket_at_once_and_others_are_not(store: Store, tmp_path: Path) -> None:
    assert of(study({"epochs": 9}, scheduler="hyperband"), store, tmp_path)["search"].at_once == 9 + 5 + 3
    assert of(study({"epochs": 9}, scheduler="asha"), store, tmp_path)["search"].at_once is None


def test_a_resumed_searchs_scheduler_is_told_its_trials_and_their_epochs_as_they_happened(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ressearch.search import replay

    searched = study(scheduler={"name": "asha", "grace_period": 2})
    put(store, searched, 1, 0.25, epochs=2, status="running")
    put(store, searched, 0, 0.5, epochs=1, status="running")
    put(store, searched, 2, 0.75, epochs=1, phase="baseline")
    put(store, searched, 3, 0.75, epochs=1)
    told: list[Any] = []
    monkeypatch.setattr(replay, "Continued", lambda *given: told.append(given) or "continued")
    assert of(searched, store, tmp_path)["search"].scheduler == "continued"
    scheduler, rows, epochs = told[0]
    assert (type(scheduler).__name__, scheduler.metric) == ("AsyncHyperBandScheduler", "val_accuracy")
    assert rows == {number: store.tables.trials[number] for number in (0, 1, 3)}
    assert [(trial, result["epoch"], result["val_accuracy"]) for trial, result in epochs] == [
        (1, 1, 0.25),
        (1, 2, 0.25),
        (0, 1, 0.5),
        (3, 1, 0.75),
    ]
    told.clear()
    plain = of(study(), store, tmp_path)["search"]
    assert type(plain.scheduler).__name__ == "FIFOScheduler"
    assert told == []
