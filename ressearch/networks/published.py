"""Weights in the layouts of timm and torchvision: `to_published` writes a network's state under their keys,
`load_published` reads it. Which key is which stands in the tables of `ressearch.networks.layouts`; here they are
read against a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ressearch.errors import ArchitectureError, nearest
from ressearch.networks.layers import SqueezeExciteModule
from ressearch.networks.layouts import Layout, family_of
from ressearch.networks.module import ResidualNetwork, ResidualUnit

_COUNT = "num_batches_tracked"
"""Batch norm's count of batches, which older published files leave out and no result depends on."""


class Entry(NamedTuple):
    """One tensor of a network as others publish it: its key and shape there."""

    key: str
    shape: tuple[int, ...]


def published_keys(network: ResidualNetwork, layout: str = "timm") -> dict[str, str]:
    """Return the published key of each key of the network's state dict.

    Args:
        network: the network.
        layout: ``timm`` or ``torchvision``.

    Raises:
        ArchitectureError: the network is of no published family (`ressearch.networks.layouts.FAMILIES`), or the layout
            is unknown.
    """
    return {ours: entry.key for ours, entry in _entries(network, _layout(network, layout)).items()}


def _layout(network: ResidualNetwork, house: str) -> Layout:
    layouts = {house: one for one in family_of(network.architecture).layouts for house in one.houses}
    if house not in layouts:
        raise ArchitectureError(f"layout: '{house}' is unknown; {nearest(house, layouts)}")
    return layouts[house]


def _entries(network: ResidualNetwork, layout: Layout) -> dict[str, Entry]:
    """Return what a layout makes of each key of a network's state dict."""
    ours = {module: name for name, module in network.named_modules()}
    state = network.state_dict()
    entries = {}
    for holder, key, published in _named(network, layout):
        shape = tuple(state[f"{ours[holder]}.{key}"].shape)
        axes = next((axes for end, axes in layout.axes.items() if published.endswith(end)), len(shape))
        shape = (*shape, 1, 1)[:axes] if axes > len(shape) else shape[:axes]
        entries[f"{ours[holder]}.{key}"] = Entry(published, shape)
    return entries


def _named(network: ResidualNetwork, layout: Layout) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield each tensor of the state dict: the module that holds it, its name there, the layout's name of it."""
    architecture = network.architecture
    stages = list(network.stages.children())
    count = {"N": len(stages) + 1}
    yield from _pairs(_weighted(network.stem), layout.stem[architecture.stem].format(**count))
    for s, stage in enumerate(stages):
        numbers = {"s": s, "S": s + 1, "even": 2 * s, "odd": 2 * s + 1}
        units = [module for module in stage.children() if isinstance(module, ResidualUnit)]
        for transition in (module for module in stage.children() if not isinstance(module, ResidualUnit)):
            yield from _pairs(_weighted(transition), layout.transition.format(**numbers))
        for b, unit in enumerate(units):
            yield from _unit(unit, layout, layout.block.format(b=b, B=b + 1, **numbers), architecture.shortcut)
    *before, last = [*_weighted(network.head), network.get_classifier()]
    before = [module for module in before if module is not last]
    yield from _pairs(before, layout.head.format(**count))
    yield from _pairs([last] if network.num_classes else [], layout.classifier if network.num_classes else "")


def _unit(unit: ResidualUnit, layout: Layout, prefix: str, shortcut: str) -> Iterator[tuple[nn.Module, str, str]]:
    has_se = any(isinstance(module, SqueezeExciteModule) for module in unit.branch)
    convs = sum(isinstance(module, nn.Conv2d) for module in unit.branch)
    names = [name for name in layout.branch[convs].split() if has_se or name[0] != "["]
    branch = [*_weighted(unit.before), *_weighted(unit.branch)]
    yield from _pairs(branch, " ".join(name.strip("[]") for name in names), prefix)
    if around := list(_weighted(unit.shortcut)):
        yield from _pairs(around, layout.shortcut[shortcut], prefix)
    if unit.merge is not None:
        yield from ((unit.merge, key, f"{prefix}{layout.scale}") for key in unit.merge.state_dict())


def _weighted(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules with weights of their own, in order."""
    return (one for one in module.modules() if any(True for _ in one.named_parameters(recurse=False)))


def _pairs(modules: Iterable[nn.Module], names: str, prefix: str = "") -> Iterator[tuple[nn.Module, str, str]]:
    for module, name in zip(modules, names.split(), strict=True):
        yield from ((module, key, f"{prefix}{name}.{key}") for key in module.state_dict())


def to_published(network: ResidualNetwork, layout: str = "timm") -> dict[str, Tensor]:
    """Return the network's state dict under timm's or torchvision's keys; the tensors are shared, not copied.

    Arguments and errors as `published_keys`.
    """
    entries, state = _entries(network, _layout(network, layout)), network.state_dict()
    return {entry.key: state[ours].view(entry.shape) for ours, entry in entries.items()}


def layout_of(network: ResidualNetwork, state: Mapping[str, object]) -> tuple[Layout, dict[str, Entry]]:
    """Return the layout of a published state dict, found from its keys, with what each key of ours is there.

    Raises ArchitectureError as `published_keys`.
    """
    known = [(one, _entries(network, one)) for one in family_of(network.architecture).layouts]
    return max(known, key=lambda one: sum(entry.key in state for entry in one[1].values()))


def load_published(network: ResidualNetwork, state: Mapping[str, Tensor]) -> None:
    """Load a state dict with timm's or torchvision's keys, strictly: every key is used, every weight is set.

    Which of the two it is, its keys say. Batch norms' counts of batches may be missing, and then stay; a network
    without a classifier leaves that of the file out. Read files with ``torch.load(file, weights_only=True)`` or
    safetensors, which run no code.

    Raises:
        ArchitectureError: as `published_keys`, or a key is missing, unknown or of another shape (nothing is loaded).
    """
    layout, entries = layout_of(network, state)
    if not network.num_classes:
        state = {key: value for key, value in state.items() if not key.startswith(f"{layout.classifier}.")}
    expected = {entry.key: entry for entry in entries.values()}
    for key in expected:
        if key not in state and not key.endswith(_COUNT):
            raise ArchitectureError(f"state dict: '{key}' is missing ({len(state)} keys, expected {len(expected)})")
    for key, value in state.items():
        if key not in expected:
            raise ArchitectureError(f"state dict: '{key}' is unknown; {nearest(key, expected)}")
        if tuple(value.shape) != expected[key].shape:
            raise ArchitectureError(
                f"state dict: '{key}' has shape {tuple(value.shape)}, expected {expected[key].shape}"
            )
    own = network.state_dict()
    read = {ours: state[entry.key].view(own[ours].shape) for ours, entry in entries.items() if entry.key in state}
    with torch.no_grad():
        network.load_state_dict({**own, **read})
