"""Where x and F(x) meet: layers of three inputs, x, its shortcut s(x) and the branch F(x).

Like a `Layer`, a merge says what it costs and builds its module. What depends on a unit's place among the others (a
survival probability, a constant of the depth) is given when the module is built, so that units that differ in nothing
else are one description.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ressearch.errors import ArchitectureError
from ressearch.networks.layers import Cost, Layer
from ressearch.networks.replicated import (
    DropoutModule,
    Stochastic,
    channel_axis,
    join_replicates,
    split_replicates,
    spread,
)
from ressearch.networks.source import Meeting, call
from ressearch.shapes import Shape


@dataclass(frozen=True, slots=True)
class Place:
    """Where a residual unit stands: its `index` among `count` units of the network, from 0."""

    index: int
    count: int


class Merge(ABC):
    """The layer where the paths meet; `merge(x, s(x), F(x))`."""

    adds: ClassVar[bool] = True
    """Whether s(x) and F(x) have to be of one shape."""

    def trace(self, in_shape: Shape, shape: Shape) -> tuple[Cost, Shape]:
        """Return what the meeting costs for x of `in_shape` and F(x) of `shape`, and the shape that leaves it."""
        return Cost(), shape

    @abstractmethod
    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build a module called as ``merge(x, shortcut, residual)``."""

    def source(self, place: Place, modality: str) -> Meeting:
        """Return how the meeting, alone, is written in Python: with the same parameters, under the same names.

        Raises ArchitectureError if it does not say so: a merge of a plugin that cannot be exported as code.
        """
        raise ArchitectureError(f"{type(self).__name__}: the merge has no `source`, so that code of it can be written")


class _WeightedSum(nn.Module):
    def __init__(self, shortcut_scale: float, residual_scale: float) -> None:
        super().__init__()
        self.shortcut_scale, self.residual_scale = shortcut_scale, residual_scale

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        if self.shortcut_scale != 1:
            shortcut = self.shortcut_scale * shortcut
        return torch.add(shortcut, residual, alpha=self.residual_scale)

    def extra_repr(self) -> str:
        return f"shortcut_scale={self.shortcut_scale:g}, residual_scale={self.residual_scale:g}"


@dataclass(frozen=True, slots=True)
class WeightedSum(Merge):
    """a s(x) + b F(x) with constants; `scales` gives (a, b) for a unit's place."""

    scales: Callable[[Place], tuple[float, float]] = lambda place: (1.0, 1.0)

    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build the sum."""
        return _WeightedSum(*self.scales(place))

    def source(self, place: Place, modality: str) -> Meeting:
        """Write the sum."""
        shortcut, residual = (
            name if scale == 1 else f"{scale!r} * {name}"
            for name, scale in zip(("shortcut", "residual"), self.scales(place), strict=True)
        )
        return Meeting(f"{shortcut} + {residual}")


class LearnedScale1d(nn.Module):
    """Multiplies each of `width` features (all of them, if `width` is 1) by a learned number."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), initial))

    def forward(self, input: Tensor) -> Tensor:
        """Multiply (batch, ..., features)."""
        return input * self.scale


class LearnedScale2d(nn.Module):
    """Multiplies each of `width` channels (all of them, if `width` is 1) by a learned number."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), initial))

    def forward(self, input: Tensor) -> Tensor:
        """Multiply (batch, channels, height, width)."""
        return input * self.scale.view(-1, 1, 1)


class _LearnedScale(nn.Module):
    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        return shortcut + spread(self.scale, residual) * residual


@dataclass(frozen=True, slots=True)
class LearnedScale(Merge):
    """s(x) + scale F(x): one learned number (`width` 1), or one a channel."""

    width: int
    initial: float

    def trace(self, in_shape: Shape, shape: Shape) -> tuple[Cost, Shape]:
        """Its parameters."""
        return Cost(params=self.width), shape

    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build the scale."""
        return _LearnedScale(replicates * self.width, self.initial)

    def source(self, place: Place, modality: str) -> Meeting:
        """Write the scale."""
        kind = LearnedScale2d if modality == "image" else LearnedScale1d
        return Meeting("shortcut + self.merge(residual)", call(kind, self.width, self.initial))


class StochasticDepth(nn.Module):
    """Keeps a branch with probability `survival` in training, for the whole batch; in evaluation scales it by that."""

    def __init__(self, survival: float) -> None:
        super().__init__()
        self.survival = survival

    def forward(self, input: Tensor) -> Tensor:
        """Keep, drop or scale."""
        if not self.training:
            return self.survival * input
        return input * (torch.rand((), device=input.device) < self.survival)


