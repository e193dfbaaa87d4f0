"""The layer vocabulary: each layer describes itself once, as the torch module it becomes and as what that costs.

A layer maps a *shape* (without the batch) to a shape: images are ``(channels, height, width)``, vectors
``(features,)``, sequences ``(tokens, features)``; which of the three a network works on is its *modality*. Blocks,
stems and heads are tuples of layers; `ressearch.networks.module` turns them into modules and `ressearch.cost` sums what
they cost, so no network's shape is stated twice.
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
from ressearch.networks.replicated import (
    DropoutModule,
    ReplicatedLayerNorm,
    ReplicatedLinear,
    channel_axis,
    join_replicates,
    split_replicates,
    spread,
)
from ressearch.networks.source import Call, call
from ressearch.shapes import Shape


class Cost(NamedTuple):
    """What a network, or a part of it, costs for one input.

    Attributes:
        params: learnable parameters.
        macs: multiply-accumulates of convolutions and linear layers, bias additions counted (as pycls counts), and of
            attention's two products; FLOPs = 2 x MACs.
        activations: output elements of all convolutions and linear layers and of the stem's max-pool.
        saved: elements that training keeps at least for the backward pass: the inputs of the main path's convolutions,
            linear layers and norms; see `training_memory`.
    """

    params: int = 0
    macs: int = 0
    activations: int = 0
    saved: int = 0

    def __add__(self, other: object) -> Cost:
        """Sum two costs field by field."""
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self[0] + other[0], self[1] + other[1], self[2] + other[2], self[3] + other[3])

    def times(self, count: int) -> Cost:
        """Return the cost of `count` equal parts."""
        return Cost(self[0] * count, self[1] * count, self[2] * count, self[3] * count)

    def training_memory(self, batch_size: int, optimizer_states: int = 1, bytes_per_number: int = 4) -> int:
        """Return a lower bound, in bytes, of what training holds at once: weights, gradients, states, activations.

        Args:
            batch_size: inputs per training step.
            optimizer_states: numbers an optimizer keeps for each parameter (1 for SGD with momentum, 2 for Adam).
            bytes_per_number: of an activation: 4 for float32, 2 under bfloat16 or float16 autocast.
        """
        return 4 * self.params * (2 + optimizer_states) + bytes_per_number * batch_size * self.saved


class Layer(ABC):
    """One layer: `trace` says what it costs and which shape leaves it, `module` builds it, `str` names it."""

    weighted: ClassVar[int] = 0
    """How many weighted layers it counts for in the papers' depth, when it stands on the main path."""

    @abstractmethod
    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Return the cost for one input of `shape`, and the shape of its output."""

    @abstractmethod
    def module(self, replicates: int = 1) -> nn.Module:
        """Build the torch module; it maps ``(batch, *shape)`` to ``(batch, *output_shape)``.

        Args:
            replicates: how many lie side by side along the channels (`ressearch.networks.replicated`).
        """

    def source(self) -> Call:
        """Return how its module, alone, is written in Python: with the same parameters, under the same names.

        Raises ArchitectureError if it does not say so: a layer of a plugin that cannot be exported as code.
        """
        raise ArchitectureError(f"{type(self).__name__}: the layer has no `source`, so that code of it can be written")


Layers = tuple[Layer, ...]


class ShapeError(ArchitectureError):
    """Layers do not fit each other; `ressearch.networks.plan.Block` says in which block."""


def trace(layers: Sequence[Layer], shape: Shape) -> tuple[Cost, Shape]:
    """Return the summed cost of `layers` applied in turn to one input of `shape`, and the shape that leaves them."""
    total = Cost()
    for layer in layers:
        width = getattr(layer, "in_width", None)
        if width is not None and width != (shape[0] if len(shape) == 3 else shape[-1]):
            given = shape[0] if len(shape) == 3 else shape[-1]
            raise ShapeError(f"a {type(layer).__name__} of {width} channels is given {given}")
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

    weighted: ClassVar[int] = 1

    @property
    def _padding(self) -> int:
        return self.kernel // 2 if self.padding is None else self.padding

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of the convolution; see `Layer.trace`."""
        height = _strided(shape[1], self.kernel, self.stride, self._padding)
        width = _strided(shape[2], self.kernel, self.stride, self._padding)
        weights = self.kernel * self.kernel * (self.in_width // self.groups) * self.width
        params = weights + (self.width if self.bias else 0)
        pixels = height * width
        cost = Cost(params, params * pixels, self.width * pixels, math.prod(shape))
        return cost, (self.width, height, width)

    def module(self, replicates: int = 1) -> nn.Module:
        """Build `torch.nn.Conv2d`."""
        return nn.Conv2d(
            replicates * self.in_width,
            replicates * self.width,
            self.kernel,
            self.stride,
            self._padding,
            groups=replicates * self.groups,
            bias=self.bias,
        )

    def source(self) -> Call:
        """Write `torch.nn.Conv2d`."""
        return call(
            nn.Conv2d,
            self.in_width,
            self.width,
            self.kernel,
            stride=self.stride,
            padding=self._padding,
            groups=self.groups,
            bias=self.bias,
        )

    def __str__(self) -> str:
        kind = "conv"
        if self.groups > 1:
            kind = "depthwise" if self.groups == self.in_width == self.width else f"conv in {self.groups} groups"
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}×{self.kernel} {kind}{stride}, {self.width}"


