"""From an Architecture to stages of layers (`plan`) and on to a torch module (`build`).

The plan is the one description of a network: `build` turns its layers into modules, `ressearch.cost` sums their costs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ressearch.architecture import Architecture
from ressearch.blocks import BlockSpec, get_block
from ressearch.layers import (
    Activation,
    Conv,
    Cost,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Norm,
    Shape,
    trace,
)
from ressearch.skips import Merge, UnitSpec, get_shortcut, get_skip


@dataclass(frozen=True, slots=True)
class Residual:
    """One residual unit: ``after(merge(x, shortcut(x), branch(x)))`` with x passed through `before` first.

    Attributes:
        before: norm and activation shared by branch and shortcut (pre-activation units that change the shape).
        branch: F.
        shortcut: layers on x; empty is the identity.
        merge: how the two meet; None for the plain network, which has no shortcut.
        after: what follows the meeting.
    """

    before: tuple[Layer, ...]
    branch: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]
    merge: Merge | None
    after: tuple[Layer, ...]

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Return the unit's cost for one input of `shape`, and the shape that leaves it."""
        before, shape = trace(self.before, shape)
        branch, out_shape = trace(self.branch, shape)
        shortcut, _ = trace(self.shortcut, shape)
        merge = self.merge.cost(shape, out_shape) if self.merge else Cost()
        after, out_shape = trace(self.after, out_shape)
        return before + branch + shortcut + merge + after, out_shape


@dataclass(frozen=True, slots=True)
class Plan:
    """A network as layers: stem, stages of residual units, head. `head` ends in the classifier."""

    stem: tuple[Layer, ...]
    stages: tuple[tuple[Residual, ...], ...]
    head: tuple[Layer, ...]

    @property
    def parts(self) -> Iterator[Residual | Layer]:
        """Everything on the main path, in order."""
        yield from self.stem
        for stage in self.stages:
            yield from stage
        yield from self.head


def plan(architecture: Architecture, in_channels: int = 3, num_classes: int | None = None) -> Plan:
    """Return the layers of `architecture` for inputs of `in_channels` channels and `num_classes` classes.

    Raises ArchitectureError if the fields do not fit each other (group width and widths, say).
    """
    stages = []
    in_width, index = architecture.stem_width, 0
    for stage, depth in enumerate(architecture.depths):
        width = architecture.widths[stage]
        units = []
        for position in range(depth):
            stride = architecture.strides[stage] if position == 0 else 1
            units.append(_unit(architecture, stage, in_width, stride, index))
            in_width, index = width, index + 1
        stages.append(tuple(units))
    return Plan(
        _stem(architecture, in_channels),
        tuple(stages),
        _head(architecture, architecture.default_classes if num_classes is None else num_classes),
    )


def _unit(architecture: Architecture, stage: int, in_width: int, stride: int, index: int) -> Residual:
    group_width = architecture.group_width
    spec = BlockSpec(
        in_width=in_width,
        width=architecture.widths[stage],
        stride=stride,
        bottleneck_ratio=architecture.bottleneck_ratio,
        group_width=group_width[stage] if isinstance(group_width, tuple) else group_width,
        se_ratio=architecture.se_ratio,
        kernel_size=architecture.kernel_size,
        activation=architecture.activation,
        norm=architecture.norm,
        norm_order=architecture.norm_order,
    )
    unit = UnitSpec(in_width, spec.width, stride, spec.norm, spec.norm_order, index, count=sum(architecture.depths))
    merge = get_skip(architecture.skip, architecture.skip_options).merge(unit)
    return _residual(architecture.block, spec, architecture.shortcut, unit, merge)


