"""Contract tests for what a plugin brings: what every block, skip, data set, … of the package holds to itself.

In a plugin's test file, after it was loaded or imported::

    @ressearch.testing.parametrize_with_checks("skips", "halved")
    def test_halved(check):
        check()

Each check is a function without arguments that raises AssertionError with one line on what does not hold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ressearch.data import AUGMENTATIONS, DATASETS, Dataset, Mixing, Options, Resident, Split
from ressearch.errors import ArchitectureError, RessearchError, nearest
from ressearch.networks.architecture import Architecture
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.build import build
from ressearch.networks.cost import Cost, cost, input_channels
from ressearch.networks.skips import SKIPS
from ressearch.networks.stems import STEMS
from ressearch.registry import REGISTRIES
from ressearch.shapes import Shape
from ressearch.training import Recipe
from ressearch.training.replicates import Replicates

SHAPES: dict[str, Shape] = {"image": (2, 16, 16), "vector": (7,), "sequence": (5, 4)}
"""A small input of each kind."""

_CLASSES, _SEEDS = 3, (3, 11)

_AS_THEY_ARE = Options()


class Check(NamedTuple):
    """One thing that has to hold.

    Attributes:
        name: what, and of which network.
        run: raises AssertionError if it does not hold.
    """

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Raise AssertionError if it does not hold."""
        self.run()


