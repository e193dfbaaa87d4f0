"""The layer vocabulary: each layer describes itself once, as the torch module it becomes and as what that costs.

A layer maps a *shape* (without the batch: ``(channels, height, width)``) to a shape. Blocks, stems and heads are
tuples of layers; `ressearch.network` turns them into modules and `ressearch.cost` sums what they cost, so no
network's shape is stated twice.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ressearch.errors import ArchitectureError

Shape = tuple[int, ...]


class Cost(NamedTuple):
    """What a network, or a part of it, costs for one input.

    Attributes:
        params: learnable parameters.
        macs: multiply-accumulates of convolutions and linear layers, bias additions counted (as pycls counts);
            FLOPs = 2 x MACs.
        activations: output elements of all convolutions and linear layers and of the stem's max-pool.
    """

    params: int = 0
    macs: int = 0
    activations: int = 0

    def __add__(self, other: object) -> Cost:
        """Sum two costs field by field."""
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.params + other.params, self.macs + other.macs, self.activations + other.activations)

    def times(self, count: int) -> Cost:
        """Return the cost of `count` equal parts."""
        return Cost(self.params * count, self.macs * count, self.activations * count)


class Layer(ABC):
    """One layer: `trace` says what it costs and which shape leaves it, `module` builds it."""

    is_weighted: ClassVar[bool] = False
    """Whether the layer counts towards the papers' depth when it stands on the main path."""

    @abstractmethod
    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Return the cost for one input of `shape`, and the shape of its output."""

    @abstractmethod
    def module(self) -> nn.Module:
        """Build the torch module; it maps ``(batch, *shape)`` to ``(batch, *output_shape)``."""


def trace(layers: Sequence[Layer], shape: Shape) -> tuple[Cost, Shape]:
    """Return the summed cost of `layers` applied in turn to one input of `shape`, and the shape that leaves them."""
    total = Cost()
    for layer in layers:
        cost, shape = layer.trace(shape)
        total = total + cost
    return total, shape


def _strided(size: int, kernel: int, stride: int, padding: int) -> int:
    out = (size + 2 * padding - kernel) // stride + 1
    if out < 1:
        raise ArchitectureError(f"an input of side {size} is too small for a {kernel}x{kernel} window")
    return out


@dataclass(frozen=True, slots=True)
class Conv(Layer):
    """A 2-d convolution, zero-padded by half its kernel unless `padding` says otherwise."""

    in_width: int
    width: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    padding: int | None = None

    is_weighted: ClassVar[bool] = True

    @property
    def _padding(self) -> int:
        return self.kernel // 2 if self.padding is None else self.padding

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of the convolution; see `Layer.trace`."""
        _, height, width = shape
        height = _strided(height, self.kernel, self.stride, self._padding)
        width = _strided(width, self.kernel, self.stride, self._padding)
        weights = self.kernel * self.kernel * (self.in_width // self.groups) * self.width
        biases = self.width if self.bias else 0
        pixels = height * width
        cost = Cost(weights + biases, (weights + biases) * pixels, self.width * pixels)
        return cost, (self.width, height, width)

    def module(self) -> nn.Module:
        """Build `torch.nn.Conv2d`."""
        return nn.Conv2d(
            self.in_width,
            self.width,
            self.kernel,
            self.stride,
            self._padding,
            groups=self.groups,
            bias=self.bias,
        )


@dataclass(frozen=True, slots=True)
class Linear(Layer):
    """A linear layer over the last axis of its input."""

    in_width: int
    width: int
    bias: bool = True

    is_weighted: ClassVar[bool] = True

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of the product (and the bias), at every position; see `Layer.trace`."""
        positions = math.prod(shape[:-1])
        params = self.in_width * self.width + (self.width if self.bias else 0)
        return Cost(params, params * positions, self.width * positions), (*shape[:-1], self.width)

    def module(self) -> nn.Module:
        """Build `torch.nn.Linear`."""
        return nn.Linear(self.in_width, self.width, self.bias)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of ``(batch, channels, height, width)``, at each pixel (ConvNeXt)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise over axis 1."""
        moved = input.permute(0, 2, 3, 1)
        return functional.layer_norm(moved, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


NORMS: dict[str, str] = {
    "batch": "batch normalisation (Ioffe and Szegedy 2015)",
    "group": "group normalisation, 32 groups or the nearest divisor below (Wu and He 2018)",
    "layer": "layer normalisation over channels (Ba et al. 2016)",
    "none": "no normalisation; convolutions carry a bias",
}


@dataclass(frozen=True, slots=True)
class Norm(Layer):
    """A normalisation with a learned scale and shift for each channel."""

    kind: str
    width: int

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Two parameters a channel; no MACs by convention; see `Layer.trace`."""
        return Cost(params=2 * self.width), shape

    def module(self) -> nn.Module:
        """Build the torch normalisation of this kind."""
        if self.kind == "batch":
            return nn.BatchNorm2d(self.width)
        if self.kind == "layer":
            return ChannelLayerNorm(self.width, eps=1e-6)
        # At least two channels a group: a group of one channel and one pixel would always normalise to zero.
        most = min(32, max(1, self.width // 2))
        groups = next(count for count in range(most, 0, -1) if self.width % count == 0)
        return nn.GroupNorm(groups, self.width)


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An element-wise non-linearity; free by the counting convention."""

    kind: str

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape

    def module(self) -> nn.Module:
        """Build the torch activation of this kind."""
        return ACTIVATIONS[self.kind]()


@dataclass(frozen=True, slots=True)
class MaxPool(Layer):
    """A max-pool; its outputs count as activations (the stem's max-pool, as pycls counts)."""

    kernel: int = 3
    stride: int = 2

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Output elements only; see `Layer.trace`."""
        channels, *sides = shape
        out = (channels, *(_strided(side, self.kernel, self.stride, self.kernel // 2) for side in sides))
        return Cost(activations=math.prod(out)), out

    def module(self) -> nn.Module:
        """Build `torch.nn.MaxPool2d`."""
        return nn.MaxPool2d(self.kernel, self.stride, self.kernel // 2)


class _GlobalAveragePool(nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        return input.mean((2, 3))


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(Layer):
    """The mean over all pixels: ``(channels, height, width)`` to ``(channels,)``."""

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape[:1]

    def module(self) -> nn.Module:
        """Build the mean."""
        return _GlobalAveragePool()


class _SubsampleAndPad(nn.Module):
    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, input: Tensor) -> Tensor:
        subsampled = input[:, :, :: self.stride, :: self.stride]
        before = self.extra // 2
        return functional.pad(subsampled, (0, 0, 0, 0, before, self.extra - before))


@dataclass(frozen=True, slots=True)
class SubsampleAndPad(Layer):
    """Option A of He et al. 2015: every `stride`-th pixel, new channels zero; no parameters."""

    in_width: int
    width: int
    stride: int

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing; see `Layer.trace`."""
        return Cost(), (self.width, *(-(-side // self.stride) for side in shape[1:]))

    def module(self) -> nn.Module:
        """Build the subsampling and zero padding of channels."""
        return _SubsampleAndPad(self.width - self.in_width, self.stride)


class _SqueezeExcite(nn.Module):
    def __init__(self, reduce: nn.Module, activation: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce, self.activation, self.expand = reduce, activation, expand

    def forward(self, input: Tensor) -> Tensor:
        squeezed = self.activation(self.reduce(input.mean((2, 3), keepdim=True)))
        return input * torch.sigmoid(self.expand(squeezed))


@dataclass(frozen=True, slots=True)
class SqueezeExcite(Layer):
    """Squeeze-and-excitation (Hu et al. 2018): channels reweighted by two 1x1 convolutions of their means."""

    width: int
    squeezed_width: int
    activation: str = "relu"

    @property
    def _convs(self) -> tuple[Conv, Conv]:
        return (
            Conv(self.width, self.squeezed_width, bias=True),
            Conv(self.squeezed_width, self.width, bias=True),
        )

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of the two 1x1 convolutions on one pixel; see `Layer.trace`."""
        cost, _ = trace(self._convs, (self.width, 1, 1))
        return cost, shape

    def module(self) -> nn.Module:
        """Build the two convolutions and the gate."""
        reduce, expand = self._convs
        return _SqueezeExcite(reduce.module(), ACTIVATIONS[self.activation](), expand.module())
