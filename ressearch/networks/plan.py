"""From an Architecture to stages of layers: the one description of a network, of which both readings are made.

`build` turns its layers into modules, `ressearch.cost` sums their costs. Identical blocks are cached
with their cost, so planning and costing a network takes time in proportion to its stages, not to its blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from ressearch.errors import ArchitectureError
from ressearch.limits import short
from ressearch.networks.architecture import Architecture, Entry
from ressearch.networks.blocks import BlockSpec, branches_of, get_block
from ressearch.networks.layers import (
    Activation,
    Affine,
    Cost,
    GlobalAveragePool,
    Layer,
    Layers,
    Linear,
    Norm,
    ShapeError,
    norm_layers,
    pointwise,
    trace,
)
from ressearch.networks.merges import Merge
from ressearch.networks.shortcuts import UnitSpec, get_shortcut
from ressearch.networks.skips import Options, get_skip
from ressearch.networks.stems import STEMS, StemSpec
from ressearch.registry import cached, written
from ressearch.shapes import Shape

_KEPT = 2**14
"""Distinct blocks that are kept."""


def _sides(shape: Shape) -> str:
    return "x".join(map(str, shape))


class Part:
    """Something on the main path that remembers what it costs for each shape of input."""

    def __init__(self) -> None:
        self._traced: dict[Shape, tuple[Cost, Shape]] = {}

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Return the cost for one input of `shape`, and the shape that leaves."""
        known = self._traced.get(shape)
        if known is None:
            known = self._traced[shape] = self._trace(shape)
        return known

    def _trace(self, shape: Shape) -> tuple[Cost, Shape]:
        raise NotImplementedError


class Chain(Part):
    """Layers one after another: stem, transition or head."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers

    def _trace(self, shape: Shape) -> tuple[Cost, Shape]:
        return trace(self.layers, shape)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


class Residual(NamedTuple):
    """One residual unit: ``after(merge(x, shortcut(x), branch(x)))`` with x passed through `before` first.

    Attributes:
        before: norm and activation shared by branch and shortcut (pre-activation units that change the shape).
        branch: F.
        shortcut: layers on x; empty is the identity.
        merge: how the two meet; None where there is no way around F, as everywhere in the plain network.
        after: what follows the meeting.
    """

    before: Layers
    branch: Layers
    shortcut: Layers
    merge: Merge | None
    after: Layers

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Return the unit's cost for one input of `shape`, and the shape that leaves it."""
        total, shape = trace(self.before, shape)
        branch, out_shape = trace(self.branch, shape)
        total += branch
        if self.merge:
            cost, beside = trace(self.shortcut, shape)
            total += cost._replace(saved=0)
            if self.merge.adds and beside != out_shape:
                given = f"its branch gives {_sides(out_shape)}, the shortcut {_sides(beside)}"
                raise ShapeError(f"{given}: they cannot be added")
            merge, out_shape = self.merge.trace(shape, out_shape)
            total += merge
        after, out_shape = trace(self.after, out_shape)
        return total + after, out_shape


class Block(Part):
    """One block: a residual unit, or several one after another (a transformer's attention and MLP)."""

    def __init__(self, units: tuple[Residual, ...], name: str) -> None:
        super().__init__()
        self.units, self.name = units, name

    def _trace(self, shape: Shape) -> tuple[Cost, Shape]:
        total = Cost()
        try:
            for unit in self.units:
                cost, shape = unit.trace(shape)
                total += cost
        except ShapeError as error:
            raise ArchitectureError(f"block: '{self.name}': {error}") from None
        return total, shape


