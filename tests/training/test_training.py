from __future__ import annotations

import dataclasses

import pytest
import torch

from ressearch import Architecture
from ressearch.data import Splits, load_dataset, split
from ressearch.training import Engine, Recipe
from ressearch.training.replicates import Diverged, learning_rate

TINY = Architecture(depths=(1, 1), widths=(4, 8))


@pytest.fixture(scope="module")
def splits() -> Splits:
    return split(load_dataset("synthetic"), seed=0, validation=0.2, test=0.2)


def train(splits: Splits, recipe: Recipe, architecture: Architecture = TINY) -> list[list]:
    engine = Engine(architecture, splits, 3, recipe)
    history = []
    while not engine.is_finished:
        history.append([dataclasses.replace(result, seconds=0) for result in engine.train_epoch()])
    return history


def test_a_tiny_network_learns(splits: Splits) -> None:
    history = train(splits, Recipe(epochs=6, seeds=(0, 1)))
    assert min(result.val_accuracy for result in history[-1]) > 0.8
    assert history[-1][0].train_loss < history[0][0].train_loss


def test_same_seed_same_numbers_and_no_influence_between_replicates(splits: Splits) -> None:
    recipe = {"epochs": 2, "augmentation": ("crop", "flip"), "replicates": "separate"}
    together = train(splits, Recipe(seeds=(3, 7), **recipe))
    alone = train(splits, Recipe(seeds=(7,), **recipe))
    assert [epoch[1] for epoch in together] == [epoch[0] for epoch in alone]
    assert together[0][0].train_loss != together[0][1].train_loss


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "lr": 0.01},
        {"schedule": "cosine", "warmup_epochs": 1},
        {"label_smoothing": 0.1, "gradient_clip": 1.0},
        {"precision": "bfloat16"},
        {"channels_last": False},
        {"batch_size": 4096, "lr": 0.3},
        {"ema": 0.8},
        {"lr_batch_size": 128, "lr": 0.2},
        {"lr": {"transfer": "mup", "base": 0.1, "base_width": 2}},
        {"replicates": "separate", "seeds": (0, 1)},
        {"augmentation": ("cutmix", "random_erasing")},
        {"augmentation": ("mixup", "cutout", "flip")},
    ],
)
def test_every_recipe_option_trains(splits: Splits, changes: dict) -> None:
    (first, *_, last) = train(splits, Recipe(epochs=3, **changes))
    assert last[0].train_loss < first[0].train_loss


def test_schedules_warm_up_and_end_at_zero() -> None:
    recipe = Recipe(epochs=10, lr=1.0)
    rates = [learning_rate(recipe, step, 10) for step in range(100)]
    assert rates.index(max(rates)) == 30
    assert rates[0] < 0.05
    assert rates[-1] < 0.01
    cosine = Recipe(epochs=10, lr=1.0, schedule="cosine")
    assert learning_rate(cosine, 0, 10) == 1.0
    assert learning_rate(cosine, 50, 10) == pytest.approx(0.5)
    assert learning_rate(Recipe(epochs=10, lr=1.0, schedule="constant"), 99, 10) == 1.0


def test_norms_and_biases_are_not_decayed(splits: Splits) -> None:
    engine = Engine(TINY, splits, 3, Recipe(weight_decay=0.1))
    decayed, free = engine.groups[0]._optimizer.param_groups
    assert {parameter.ndim for parameter in decayed["params"]} == {4, 2}
    assert {parameter.ndim for parameter in free["params"]} == {1}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_divergence_is_reported_with_seed_and_step(splits: Splits) -> None:
    with pytest.raises(Diverged, match=r"seed 5: loss is (nan|inf|\d\S*) at step \d+"):
        train(splits, Recipe(epochs=4, lr=1e6, seeds=(5,)))


def test_the_test_split_is_never_read(splits: Splits) -> None:
    poisoned = Splits(splits.train, splits.validation, None, splits.mean, splits.std)  # type: ignore[arg-type]
    assert train(poisoned, Recipe(epochs=1)) == train(splits, Recipe(epochs=1))


def test_evaluation_leaves_the_network_alone(splits: Splits) -> None:
    group = Engine(TINY, splits, 3, Recipe(seeds=(0, 1))).groups[0]
    before = {name: value.clone() for name, value in group.network.state_dict().items()}
    first, second = group.evaluate(group.validation_data).losses
    assert first != second
    assert all(torch.equal(before[name], value) for name, value in group.network.state_dict().items())