class _Survival(Stochastic):
    def __init__(self, survival: float, replicates: int) -> None:
        super().__init__(replicates)
        self.survival = survival

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        if not self.training:
            return torch.add(shortcut, residual, alpha=self.survival)
        survives = (self.uniform((), residual.device) < self.survival).to(residual.dtype)
        return shortcut + spread(survives, residual) * residual

    def extra_repr(self) -> str:
        return f"survival={self.survival:g}"


@dataclass(frozen=True, slots=True)
class Survival(Merge):
    """s(x) + b F(x), b of 0 or 1 drawn for each mini-batch in training, its probability in evaluation."""

    survival: Callable[[Place], float]

    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build the draw."""
        return _Survival(self.survival(place), replicates)

    def source(self, place: Place, modality: str) -> Meeting:
        """Write the draw."""
        return Meeting("shortcut + self.merge(residual)", call(StochasticDepth, self.survival(place)))


class _DropoutShortcut(nn.Module):
    def __init__(self, rate: float, replicates: int) -> None:
        super().__init__()
        self.dropout = DropoutModule(rate, replicates)

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        kept: Tensor = self.dropout(shortcut)
        return kept + residual


@dataclass(frozen=True, slots=True)
class DropoutShortcut(Merge):
    """dropout(s(x)) + F(x)."""

    rate: float

    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build the dropout."""
        return _DropoutShortcut(self.rate, replicates)

    def source(self, place: Place, modality: str) -> Meeting:
        """Write the dropout."""
        return Meeting("self.merge(shortcut) + residual", call(nn.Dropout, self.rate))


class Gate(nn.Module):
    """A number between 0 and 1 for each element, from `gate`, whose bias starts at `bias`."""

    def __init__(self, gate: nn.Module, bias: float) -> None:
        super().__init__()
        self.gate = gate
        nn.init.constant_(gate.bias, bias)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Return the gate's opening."""
        return torch.sigmoid(self.gate(input))


class GatedSum(nn.Module):
    """The module of `Gated`; its gate's bias starts at `initial_bias`."""

    def __init__(self, gate: nn.Module, bias: float, gates_residual: bool) -> None:
        super().__init__()
        self.gate, self.initial_bias, self.gates_residual = gate, bias, gates_residual

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        """Merge the paths."""
        gate = torch.sigmoid(self.gate(x))
        if self.gates_residual:
            return torch.lerp(shortcut, residual, gate)
        return (1 - gate) * shortcut + residual


@dataclass(frozen=True, slots=True)
class Gated(Merge):
    """(1 - g) s(x) + g F(x), or with F(x) ungated; g = sigmoid(gate(x)), its bias starting at `bias`."""

    gate: Layer
    bias: float
    gates_residual: bool

    def trace(self, in_shape: Shape, shape: Shape) -> tuple[Cost, Shape]:
        """The cost of the gate's layer."""
        return self.gate.trace(in_shape)[0]._replace(saved=0), shape

    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build the gate; `ressearch.networks.module.initialise` sets its bias."""
        return GatedSum(self.gate.module(replicates), self.bias, self.gates_residual)

    def source(self, place: Place, modality: str) -> Meeting:
        """Write the gate."""
        gate = call(Gate, self.gate.source(), self.bias)
        if self.gates_residual:
            return Meeting("torch.lerp(shortcut, residual, self.merge(x))", gate)
        return Meeting("(1 - self.merge(x)) * shortcut + residual", gate)


class _Concatenation(nn.Module):
    def __init__(self, replicates: int) -> None:
        super().__init__()
        self.replicates = replicates

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        axis = channel_axis(x)
        if self.replicates == 1:
            return torch.cat((x, residual), axis)
        parts = [split_replicates(one, self.replicates) for one in (x, residual)]
        return join_replicates(torch.cat(parts, axis + 1), axis)


@dataclass(frozen=True, slots=True)
class Concatenation(Merge):
    """x and F(x) side by side, along the channels."""

    adds = False

    def trace(self, in_shape: Shape, shape: Shape) -> tuple[Cost, Shape]:
        """Free; the channels add up."""
        if len(shape) == 3:
            return Cost(), (in_shape[0] + shape[0], *shape[1:])
        return Cost(), (*shape[:-1], in_shape[-1] + shape[-1])

    def module(self, place: Place, replicates: int = 1) -> nn.Module:
        """Build the concatenation."""
        return _Concatenation(replicates)

    def source(self, place: Place, modality: str) -> Meeting:
        """Write the concatenation."""
        return Meeting(f"torch.cat((x, residual), {1 if modality == 'image' else -1})")
