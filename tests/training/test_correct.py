"""Which examples the replicates have right: what a plain prediction of the trained networks says, bit by bit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch

from ressearch import Architecture
from ressearch.data import Split, Splits
from ressearch.networks.build import build
from ressearch.training import Engine, Recipe, replicates

NETWORK = Architecture(depths=(1,), widths=(4,), skip="stochastic_depth")
SEEDS = (5, 2)


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Parts that lie scattered in one pool, none in its order; validation takes several batches."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(900, 2, 4, 4, generator=generator)
    labels = (inputs.flatten(1)[:, :2] > 0).long().sum(1)
    places = torch.randperm(900, generator=generator).split([240, 600, 60])
    parts = [Split(inputs, labels[part], part) for part in places]
    return Splits(*parts, torch.full((2, 1, 1), 0.5), torch.full((2, 1, 1), 2.0))


def trained(splits: Splits, seeds: tuple[int, ...] = SEEDS, epochs: int = 2, **recipe: Any) -> Engine:
    how = {"lr": 0.1, "precision": "float64", "replicates": "separate", "batch_size": 16, **recipe}
    made = Engine(NETWORK, splits, 3, Recipe(epochs=4, seeds=seeds, **how))
    for _ in range(epochs):
        made.train_epoch()
    return made


def predicted(made: Engine, part: Split) -> list[list[bool]]:
    """Classify the whole pool, in its order, by each seed's network alone; then look the part's examples up."""
    rows = []
    for group in made.groups:
        for index in range(len(group.seeds)):
            network = build(NETWORK, 2, 3).double().eval()
            network.load_state_dict(group.state(index))
            assert part.places is not None
            with torch.no_grad():
                classes = network((part.pool.double() - 0.5) / 2.0).argmax(1).tolist()  # type: ignore[union-attr]
            pairs = zip(part.places.tolist(), part.labels.tolist(), strict=True)
            rows.append([classes[place] == label for place, label in pairs])
    return rows


@pytest.mark.parametrize("recipe", [{"replicates": "grouped"}, {}, {"ema": 0.5}, {"channels_last": True}])
def test_they_are_those_of_a_plain_prediction_in_the_order_of_the_split(splits: Splits, recipe: dict[str, Any]) -> None:
    made = trained(splits, **recipe)
    assert made.correct is not None
    assert made.correct.dtype == np.bool_
    assert made.correct.tolist() == predicted(made, splits.validation)
    assert 0.2 < made.correct.mean() < 0.98
    assert made.evaluate(splits.test).correct.tolist() == predicted(made, splits.test)


@pytest.mark.parametrize("way", ["grouped", "separate"])
def test_a_replicate_among_others_has_right_what_it_has_alone(splits: Splits, way: str) -> None:
    together = trained(splits, replicates=way).correct
    assert together is not None
    for row, seed in zip(together.tolist(), SEEDS, strict=True):
        alone = trained(splits, (seed,)).correct
        assert alone is not None
        assert alone.tolist() == [row]
    assert len({tuple(row) for row in together.tolist()}) == len(SEEDS)


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_an_accuracy_is_the_mean_of_the_bits_exactly(splits: Splits, precision: str) -> None:
    made = trained(splits, epochs=0, replicates="grouped", precision=precision)
    for _ in range(2):
        accuracies = [result.val_accuracy for result in made.train_epoch()]
        assert made.correct is not None
        assert accuracies == [sum(row) / 600 for row in made.correct.tolist()]
    test = made.evaluate(splits.test)
    assert test.accuracies == [sum(row) / 60 for row in test.correct.tolist()]


@pytest.mark.parametrize("way", ["grouped", "separate"])
def test_a_checkpoint_keeps_them(splits: Splits, way: str) -> None:
    made = trained(splits, replicates=way)
    assert trained(splits, epochs=0).correct is None
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    again = Engine(NETWORK, splits, 3, made.recipe, state)
    assert again.correct is not None
    assert made.correct is not None
    assert again.correct.tolist() == made.correct.tolist()
    for group in state["groups"]:
        del group["correct"]  # as an older version wrote it
    older = Engine(NETWORK, splits, 3, made.recipe, state)
    assert older.correct is None
    older.train_epoch()
    made.train_epoch()
    assert older.correct is not None
    assert older.correct.tolist() == made.correct.tolist()


def test_nothing_is_kept_of_more_examples_than_a_bound(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replicates.KEPT_EXAMPLES == 200_000
    monkeypatch.setattr(replicates, "KEPT_EXAMPLES", 600)
    kept = trained(splits, epochs=0)
    accuracies = [one.val_accuracy for one in kept.train_epoch()]
    assert kept.correct is not None
    monkeypatch.setattr(replicates, "KEPT_EXAMPLES", 599)
    bare = trained(splits, epochs=0)
    assert [one.val_accuracy for one in bare.train_epoch()] == accuracies
    assert bare.correct is None
    assert bare.state_dict()["groups"][0]["correct"] is None
