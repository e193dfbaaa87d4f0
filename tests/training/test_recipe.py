"""Recipes: what is refused and how, and what follows from the fields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ressearch.training import Recipe
from ressearch.training.recipe import Transfer, Tune

MUP = {"transfer": "mup", "base": 0.1, "base_width": 4}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"seeds": 0}, [("seeds", "Value error, 0 seeds; expected 1 to 1000, or a list of seeds")]),
        ({"seeds": 1001}, [("seeds", "Value error, 1001 seeds; expected 1 to 1000, or a list of seeds")]),
        ({"seeds": -1}, [("seeds", "Value error, -1 seeds; expected 1 to 1000, or a list of seeds")]),
        ({"seeds": True}, [("seeds", "Value error, true: expected a number or a text, not true or false")]),
        ({"seeds": []}, [("seeds", "Value error, expected at least 1 seed")]),
        ({"seeds": [1, 2, 1]}, [("seeds", "Value error, the seeds must differ")]),
        ({"seeds": "x"}, [("seeds", "Input should be a valid tuple")]),
        ({"augmentation": ["flop"]}, [("augmentation", "Value error, 'flop' is unknown; did you mean 'flip'?")]),
        (
            {"augmentation": ["flip", "crob"]},
            [("augmentation", "Value error, 'crob' is unknown; did you mean 'crop'?")],
        ),
        ({"warmup_epochs": 20}, [("", "Value error, warmup_epochs 20 leaves nothing of 20 epochs")]),
        ({"warmup_epochs": 2.5, "epochs": 2}, [("", "Value error, warmup_epochs 2.5 leaves nothing of 2 epochs")]),
        ({"lr": "a"}, [("lr <number>", "Input should be a valid number, unable to parse string as a number")]),
        ({"lr": [1]}, [("lr <number>", "Input should be a valid number")]),
        (
            {"lr": {"base": 1}},
            [("lr <Transfer> transfer", "Field required"), ("lr <Transfer> base_width", "Field required")],
        ),
        (
            {"lr": {"base_width": 1}},
            [("lr <Transfer> transfer", "Field required"), ("lr <Transfer> base", "Field required")],
        ),
        (
            {"lr": {"transfer": "mup"}},
            [("lr <Transfer> base", "Field required"), ("lr <Transfer> base_width", "Field required")],
        ),
        (
            {"lr": {"x": 1}},
            [("lr <Tune> tune", "Field required"), ("lr <Tune> x", "Extra inputs are not permitted")],
        ),
        (
            {"lr": {"tune": [1]}},
            [("lr <Tune> tune", "Tuple should have at least 2 items after validation, not 1")],
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_the_key(fields: dict[str, Any], expected: list[Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        Recipe(**fields)
    assert [(" ".join(map(str, one["loc"])), one["msg"]) for one in refused.value.errors()] == expected


def test_a_number_of_seeds_counts_from_0() -> None:
    given = [1, 3, [4], (7, 2)]
    assert [Recipe(seeds=seeds).seeds for seeds in given] == [(0,), (0, 1, 2), (4,), (7, 2)]
    assert len(Recipe(seeds=1000).seeds) == 1000
    assert Recipe(warmup_epochs=19.5).warmup_epochs == 19.5


def test_learning_rates_of_every_form_are_told_apart() -> None:
    assert Recipe(lr=0.3).lr == 0.3
    assert Recipe(lr=MUP).lr == Recipe(lr=Transfer(**MUP)).lr == Transfer(transfer="mup", base=0.1, base_width=4)
    assert Recipe(lr={"tune": [1, 2]}).lr == Recipe(lr=Tune(tune=(1, 2))).lr == Tune(tune=(1.0, 2.0))


def test_a_rate_to_tune_is_one_recipe_per_rate() -> None:
    tuned = Recipe(lr={"tune": [0.1, 0.3]}, epochs=7, seeds=2)
    assert tuned.lrs == (0.1, 0.3)
    one = tuned.with_lr(0.3)
    assert (one.lr, one.lrs, one.peak_lr) == (0.3, (None,), 0.3)
    assert one == Recipe(lr=0.3, epochs=7, seeds=2)
    assert tuned.with_lr(None) is tuned
    assert one.with_lr(None) is one
    with pytest.raises(ValueError, match=r"^the learning rate is still to be tuned: take one with `with_lr`$"):
        _ = tuned.peak_lr


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({}, 0.1),
        ({"lr": 0.2}, 0.2),
        ({"lr": MUP}, 0.1),
        ({"lr": 0.2, "batch_size": 256, "lr_batch_size": 64}, 0.8),
        ({"lr": 0.2, "batch_size": 256, "lr_batch_size": 64, "lr_rule": "sqrt"}, 0.4),
        ({"lr": MUP, "batch_size": 16, "lr_batch_size": 64}, 0.025),
        ({"lr": MUP, "batch_size": 16, "lr_batch_size": 64, "lr_rule": "sqrt"}, 0.05),
    ],
)
def test_the_peak_rate_follows_the_batch_size(fields: dict[str, Any], rate: float) -> None:
    assert Recipe(**fields).peak_lr == pytest.approx(rate)


def test_numbers_that_memory_holds() -> None:
    precisions = ("float64", "float32", "bfloat16", "float16")
    assert [Recipe(precision=one).bytes_per_number for one in precisions] == [8, 4, 2, 2]
    assert [Recipe(optimizer=one).optimizer_states for one in ("sgd", "adamw")] == [1, 2]