@functools.lru_cache(maxsize=4096)
def _residual(block: str, spec: BlockSpec, shortcut: str, unit: UnitSpec, merge: Merge | None) -> Residual:
    registered = get_block(block)
    branch = registered.branch(spec)
    shortcut_layers = get_shortcut(shortcut)(unit) if merge else ()
    before: tuple[Layer, ...] = ()
    if spec.norm_order == "pre" and any(layer.is_weighted for layer in shortcut_layers):
        # He et al. 2016: where the shortcut is a projection, it too sees the pre-activated input.
        lead = next(place for place, layer in enumerate(branch) if not isinstance(layer, Norm | Activation))
        before, branch = branch[:lead], branch[lead:]
    has_activation = spec.norm_order == "post" and registered.activation_after_addition
    after = (Activation(spec.activation),) if has_activation else ()
    return Residual(before, branch, shortcut_layers, merge, after)


def _norm_activation(architecture: Architecture, width: int) -> tuple[Layer, ...]:
    act = Activation(architecture.activation)
    return (act,) if architecture.norm == "none" else (Norm(architecture.norm, width), act)


def _stem(architecture: Architecture, in_channels: int) -> tuple[Layer, ...]:
    width, bias = architecture.stem_width, architecture.norm == "none"
    if architecture.stem == "imagenet":
        conv = Conv(in_channels, width, kernel=7, stride=2, bias=bias)
        return (conv, *_norm_activation(architecture, width), MaxPool())
    conv = Conv(in_channels, width, kernel=3, bias=bias)
    # A pre-activation network's first block brings its own norm and activation (He et al. 2016).
    return (conv,) if architecture.norm_order == "pre" else (conv, *_norm_activation(architecture, width))


def _head(architecture: Architecture, num_classes: int) -> tuple[Layer, ...]:
    width = architecture.widths[-1]
    last = _norm_activation(architecture, width) if architecture.norm_order == "pre" else ()
    return (*last, GlobalAveragePool(), Linear(width, num_classes))


def _sequential(layers: Sequence[Layer]) -> nn.Sequential:
    return nn.Sequential(*(layer.module() for layer in layers))


class ResidualUnit(nn.Module):
    """A `Residual` as a module: maps ``(batch, *shape)`` to ``(batch, *output_shape)``."""

    def __init__(self, description: Residual) -> None:
        super().__init__()
        self.before = _sequential(description.before)
        self.branch = _sequential(description.branch)
        self.shortcut = _sequential(description.shortcut)
        self.merge = description.merge.module() if description.merge else None
        self.after = _sequential(description.after)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the unit."""
        x = self.before(input)
        residual = self.branch(x)
        merged = residual if self.merge is None else self.merge(x, self.shortcut(x), residual)
        return self.after(merged)


class ResidualNetwork(nn.Module):
    """The network of a `Plan`: maps ``(batch, *input_shape)`` to logits ``(batch, classes)``."""

    def __init__(self, architecture: Architecture, description: Plan) -> None:
        super().__init__()
        self.architecture = architecture
        self.stem = _sequential(description.stem)
        self.stages = nn.Sequential(
            *(nn.Sequential(*(ResidualUnit(unit) for unit in stage)) for stage in description.stages)
        )
        self.head = _sequential(description.head)

    def forward(self, input: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        return self.head(self.stages(self.stem(input)))


def build(architecture: Architecture, in_channels: int = 3, num_classes: int | None = None) -> ResidualNetwork:
    """Build the torch module of `architecture`, initialised from torch's global random state.

    Args:
        architecture: the network.
        in_channels: channels of the input, shape (batch, in_channels, height, width).
        num_classes: outputs; None takes those of the data the stem was published for
            (10 for `cifar`, 1000 for `imagenet`).

    Returns:
        A module whose `forward` returns logits, shape (batch, num_classes).

    Raises:
        ArchitectureError: the architecture's fields do not fit each other.
    """
    network = ResidualNetwork(architecture, plan(architecture, in_channels, num_classes))
    initialise(network)
    return network


def initialise(network: ResidualNetwork) -> None:
    """Draw the weights: He initialisation, fan-out, for convolutions (He et al. 2015b); norms 1 and 0; biases 0.

    The classifier keeps torch's default (uniform within 1/sqrt(fan-in)).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
