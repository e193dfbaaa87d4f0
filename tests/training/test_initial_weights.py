"""Replicates that start from a file of weights: what they share, what each has of its own, grouped or alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from ressearch import Architecture, build
from ressearch.data import load_dataset, split
from ressearch.export import to_published
from ressearch.training import Engine, Recipe

SMALL = Architecture(depths=(1,), widths=(8,), stem="imagenet")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published weights for RGB images of 1000 classes; synthetic images are grey, of 3 classes."""
    torch.manual_seed(9)
    file = tmp_path_factory.mktemp("weights") / "w.pt"
    torch.save({key: value.clone() for key, value in to_published(build(SMALL)).items()}, file)
    return file


def engine(replicates: str, init: Path | None, **changes: object) -> Engine:
    data = load_dataset("synthetic")
    recipe = Recipe.model_validate(
        {
            "epochs": 2,
            "seeds": 2,
            "replicates": replicates,
            "channels_last": False,
            "precision": "float64",
            "init": None if init is None else str(init),
            **changes,
        }
    )
    return Engine(SMALL, split(data, 0, 0.2, 0.2), len(data.classes), recipe)


def test_seeds_share_all_weights_but_the_new_classifier(weights: Path) -> None:
    published = torch.load(weights, weights_only=True)
    first, second = (engine("grouped", weights).groups[0].state(index) for index in (0, 1))
    heads = {key for key in first if key.startswith("head.")}
    assert all(torch.equal(value, second[key]) for key, value in first.items() if key not in heads)
    assert not torch.equal(first["head.1.weight"], second["head.1.weight"])
    torch.testing.assert_close(first["stages.0.0.branch.0.weight"], published["layer1.0.conv1.weight"].double())
    torch.testing.assert_close(first["stem.0.weight"], published["conv1.weight"].sum(1, keepdim=True).double())


def test_grouped_replicates_train_as_each_would_alone(weights: Path) -> None:
    together, alone = engine("grouped", weights), engine("separate", weights)
    assert (len(together.groups), len(alone.groups)) == (1, 2)
    for _ in range(2):
        for one, other in zip(together.train_epoch(), alone.train_epoch(), strict=True):
            assert one.val_loss == pytest.approx(other.val_loss, rel=1e-9)
    assert together.groups[0].state(0)["head.1.weight"].shape[0] == len(load_dataset("synthetic").classes)


def test_a_trial_that_goes_on_does_not_start_from_the_file_again(weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "w.pt"
    moved.write_bytes(weights.read_bytes())
    whole, broken = engine("grouped", moved), engine("grouped", moved)
    broken.train_epoch()
    state = broken.state_dict()
    moved.unlink()
    again = Engine(SMALL, broken._splits, len(load_dataset("synthetic").classes), broken.recipe, state)
    whole.train_epoch()
    assert [one.val_loss for one in again.train_epoch()] == [one.val_loss for one in whole.train_epoch()]


def test_a_moving_average_starts_from_the_weights_too(weights: Path) -> None:
    averaged = engine("grouped", weights, ema=0.99).groups[0].state(0)
    plain = engine("grouped", weights).groups[0].state(0)
    assert all(torch.equal(value, plain[key]) for key, value in averaged.items())


def test_records_of_recipes_without_weights_are_as_older_versions_wrote_them() -> None:
    assert "init" not in Recipe().model_dump()
    assert "init" not in Recipe().model_dump_json()
    assert Recipe(init="w.pt").model_dump()["init"] == "w.pt"
    assert Recipe.model_validate(Recipe(init="w.pt").model_dump()) == Recipe(init="w.pt")


def test_transferred_rates_are_for_networks_from_scratch() -> None:
    with pytest.raises(ValidationError, match=r"init: lr\.transfer sets starting weights of its own"):
        Recipe.model_validate({"init": "w.pt", "lr": {"transfer": "mup", "base": 0.1, "base_width": 8}})