@dataclass(frozen=True, slots=True)
class Linear(Layer):
    """A linear layer over the last axis of its input."""

    in_width: int
    width: int
    bias: bool = True

    weighted: ClassVar[int] = 1

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of the product (and the bias), at every position; see `Layer.trace`."""
        positions = math.prod(shape[:-1])
        params = self.in_width * self.width + (self.width if self.bias else 0)
        cost = Cost(params, params * positions, self.width * positions, math.prod(shape))
        return cost, (*shape[:-1], self.width)

    def module(self, replicates: int = 1) -> nn.Module:
        """Build `torch.nn.Linear`, or one for each replicate."""
        if replicates > 1:
            return ReplicatedLinear(self.in_width, self.width, self.bias, replicates)
        return nn.Linear(self.in_width, self.width, self.bias)

    def source(self) -> Call:
        """Write `torch.nn.Linear`."""
        return call(nn.Linear, self.in_width, self.width, bias=self.bias)

    def __str__(self) -> str:
        return f"linear, {self.width}"


def pointwise(modality: str, in_width: int, width: int, *, stride: int = 1, bias: bool = False) -> Conv | Linear:
    """Return the layer that mixes channels at each position: a 1x1 convolution, or a linear layer off images."""
    return Conv(in_width, width, stride=stride, bias=bias) if modality == "image" else Linear(in_width, width, bias)


class ChannelsMoved(nn.Module):
    """Applies a norm over the last axis to images, or one over axis 1 to sequences, by moving the channels."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width), or (batch, tokens, features)."""
        if input.ndim == 4:
            normed: Tensor = self.norm(input.permute(0, 2, 3, 1))
            return normed.permute(0, 3, 1, 2)
        normed = self.norm(input.transpose(1, 2))
        return normed.transpose(1, 2)


NORMS: dict[str, str] = {
    "batch": "batch normalisation (Ioffe and Szegedy 2015)",
    "group": "group normalisation, 32 groups or the nearest divisor below (Wu and He 2018)",
    "layer": "layer normalisation over channels, at each position (Ba et al. 2016, ConvNeXt)",
    "none": "no normalisation; convolutions carry a bias",
}

_LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Norm(Layer):
    """A normalisation with a learned scale and shift for each channel."""

    kind: str
    width: int
    modality: str = "image"

    @property
    def _groups(self) -> int:
        # At least two channels a group: a group of one channel and one pixel would always normalise to zero.
        most = min(32, max(1, self.width // 2))
        return next(n for n in range(most, 0, -1) if self.width % n == 0)

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Two parameters a channel; no MACs by convention; see `Layer.trace`."""
        return Cost(params=2 * self.width, saved=math.prod(shape)), shape

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the torch normalisation of this kind for this modality."""
        width = replicates * self.width
        if self.kind == "layer":
            norm: nn.Module = nn.LayerNorm(self.width, eps=_LAYER_NORM_EPS)
            if replicates > 1:
                norm = ReplicatedLayerNorm(self.width, _LAYER_NORM_EPS, replicates)
            return ChannelsMoved(norm) if self.modality == "image" else norm
        if self.kind == "batch":
            norm = nn.BatchNorm2d(width) if self.modality == "image" else nn.BatchNorm1d(width)
        else:
            norm = nn.GroupNorm(replicates * self._groups, width)
        return ChannelsMoved(norm) if self.modality == "sequence" else norm

    def source(self) -> Call:
        """Write the torch normalisation, its channels moved to where it wants them."""
        if self.kind == "layer":
            norm = call(nn.LayerNorm, self.width, eps=_LAYER_NORM_EPS)
            return call(ChannelsMoved, norm) if self.modality == "image" else norm
        if self.kind == "batch":
            norm = call(nn.BatchNorm2d if self.modality == "image" else nn.BatchNorm1d, self.width)
        else:
            norm = call(nn.GroupNorm, self._groups, self.width)
        return call(ChannelsMoved, norm) if self.modality == "sequence" else norm

    def __str__(self) -> str:
        return f"{self.kind} norm"


def norm_layers(kind: str, width: int, modality: str = "image") -> Layers:
    """Return the norm of `width` channels, or nothing for ``none``.

    Raises ArchitectureError for one channel where the norm would leave nothing of it.
    """
    if width == 1 and (kind == "layer" or (kind == "group" and modality == "vector")):
        raise ArchitectureError(f"norm: '{kind}' has no meaning for one channel: nothing is left of it")
    return () if kind == "none" else (Norm(kind, width, modality),)


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An element-wise non-linearity; free by the counting convention."""

    kind: str

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the torch activation of this kind."""
        return ACTIVATIONS[self.kind]()

    def source(self) -> Call:
        """Write the torch activation."""
        return call(ACTIVATIONS[self.kind])

    def __str__(self) -> str:
        return {"relu": "ReLU", "silu": "SiLU", "gelu": "GELU"}[self.kind]


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

    def module(self, replicates: int = 1) -> nn.Module:
        """Build `torch.nn.MaxPool2d`."""
        return nn.MaxPool2d(self.kernel, self.stride, self.kernel // 2)

    def source(self) -> Call:
        """Write `torch.nn.MaxPool2d`."""
        return call(nn.MaxPool2d, self.kernel, stride=self.stride, padding=self.kernel // 2)

    def __str__(self) -> str:
        return f"{self.kernel}×{self.kernel} max pool stride {self.stride}"


@dataclass(frozen=True, slots=True)
class AveragePool(Layer):
    """The mean of each `stride` x `stride` window; the last windows may be narrower (ResNet-D, DenseNet)."""

    stride: int

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), (shape[0], *(-(-side // self.stride) for side in shape[1:]))

    def module(self, replicates: int = 1) -> nn.Module:
        """Build `torch.nn.AvgPool2d`."""
        return nn.AvgPool2d(self.stride, ceil_mode=True, count_include_pad=False)

    def source(self) -> Call:
        """Write `torch.nn.AvgPool2d`."""
        return call(nn.AvgPool2d, self.stride, ceil_mode=True, count_include_pad=False)

    def __str__(self) -> str:
        return f"{self.stride}×{self.stride} average pool"


class Mean(nn.Module):
    """The mean over some axes."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, input: Tensor) -> Tensor:
        """Average; a mean over no axis is the input."""
        return input.mean(self.axes) if self.axes else input


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(Layer):
    """The mean over all positions: pixels of an image, tokens of a sequence; a vector has one position."""

    modality: str = "image"

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape[:1] if self.modality == "image" else shape[-1:]

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the mean."""
        return self.source().module()

    def source(self) -> Call:
        """Write the mean."""
        return call(Mean, {"image": (2, 3), "sequence": (1,), "vector": ()}[self.modality])

    def __str__(self) -> str:
        return "global average pool"


class ZeroPad(nn.Module):
    """Keeps every `stride`-th pixel and adds `extra` channels of zeros, half of them before the others."""

    def __init__(self, extra: int, stride: int = 1) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, channels, height, width), or (batch, …, features), to more channels."""
        pad = (self.extra // 2, self.extra - self.extra // 2)
        if input.ndim != 4:
            return functional.pad(input, pad)
        return functional.pad(input[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *pad))


class _ReplicatedZeroPad(nn.Module):
    def __init__(self, extra: int, stride: int, replicates: int) -> None:
        super().__init__()
        self.extra, self.stride, self.replicates = extra, stride, replicates

    def forward(self, input: Tensor) -> Tensor:
        axis, before, after = channel_axis(input), self.extra // 2, self.extra - self.extra // 2
        pad = (before, after) if input.ndim != 4 else (0, 0, 0, 0, before, after)
        if input.ndim == 4:
            input = input[:, :, :: self.stride, :: self.stride]
        return join_replicates(functional.pad(split_replicates(input, self.replicates), pad), axis)


@dataclass(frozen=True, slots=True)
class SubsampleAndPad(Layer):
    """Option A of He et al. 2015: every `stride`-th pixel, new channels zero; no parameters."""

    in_width: int
    width: int
    stride: int
    modality: str = "image"

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing; see `Layer.trace`."""
        if self.modality != "image":
            return Cost(), (*shape[:-1], self.width)
        return Cost(), (self.width, *(-(-side // self.stride) for side in shape[1:]))

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the subsampling and zero padding of channels."""
        if replicates > 1:
            return _ReplicatedZeroPad(self.width - self.in_width, self.stride, replicates)
        return self.source().module()

    def source(self) -> Call:
        """Write the subsampling and zero padding."""
        return call(ZeroPad, self.width - self.in_width, stride=self.stride)

    def __str__(self) -> str:
        return f"pad with zeros, {self.width}" + (f", stride {self.stride}" if self.stride > 1 else "")


class SqueezeExciteModule(nn.Module):
    """The module of `SqueezeExcite`: `reduce`, `activation`, `expand`, and the gate."""

    def __init__(self, reduce: nn.Module, activation: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce, self.activation, self.expand = reduce, activation, expand

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to the same shape."""
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
        return Conv(self.width, self.squeezed_width, bias=True), Conv(self.squeezed_width, self.width, bias=True)

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of the two 1x1 convolutions on one pixel; see `Layer.trace`."""
        cost, _ = trace(self._convs, (self.width, 1, 1))
        return cost._replace(saved=0), shape

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the two convolutions and the gate."""
        reduce, expand = (conv.module(replicates) for conv in self._convs)
        return SqueezeExciteModule(reduce, ACTIVATIONS[self.activation](), expand)

    def source(self) -> Call:
        """Write the two convolutions and the gate."""
        reduce, expand = (conv.source() for conv in self._convs)
        return call(SqueezeExciteModule, reduce, call(ACTIVATIONS[self.activation]), expand)

    def __str__(self) -> str:
        return f"squeeze-excite, {self.squeezed_width}"


class Scale(nn.Module):
    """Multiplies everything by one learned number."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor([initial]))

    def forward(self, input: Tensor) -> Tensor:
        """Multiply."""
        return input * self.value


class Bias(nn.Module):
    """Adds one learned number to everything."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor([initial]))

    def forward(self, input: Tensor) -> Tensor:
        """Add."""
        return input + self.value


class _ReplicatedAffine(nn.Module):
    def __init__(self, kind: str, initial: float, replicates: int) -> None:
        super().__init__()
        self.kind = kind
        self.value = nn.Parameter(torch.full((replicates,), initial))

    def forward(self, input: Tensor) -> Tensor:
        value = spread(self.value, input)
        return input * value if self.kind == "scale" else input + value


@dataclass(frozen=True, slots=True)
class Affine(Layer):
    """One learned number that multiplies (``scale``) or is added to (``bias``) everything (Zhang et al. 2019)."""

    kind: str
    initial: float

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """One parameter; see `Layer.trace`."""
        return Cost(params=1), shape

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the product or sum."""
        if replicates > 1:
            return _ReplicatedAffine(self.kind, self.initial, replicates)
        return self.source().module()

    def source(self) -> Call:
        """Write the product or sum."""
        return call(Scale if self.kind == "scale" else Bias, self.initial)

    def __str__(self) -> str:
        return "× scale" if self.kind == "scale" else "+ bias"


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Dropout of single elements (Srivastava et al. 2014), in training only."""

    rate: float

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the dropout."""
        return DropoutModule(self.rate, replicates)

    def source(self) -> Call:
        """Write `torch.nn.Dropout`."""
        return call(nn.Dropout, self.rate)

    def __str__(self) -> str:
        return f"dropout {self.rate:g}"