class Stage(NamedTuple):
    """A stage: layers that change the shape first, if the block or skip has such, then (block, how many) in turn."""

    transition: Chain | None
    runs: tuple[tuple[Block, int], ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """Every block, in order."""
        for block, count in self.runs:
            for _ in range(count):
                yield block

    @property
    def units(self) -> Iterator[Residual]:
        """Every residual unit, in order."""
        for block in self.blocks:
            yield from block.units

    @property
    def parts(self) -> Iterator[tuple[Part, int]]:
        """The transition and the blocks, in order, equal neighbours counted."""
        if self.transition:
            yield self.transition, 1
        yield from self.runs


class Plan(NamedTuple):
    """A network as layers: stem, stages of residual units, head. `head` ends in the classifier, if there is one."""

    stem: Chain
    stages: tuple[Stage, ...]
    head: Chain

    @property
    def parts(self) -> Iterator[tuple[Part, int]]:
        """Everything on the main path, in order, equal neighbours counted."""
        yield self.stem, 1
        for stage in self.stages:
            yield from stage.parts
        yield self.head, 1


class _Style:
    """What all blocks of a network share; one object for equal styles (`_style`), so that it is a quick key."""

    def __init__(
        self,
        block: str,
        se_ratio: float,
        se_position: str,
        activation: str,
        norm: str,
        norm_order: str,
        dropout: float,
        skip: str,
        skip_options: Options,
        shortcut: str,
    ) -> None:
        self.names = {"block": block, "skip": skip, "shortcut": shortcut}
        self.kind, self.skip, self.shortcut = get_block(block), get_skip(skip, skip_options), get_shortcut(shortcut)
        self.norm, self.norm_order, self.activation = norm, norm_order, activation
        self.bias = norm == "none" and not self.skip.replaces_biases
        self._shared: dict[str, Any] = {
            "se_ratio": se_ratio,
            "se_position": se_position,
            "activation": activation,
            "norm": norm,
            "norm_order": norm_order,
            "dropout": dropout,
            "bias": self.bias,
        }

    def block(self, in_width: int, width: int, **numbers: Any) -> BlockSpec:
        """Return one block as block functions see it."""
        return BlockSpec(in_width, width, **numbers, **self._shared)

    def unit(self, in_width: int, width: int, stride: int, kernel_size: int = 1) -> UnitSpec:
        """Return one unit as skips and shortcuts see it."""
        is_activated = self.norm_order == "post" and self.kind.after == "activation"
        return UnitSpec(
            in_width,
            width,
            stride,
            self.kind.modality,
            kernel_size,
            self.norm,
            self.norm_order,
            self.bias,
            is_activated,
        )


_style = cached(functools.lru_cache(maxsize=_KEPT)(_Style))


def plan(architecture: Architecture, in_channels: int = 3, num_classes: int | None = None) -> Plan:
    """Return the layers of `architecture` for inputs of `in_channels` channels (or features) and `num_classes` classes.

    Without classes (0) there is no classifier: the head ends in the pooled features.

    Raises ArchitectureError if the fields contradict each other, such as a group width that does not divide a width.
    """
    a, style = architecture, _style_of(architecture)
    stages = tuple(
        _stage(a, style, stage, entry, blocks)
        for stage, (entry, blocks) in enumerate(zip(a.entries, a.depths, strict=True))
    )
    return Plan(_stem_of(a, style, in_channels), stages, _head_of(a, style, num_classes))


def section(
    architecture: Architecture, stage: int, blocks: int, in_channels: int = 3, num_classes: int | None = None
) -> Iterator[tuple[Part, int]]:
    """Yield the parts of one stage, as `Plan.parts` does: the stem ahead of the first, the head behind the last.

    Args:
        architecture: the network.
        stage: which of its stages, from 0.
        blocks: how many blocks the stage is to have; the network's own number gives its own parts.
        in_channels: as in `plan`.
        num_classes: as in `plan`.

    Raises ArchitectureError if the fields contradict each other in this stage; what others say does not matter.
    """
    a, style = architecture, _style_of(architecture)
    if stage == 0:
        yield _stem_of(a, style, in_channels), 1
    yield from _stage(a, style, stage, a.entries[stage], blocks).parts
    if stage == len(a.depths) - 1:
        yield _head_of(a, style, num_classes), 1


def _style_of(a: Architecture) -> _Style:
    return _style(
        a.block,
        a.se_ratio,
        a.se_position,
        a.activation,
        a.norm,
        a.norm_order,
        a.dropout,
        a.skip,
        a.skip_options,
        a.shortcut,
    )


def _stage(a: Architecture, style: _Style, stage: int, entry: Entry, blocks: int) -> Stage:
    numbers = [a.at_stage(key, stage) for key in ("bottleneck_ratio", "group_width", "kernel_size")]
    transition = None
    if entry.has_transition:
        transition = _transition(style, entry.in_width, entry.width, a.strides[stage])
    runs, stride = [], entry.stride
    for in_width, width, count in style.skip.block_widths(entry.width, a.widths[stage], blocks):
        runs.append((_block(style, in_width, width, stride, *numbers), count))
        stride = 1
    return Stage(transition, tuple(runs))


def _stem_of(a: Architecture, style: _Style, in_channels: int) -> Chain:
    return _stem(style, a.stem, in_channels, a.stem_width)


def _head_of(a: Architecture, style: _Style, num_classes: int | None) -> Chain:
    return _head(style, a.widths[-1], a.head_width, a.default_classes if num_classes is None else num_classes)


@cached
@functools.lru_cache(maxsize=_KEPT)
def _block(
    style: _Style, in_width: int, width: int, stride: int, ratio: float, group_width: int | None, kernel_size: int
) -> Block:
    spec = style.block(
        in_width, width, stride=stride, bottleneck_ratio=ratio, group_width=group_width, kernel_size=kernel_size
    )
    units = []
    for branch in branches_of(style.names["block"], style.kind, spec):
        unit = style.unit(in_width, width, stride, kernel_size)
        units.append(_residual(style, unit, _skip(style, "branch", branch, unit)))
        in_width, stride = width, 1
    return Block(tuple(units), style.names["block"])


def _skip(style: _Style, method: str, *arguments: Any) -> Any:
    """Call a method of the skip style, which a plugin may bring."""
    return written("skip", style.names["skip"], lambda: getattr(style.skip, method)(*arguments))


def _residual(style: _Style, unit: UnitSpec, branch: Layers) -> Residual:
    merge = _skip(style, "merge", unit)
    if merge is not None and not isinstance(merge, Merge):
        raise ArchitectureError(
            f"skip: '{style.names['skip']}' merges with {short(merge)}; expected a layer of ressearch.networks.merges, "
            "or None for no way around"
        )
    shortcut: Layers = ()
    if merge and style.skip.has_shortcut:
        found = written("shortcut", style.names["shortcut"], lambda: style.shortcut(unit))
        if found is None:
            merge = None
        else:
            shortcut = _skip(style, "shortcut", found, unit)
    before: Layers = ()
    if any(layer.weighted for layer in shortcut):
        # He et al. 2016: where the shortcut is a projection, it too sees the pre-activated input.
        lead = next(at for at, layer in enumerate(branch) if not isinstance(layer, Norm | Activation | Affine))
        before, branch = branch[:lead], branch[lead:]
    after: Layers = ()
    if unit.is_activated:
        after = (Activation(style.activation),)
    elif style.norm_order == "post" and style.kind.after == "norm":
        after = norm_layers(style.norm, unit.width, unit.modality)
    return Residual(before, branch, shortcut, merge, after)


@cached
@functools.lru_cache(maxsize=_KEPT)
def _transition(style: _Style, in_width: int, width: int, stride: int) -> Chain:
    layers = style.skip.transition(style.unit(in_width, width, stride), style.activation)
    if not layers and style.kind.transition:
        layers = style.kind.transition(style.block(in_width, width), stride)
    return Chain(layers)


@cached
@functools.lru_cache(maxsize=_KEPT)
def _stem(style: _Style, stem: str, in_channels: int, width: int) -> Chain:
    spec = StemSpec(
        in_channels,
        width,
        style.kind.modality,
        style.norm,
        style.norm_order,
        style.activation,
        bias=style.norm == "none",
    )
    return Chain(written("stem", stem, lambda: STEMS[stem].layers(spec)))


@cached
@functools.lru_cache(maxsize=_KEPT)
def _head(style: _Style, width: int, head_width: int | None, num_classes: int) -> Chain:
    if type(num_classes) is not int or num_classes < 0:
        raise ArchitectureError(f"num_classes: {short(num_classes)} is not a whole number of at least 0")
    kind, act = style.kind, Activation(style.activation)
    layers: list[Layer] = []
    if kind.final != "norm of the mean" and style.norm_order == "pre":
        layers += norm_layers(style.norm, width, kind.modality)
        layers += [act] if kind.final == "norm and activation" else []
    if head_width is not None:
        conv = pointwise(kind.modality, width, head_width, bias=style.norm == "none")
        layers += [conv, *norm_layers(style.norm, head_width, kind.modality), act]
        width = head_width
    layers.append(GlobalAveragePool(kind.modality))
    if kind.final == "norm of the mean":
        layers += norm_layers(style.norm, width, "vector")
    return Chain((*layers, Linear(width, num_classes)) if num_classes else tuple(layers))
