"""The engine: how it says what it runs, and that going on from a checkpoint is as if nothing had happened."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from ressearch import Architecture
from ressearch.data import Resident, Split, Splits
from ressearch.networks.build import build
from ressearch.training import Engine, Recipe, engine
from ressearch.training.choose import Choice

NETWORK = Architecture("mlp", (2,), (6,), dropout=0.2)
IMAGES = Architecture("basic", (1,), (4,))


def parts(shape: tuple[int, ...] = (5,)) -> Splits:
    generator = torch.Generator().manual_seed(4)

    def part(examples: int) -> Split:
        inputs = torch.randn(examples, *shape, generator=generator)
        return Split(inputs, (inputs.flatten(1)[:, :2] > 0).long().sum(1))

    ones = (1,) * (len(shape) - 1) if len(shape) == 3 else ()
    return Splits(part(24), part(10), part(12), torch.full((shape[0], *ones), 0.5), torch.full((shape[0], *ones), 2.0))


@pytest.fixture(scope="module")
def splits() -> Splits:
    return parts()


@pytest.fixture(scope="module")
def images() -> Splits:
    return parts((2, 4, 4))


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"seeds": 2, "replicates": "grouped"}, "2 seeds grouped, channels_last"),
        ({"seeds": 3, "replicates": "separate"}, "3 seeds one after another, channels_last"),
        ({"seeds": 1, "channels_last": False}, "1 seed, contiguous"),
        ({"seeds": 2, "replicates": "grouped", "channels_last": False}, "2 seeds grouped, contiguous"),
    ],
)
def test_how_a_trial_runs_is_described(recipe: dict[str, Any], expected: str, images: Splits) -> None:
    made = Engine(IMAGES, images, 3, Recipe(**{"channels_last": True, **recipe}))
    assert made.description == f"{expected}, eager (no CUDA graphs on a cpu)"
    is_grouped = recipe.get("replicates") == "grouped"
    seeds = tuple(range(recipe["seeds"]))
    assert [group.seeds for group in made.groups] == ([seeds] if is_grouped else [(seed,) for seed in seeds])
    weights = [one for one in made.groups[0].network.parameters() if one.ndim == 4]
    is_last = all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)
    assert is_last == recipe.get("channels_last", True)
    for group in made.groups:
        group.why_eager = None
    assert made.description == f"{expected}, CUDA graph"


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.float32), ("float16", torch.float32), ("float64", torch.float64)],
)
def test_weights_and_inputs_have_the_precision_of_the_recipe(
    precision: str, dtype: torch.dtype, splits: Splits
) -> None:
    made = Engine(NETWORK, splits, 3, Recipe(precision=precision))
    group = made.groups[0]
    assert {one.dtype for one in group.network.parameters()} == {dtype}
    assert {group.train_data.dtype, group.validation_data.dtype} == {dtype}
    assert len(group.train_data) == 24
    assert len(group.validation_data) == 10
    expected = (splits.train.load(slice(None)).to(dtype) - 0.5) / 2
    assert torch.equal(group.train_data.inputs(slice(None)), expected)


def test_trials_of_a_process_share_the_data_that_is_ready(splits: Splits) -> None:
    one, other = (Engine(NETWORK, splits, 3, Recipe()) for _ in range(2))
    assert one.groups[0].train_data is other.groups[0].train_data
    exact = Engine(NETWORK, splits, 3, Recipe(precision="float64"))
    assert exact.groups[0].train_data is not one.groups[0].train_data


def test_freed_memory_is_kept_from_the_first_engine_on(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(engine, "keep_freed_memory", lambda: calls.append("kept"))
    Engine(NETWORK, splits, 3, Recipe())
    assert calls == ["kept"]


def test_what_is_chosen_is_asked_with_the_trials_own_numbers(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def choose(*arguments: Any) -> Choice:
        asked.append(arguments)
        return Choice(False, False)

    monkeypatch.setattr(engine, "choose", choose)
    recipe = Recipe(seeds=2)

    def settle(shape: str, make: Any) -> Choice:
        raise AssertionError

    made = Engine(NETWORK, splits, 3, recipe, settle=settle)
    assert asked == [(NETWORK, (5,), 3, recipe, torch.device("cpu"), 24, settle)]
    assert made.choice == Choice(False, False)
    assert len(made.groups) == 2
    state = made.state_dict()
    assert state["choice"] == {"is_grouped": False, "channels_last": False}
    asked.clear()
    state["choice"] = {"is_grouped": True, "channels_last": False}
    state["groups"] = []
    again = Engine(NETWORK, splits, 3, recipe, state, settle)
    assert asked == []  # a checkpoint keeps to its choice
    assert again.choice == Choice(True, False)
    assert len(again.groups) == 1


def test_evaluation_scores_every_seed_on_the_part_that_is_given(splits: Splits) -> None:
    made = Engine(NETWORK, splits, 3, Recipe(precision="float64", seeds=(3, 8), replicates="separate"))
    scores = made.evaluate(splits.test)
    inputs, labels = (splits.test.load(slice(None)).double() - 0.5) / 2, splits.test.labels
    assert scores.correct.shape == (2, 12)
    for seed, loss, accuracy, correct in zip((3, 8), *scores, strict=True):
        torch.manual_seed(seed)
        with torch.no_grad():
            logits = build(NETWORK, 5, 3).double().eval()(inputs)
        log = logits - logits.exp().sum(1, keepdim=True).log()
        assert loss == pytest.approx(float(-log[torch.arange(12), labels].mean()))
        assert accuracy == float((logits.argmax(1) == labels).double().mean())
        assert correct.tolist() == (logits.argmax(1) == labels).tolist()


RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw and an average": {"optimizer": "adamw", "lr": 0.01, "ema": 0.7},
    "separate": {"replicates": "separate"},
    "half precision": {"precision": "float16"},
    "mixing": {"augmentation": ("mixup",), "label_smoothing": 0.1},
}


def run(made: Engine, epochs: int) -> list[Any]:
    return [
        (one.seed, one.epoch, one.lr, one.train_loss, one.train_accuracy, one.val_loss, one.val_accuracy)
        for _ in range(epochs)
        for one in made.train_epoch()
    ]


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_going_on_from_a_checkpoint_is_as_if_nothing_had_happened(changes: dict[str, Any], splits: Splits) -> None:
    recipe = Recipe(**{"epochs": 4, "batch_size": 8, "seeds": (5, 2), "replicates": "grouped", **changes})
    whole = Engine(NETWORK, splits, 3, recipe)
    first = run(whole, 2)
    assert (whole.epoch, whole.is_finished) == (2, False)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    second = run(whole, 2)
    assert (whole.epoch, whole.is_finished) == (4, True)
    if whole.choice.is_grouped:
        assert [row[:2] for row in first + second] == [(seed, epoch) for epoch in (1, 2, 3, 4) for seed in (5, 2)]
    file.seek(0)
    resumed = Engine(NETWORK, splits, 3, recipe, torch.load(file, weights_only=True))
    assert (resumed.epoch, resumed.is_finished) == (2, False)
    assert run(resumed, 2) == second
    for one, other in zip(whole.groups, resumed.groups, strict=True):
        assert one._step == other._step == 12
        for index in range(len(one.seeds)):
            mine, theirs = one.state(index), other.state(index)
            assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    again, expected = resumed.state_dict()["groups"][0], whole.state_dict()["groups"][0]
    assert all(torch.equal(a, b) for key in ("order", "noise") for a, b in zip(again[key], expected[key], strict=True))
    assert again["scaler"] == expected["scaler"]


def test_a_state_of_another_network_is_refused(splits: Splits) -> None:
    state = Engine(NETWORK, splits, 3, Recipe()).state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        Engine(NETWORK.replace(widths=(8,)), splits, 3, Recipe(), state)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        Engine(NETWORK.replace(depths=(1,)), splits, 3, Recipe(), state)


def test_what_a_checkpoint_holds(splits: Splits) -> None:
    made = Engine(NETWORK, splits, 3, Recipe(seeds=2, replicates="grouped"))
    state = made.state_dict()
    assert set(state) == {"choice", "groups"}
    (group,) = state["groups"]
    assert set(group) == {"epoch", "step", "correct", "network", "optimizer", "scaler", "averaged", "order", "noise"}
    assert (group["epoch"], group["step"], group["correct"], group["averaged"]) == (0, 0, None, None)
    assert len(group["order"]) == len(group["noise"]) == 2
    averaged = Engine(NETWORK, splits, 3, Recipe(ema=0.5)).state_dict()["groups"][0]["averaged"]
    assert any(name.endswith("classifier.weight") or "head" in name for name in averaged)


def test_the_state_of_a_resident_part_of_a_group_is_what_build_has(splits: Splits) -> None:
    made = Engine(NETWORK, splits, 3, Recipe(seeds=(6, 7), replicates="grouped", ema=0.5))
    assert isinstance(made.groups[0].train_data, Resident)
    for index, seed in enumerate((6, 7)):
        torch.manual_seed(seed)
        alone = build(NETWORK, 5, 3).state_dict()
        found = made.groups[0].state(index)
        assert found.keys() == alone.keys()
        assert all(torch.equal(found[name], value) for name, value in alone.items())