def counted(architecture: Architecture, shape: Shape, num_classes: int = 10) -> Cost:
    """Count a built network, without the package's own sums: parameters by numel, MACs by torch's counter plus biases,
    activations by hooks; `saved` is 0.

    Args:
        architecture: of the network.
        shape: of one input.
        num_classes: of its classifier.
    """
    tally = {"biases": 0, "activations": 0}

    def watch(module: nn.Module, inputs: object, output: Tensor) -> None:
        tally["activations"] += output.numel()
        if getattr(module, "bias", None) is not None:
            tally["biases"] += output.numel()

    with torch.device("meta"):
        network = build(architecture, input_channels(shape), num_classes).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d):
                module.register_forward_hook(watch)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *shape))
    params = sum(parameter.numel() for parameter in network.parameters())
    return Cost(params, counter.get_total_flops() // 2 + tally["biases"], tally["activations"])


def check_cost(architecture: Architecture) -> None:
    """Require that `cost` says what the built network has, and what its output's shape is."""
    shape = SHAPES[architecture.modality]
    said, found = cost(architecture, shape, 10)._replace(saved=0), counted(architecture, shape)
    assert said == found, f"{architecture.name}: `cost` says {said}, the built network has {found}"
    network = build(architecture, input_channels(shape), _CLASSES).eval()
    out = network(torch.randn(2, *shape))
    assert out.shape == (2, _CLASSES), f"{architecture.name}: logits of shape {tuple(out.shape)}, not (2, {_CLASSES})"
    assert out.isfinite().all(), f"{architecture.name}: a new network's logits are not finite"


def check_round_trip(architecture: Architecture) -> None:
    """Require that an architecture's JSON and its name read back as the same architecture."""
    for way, back in (
        ("to_json", Architecture.from_json(architecture.to_json())),
        ("name", Architecture.from_name(architecture.name)),
    ):
        assert back == architecture, f"{architecture.name}: its {way} reads back as {back.name}"


def check_replicates(architecture: Architecture) -> None:
    """Require that seeds trained together as one network get the numbers that each gets alone (float64)."""
    states, scores = _train(architecture, _SEEDS)
    for index, seed in enumerate(_SEEDS):
        (alone,), (score,) = _train(architecture, (seed,))
        said = f"{architecture.name}: seed {seed} trained among others is not what it is alone"
        torch.testing.assert_close(torch.tensor(scores[index]), torch.tensor(score), rtol=1e-8, atol=1e-10, msg=said)
        assert states[index].keys() == alone.keys(), said
        for name, value in alone.items():
            torch.testing.assert_close(states[index][name], value, rtol=1e-8, atol=1e-10, msg=f"{said}: {name}")


def _train(architecture: Architecture, seeds: tuple[int, ...]) -> tuple[list[dict[str, Tensor]], list[list[float]]]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(24, *SHAPES[architecture.modality], generator=generator, dtype=torch.float64)
    labels = (inputs.flatten(1).sum(1) > 0).long() + (inputs.flatten(1)[:, 0] > 1).long()
    examples = Resident(Split(inputs, labels), torch.zeros(1), torch.ones(1), torch.float64)
    recipe = Recipe(lr=0.01, epochs=2, batch_size=8, precision="float64", gradient_clip=1.0, seeds=seeds)
    group = Replicates(architecture, examples, examples, _CLASSES, recipe, seeds)
    scores: list[list[float]] = [[] for _ in seeds]
    for _ in range(recipe.epochs):
        for index, result in enumerate(group.train_epoch()):
            scores[index] += [result.train_loss, result.val_loss, result.val_accuracy]
    return [group.state(index) for index in range(len(seeds))], scores


def check_identity(architecture: Architecture) -> None:
    """Require that a unit whose branch gives 0 passes its input on unchanged, where the shape stays.

    It holds of y = s(x) + c F(x), with ``norm_order: pre``; not of gates, or of styles that weight s(x).
    """
    torch.manual_seed(0)
    network = build(architecture, input_channels(SHAPES[architecture.modality]), _CLASSES).eval()
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    for unit in network.units:
        for parameter in unit.branch.parameters():
            nn.init.zeros_(parameter)
        unit.register_forward_hook(lambda module, inputs, output: seen.append((module, inputs[0], output)))
    network(torch.randn(2, *SHAPES[architecture.modality]))
    tested = [(x, y) for unit, x, y in seen if x.shape == y.shape and not len(unit.shortcut) and not len(unit.before)]  # type: ignore[arg-type]
    assert tested, f"{architecture.name}: no unit keeps its shape"
    for x, y in tested:
        assert torch.equal(x, y), (
            f"{architecture.name}: a unit whose branch gives 0 does not pass its input on unchanged"
        )


def check_augmentation(name: str) -> None:
    """Require of an augmentation what training a group of seeds in one pass needs.

    Draws have one row per example and follow from the generator alone; each image is changed by its own row; shape and
    type stay, numbers are finite; a kind that mixes leaves targets that sum to 1.
    """
    kind, images = AUGMENTATIONS.find(name), torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    draws = kind.draw(len(images), (3, 16, 16), torch.Generator().manual_seed(5))
    again = kind.draw(len(images), (3, 16, 16), torch.Generator().manual_seed(5))
    assert all(len(one) == len(images) for one in draws), f"{name}: a draw does not have one row per example"
    assert all(map(torch.equal, draws, again)), f"{name}: the same generator draws something else"
    before = images.clone()
    if isinstance(kind, Mixing):
        targets = torch.eye(4)[torch.arange(len(images)) % 4]
        out, mixed = kind.mix(images, targets, draws)
        assert mixed.shape == targets.shape, f"{name}: targets of shape {tuple(mixed.shape)}"
        assert torch.allclose(mixed.sum(1), torch.ones(len(images))), f"{name}: targets do not sum to 1"
    else:
        out = kind.apply(images, draws)
        halves = [slice(0, 5), slice(5, None)]
        apart = torch.cat([kind.apply(images[half], tuple(one[half] for one in draws)) for half in halves])
        assert torch.equal(out, apart), f"{name}: an image's change depends on the other images of its batch"
    assert out.shape == images.shape, f"{name}: images of shape {tuple(out.shape)}"
    assert out.dtype == images.dtype, f"{name}: images of type {out.dtype}"
    assert out.isfinite().all(), f"{name}: numbers are not finite"
    assert torch.equal(images, before), f"{name}: changes the images that it is given"


def check_dataset(name: str, argument: str = "", options: Options = _AS_THEY_ARE) -> None:
    """Require that a data set loads, twice the same, with a label for each input and an example of each class."""
    kind = DATASETS.find(name)
    data, again = kind.load(argument, options), kind.load(argument, options)
    for one in (data, again):
        assert isinstance(one, Dataset), f"{name}: its loader returns a {type(one).__name__}, not a Dataset"
    assert len(data.inputs) == len(data.labels) > 0, f"{name}: {len(data.inputs)} inputs, {len(data.labels)} labels"
    assert data.labels.dtype == torch.int64, f"{name}: labels of type {data.labels.dtype}, not int64"
    present = data.labels.unique().tolist()
    assert present == list(range(len(data.classes))), f"{name}: {len(data.classes)} classes, labels {present}"
    assert len(data.classes) > 1, f"{name}: fewer than two classes"
    assert len(data.input_shape) in (1, 2, 3), f"{name}: inputs of shape {data.input_shape}"
    assert data.source, f"{name}: no sentence on where the data come from"
    assert torch.equal(data.labels, again.labels), f"{name}: loaded twice, its labels differ"
    if isinstance(data.inputs, Tensor) and isinstance(again.inputs, Tensor):
        assert torch.equal(data.inputs, again.inputs), f"{name}: loaded twice, its inputs differ"


def checks(kind: str, name: str, is_identity: bool = False) -> list[Check]:
    """Return the checks of one registered thing.

    Args:
        kind: ``blocks``, ``skips``, ``shortcuts``, ``stems``, ``augmentations`` or ``datasets``.
        name: what it is registered as.
        is_identity: of a skip style: with a branch that gives 0 it is the identity (see `check_identity`).

    Raises RessearchError for an unknown kind or name.
    """
    makers: dict[str, Callable[[str], list[Check]]] = {
        "blocks": _block_checks,
        "skips": functools.partial(_skip_checks, is_identity=is_identity),
        "shortcuts": _shortcut_checks,
        "stems": _stem_checks,
        "augmentations": lambda name: [Check("augmentation", lambda: check_augmentation(name))],
        "datasets": lambda name: [Check("dataset", lambda: check_dataset(name))],
    }
    if kind not in makers:
        raise RessearchError(f"no checks for '{kind}'; {nearest(kind, makers)}")
    REGISTRIES[kind].find(name)
    return makers[kind](name)


def parametrize_with_checks(kind: str, name: str, is_identity: bool = False) -> Any:
    """Return a decorator that runs a pytest function once for each check, which it is given as `check`.

    Takes what `checks` takes.
    """
    import pytest

    found = checks(kind, name, is_identity)
    return pytest.mark.parametrize("check", found, ids=[check.name for check in found])


def _network_checks(network: Architecture) -> list[Check]:
    return [
        Check(f"{what}-{network.name}", functools.partial(check, network))
        for what, check in (("cost", check_cost), ("round_trip", check_round_trip), ("replicates", check_replicates))
    ]


def _small(block: str, **fields: Any) -> Iterator[Architecture]:
    """Yield networks of two stages, the second of another shape; those that are refused left out."""
    for order, norm in (("post", "batch"), ("pre", "batch"), ("post", "none")):
        try:
            yield Architecture(block, (2, 1), **{"widths": (4, 8), "norm_order": order, "norm": norm, **fields})
        except ArchitectureError:
            continue


def _block_checks(name: str) -> list[Check]:
    networks = [one for skip in ("none", "depth_scaled") for one in _small(name, skip=skip)]
    for fields in ({"bottleneck_ratio": 2.0}, {"kernel_size": 5, "se_ratio": 0.5}):
        networks += list(_small(name, skip="depth_scaled", **fields))[:1]
    return [check for one in dict.fromkeys(networks) for check in _network_checks(one)]


def _skip_checks(name: str, is_identity: bool) -> list[Check]:
    widths = (8, 12) if SKIPS[name].has_transitions else (4, 8)
    blocks = ("basic", "bottleneck", "mlp", "transformer")
    networks = [one for block in blocks for one in _small(block, skip=name, widths=widths)]
    found = [check for one in networks for check in _network_checks(one)]
    if is_identity:
        pre = [one for one in networks if one.norm_order == "pre"]
        found += [Check(f"identity-{one.name}", functools.partial(check_identity, one)) for one in pre]
    return found


def _shortcut_checks(name: str) -> list[Check]:
    networks = [one for block in ("basic", "bottleneck") for one in _small(block, shortcut=name, skip="depth_scaled")]
    return [check for one in networks for check in _network_checks(one)]


def _stem_checks(name: str) -> list[Check]:
    blocks = {BLOCKS[block].modality: block for block in ("transformer", "mlp", "basic")}
    networks = [
        one for modality in STEMS[name].modalities for one in _small(blocks[modality], stem=name, skip="depth_scaled")
    ]
    return [check for one in networks for check in _network_checks(one)]


__all__ = [
    "SHAPES",
    "Check",
    "check_augmentation",
    "check_cost",
    "check_dataset",
    "check_identity",
    "check_replicates",
    "check_round_trip",
    "checks",
    "counted",
    "parametrize_with_checks",
]
