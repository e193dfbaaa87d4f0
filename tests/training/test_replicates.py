"""Seeds trained as one network give the numbers they give alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ressearch import Architecture
from ressearch.data import Resident, Split
from ressearch.errors import ArchitectureError
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.build import build, build_replicates
from ressearch.networks.layers import NORMS
from ressearch.networks.replicated import replicate_state
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS
from ressearch.training import Recipe
from ressearch.training.replicates import Replicates

SHAPES = {"image": (2, 6, 6), "vector": (7,), "sequence": (5, 4)}
CLASSES, SEEDS, STEPS = 3, (3, 11, 4), 20


def data(modality: str, examples: int = 48) -> Resident:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(examples, *SHAPES[modality], generator=generator, dtype=torch.float64)
    labels = (inputs.flatten(1).sum(1) > 0).long() + (inputs.flatten(1)[:, 0] > 1).long()
    return Resident(Split(inputs, labels), torch.zeros(1), torch.ones(1), torch.float64)


def architecture(block: str, skip: str, **changes: Any) -> Architecture:
    """A small network of two stages, the second of another shape."""
    fields: dict[str, Any] = {"depths": (2, 1), "widths": (4, 8), "skip": skip}
    if skip == "dense":
        fields |= {"widths": (8, 12), "stem_width": 4}
    if skip == "fixup":
        fields["norm"] = "none"
    if skip in ("none", "identity") and changes.get("norm") == "none":
        fields["skip"] = "depth_scaled"  # no norm and no scale: exponential growth amplifies rounding beyond any bound
    return Architecture(block, **{**fields, **changes})


def train(
    network: Architecture, seeds: tuple[int, ...], **recipe: Any
) -> tuple[list[dict[str, Tensor]], list[list[float]]]:
    """Train 20 steps; returns each seed's state and its metrics."""
    examples = data(network.modality)
    how = Recipe(
        **{"lr": 0.01, "epochs": 5, "batch_size": 12, "precision": "float64", "gradient_clip": 1.0, "seeds": seeds}
        | recipe
    )
    group = Replicates(network, examples, examples, CLASSES, how, seeds)
    metrics: list[list[float]] = [[] for _ in seeds]
    for _ in range(how.epochs):
        for index, result in enumerate(group.train_epoch()):
            metrics[index] += [result.train_loss, result.train_accuracy, result.val_loss, result.val_accuracy]
    assert group._step == STEPS
    return [group.state(index) for index in range(len(seeds))], metrics


def assert_alone_equals_together(network: Architecture, **recipe: Any) -> None:
    states, metrics = train(network, SEEDS, **recipe)
    for index, seed in enumerate(SEEDS):
        (alone,), (figures,) = train(network, (seed,), **recipe)
        torch.testing.assert_close(torch.tensor(metrics[index]), torch.tensor(figures), rtol=1e-8, atol=1e-10)
        assert states[index].keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(states[index][name], value, rtol=1e-8, atol=1e-10, msg=name)
    assert not torch.equal(next(iter(states[0].values())), next(iter(states[1].values())))


@pytest.mark.parametrize("skip", sorted(SKIPS))
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_every_block_and_skip_trains_together_as_alone(block: str, skip: str) -> None:
    try:
        network = architecture(block, skip)
    except ArchitectureError as refused:
        assert "is not compatible" in str(refused)  # noqa: PT017
        return
    assert_alone_equals_together(network)


@pytest.mark.parametrize("norm_order", ["post", "pre"])
@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("block", ["basic", "convnext", "mlp", "transformer"])
def test_every_norm_trains_together_as_alone(block: str, norm: str, norm_order: str) -> None:
    assert_alone_equals_together(architecture(block, "identity", norm=norm, norm_order=norm_order))


@pytest.mark.parametrize("shortcut", sorted(SHORTCUTS))
def test_every_shortcut_trains_together_as_alone(shortcut: str) -> None:
    assert_alone_equals_together(architecture("bottleneck", "identity", shortcut=shortcut, widths=(8, 16)))


@pytest.mark.parametrize(
    "changes",
    [
        {"se_ratio": 0.5, "dropout": 0.3},
        {"stem": "deep", "head_width": 6, "zero_gamma": True},
        {"stem": "imagenet", "group_width": 2},
        {"stem": "patch", "kernel_size": 5, "activation": "silu"},
    ],
)
def test_every_other_axis_trains_together_as_alone(changes: dict[str, Any]) -> None:
    assert_alone_equals_together(architecture("basic", "identity", **changes))


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "adamw"},
        {"ema": 0.9},
        {"label_smoothing": 0.1, "weight_decay": 0.1, "schedule": "cosine"},
        {"augmentation": ("crop", "flip", "cutout")},
        {"augmentation": ("random_erasing", "mixup")},
        {"augmentation": ("cutmix",)},
        {"lr": {"transfer": "mup", "base": 0.01, "base_width": 2}},
    ],
)
def test_every_recipe_trains_together_as_alone(recipe: dict[str, Any]) -> None:
    assert_alone_equals_together(architecture("basic", "identity"), **recipe)


@pytest.mark.parametrize("block", ["mlp", "transformer"])
def test_weight_decay_reaches_the_same_weights_together_as_alone(block: str) -> None:
    assert_alone_equals_together(architecture(block, "identity", dropout=0.2), weight_decay=0.3)


def test_replicates_start_as_networks_alone_with_their_seeds() -> None:
    network = Architecture(depths=(1, 1), widths=(4, 8))
    together = build_replicates(network, (5, 9), 3, 10)
    for index, seed in enumerate((5, 9)):
        torch.manual_seed(seed)
        alone = build(network, 3, 10)
        state = replicate_state(together, index, alone)
        assert all(torch.equal(state[name], value) for name, value in alone.state_dict().items())
        x = torch.randn(2, 3, 8, 8)
        logits = together.eval()(x.repeat(1, 2, 1, 1)).unflatten(1, (2, 10))
        torch.testing.assert_close(logits[:, index], alone.eval()(x))


def test_a_diverging_replicate_leaves_the_others_alone() -> None:
    examples = data("image")
    network = architecture("basic", "identity")
    group = Replicates(network, examples, examples, CLASSES, Recipe(lr=1e-3, seeds=(0, 1)), (0, 1))
    with torch.no_grad():
        group.network.stem[0].weight[:4] = float("nan")  # of the first replicate
    inputs = group._join(examples.inputs(slice(0, 12)).expand(2, 12, 2, 6, 6))
    logits = group._logits(group.network, inputs)
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()
