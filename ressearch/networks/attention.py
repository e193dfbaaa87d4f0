"""Layers of sequences: multi-head self-attention and position encodings. Inputs are ``(batch, tokens, features)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ressearch.errors import ArchitectureError
from ressearch.networks.layers import Cost, Layer, Linear
from ressearch.networks.source import Call, call
from ressearch.shapes import Shape

_HEAD_WIDTH = 64
"""Channels a head where nobody says otherwise (Vaswani et al. 2017, Table 3)."""


class SelfAttention(nn.Module):
    """Queries, keys and values from one projection, scaled dot-product attention, an output projection."""

    project_in: Any
    project_out: Any

    def __init__(self, project_in: nn.Module, project_out: nn.Module, heads: int) -> None:
        super().__init__()
        self.project_in, self.project_out, self.heads = project_in, project_out, heads

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, tokens, features) to (batch, tokens, width)."""
        batch, tokens, _ = input.shape
        split = self.project_in(input).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)  # (batch, heads, tokens, channels)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.project_out(mixed.transpose(1, 2).reshape(batch, tokens, -1))
        return out


class _ReplicatedAttention(SelfAttention):
    def __init__(self, project_in: nn.Module, project_out: nn.Module, heads: int, replicates: int) -> None:
        super().__init__(project_in, project_out, heads)
        self.replicates = replicates

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, tokens, features) to (batch, tokens, width), each replicate's."""
        batch, tokens, _ = input.shape
        split = self.project_in(input).view(batch, tokens, self.replicates, 3, self.heads, -1).permute(3, 0, 2, 4, 1, 5)
        query, key, value = (one.flatten(0, 1) for one in split)  # (batch x replicates, heads, tokens, channels)
        mixed = functional.scaled_dot_product_attention(query, key, value).unflatten(0, (batch, self.replicates))
        out: Tensor = self.project_out(mixed.permute(0, 3, 1, 2, 4).reshape(batch, tokens, -1))
        return out


@dataclass(frozen=True, slots=True)
class Attention(Layer):
    """Multi-head self-attention (Vaswani et al. 2017); its two projections count as two weighted layers."""

    in_width: int
    width: int
    heads: int

    weighted: ClassVar[int] = 2

    @property
    def _projections(self) -> tuple[Linear, Linear]:
        return Linear(self.in_width, 3 * self.width), Linear(self.width, self.width)

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Cost of both projections, and of the products of queries with keys and of weights with values."""
        project_in, project_out = self._projections
        cost = project_in.trace(shape)[0] + project_out.trace((shape[0], self.width))[0]
        products = 2 * shape[0] * shape[0] * self.width
        return cost._replace(macs=cost.macs + products), (shape[0], self.width)

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the projections and the attention."""
        project_in, project_out = (layer.module(replicates) for layer in self._projections)
        if replicates > 1:
            return _ReplicatedAttention(project_in, project_out, self.heads, replicates)
        return SelfAttention(project_in, project_out, self.heads)

    def source(self) -> Call:
        """Write the projections and the attention."""
        project_in, project_out = (layer.source() for layer in self._projections)
        return call(SelfAttention, project_in, project_out, self.heads)

    def __str__(self) -> str:
        return f"attention, {self.heads} {'heads' if self.heads > 1 else 'head'}, {self.width}"


def heads_for(width: int, head_width: int | None) -> int:
    """Return the number of heads of `head_width` channels (None: 64, or the nearest that divides `width`).

    Raises ArchitectureError if the heads do not divide the width.
    """
    if head_width is None:
        wanted = max(1, round(width / _HEAD_WIDTH))
        return min((heads for heads in range(1, width + 1) if width % heads == 0), key=lambda n: abs(n - wanted))
    heads, rest = divmod(width, head_width)
    if rest:
        raise ArchitectureError(f"group_width: heads of {head_width} channels do not divide a width of {width}")
    return heads


class PositionEncoding(nn.Module):
    """Adds sinusoidal position encodings to (batch, tokens, features)."""

    def forward(self, input: Tensor) -> Tensor:
        """Add sines at even features and cosines at odd ones."""
        tokens, width = input.shape[1:]
        place = torch.arange(tokens, device=input.device, dtype=torch.float32).unsqueeze(1)
        index = torch.arange(width, device=input.device)
        angle = place / 10000.0 ** ((index - index % 2) / width)
        return input + torch.where(index % 2 == 0, angle.sin(), angle.cos()).to(input.dtype)


class _ReplicatedPositions(nn.Module):
    def __init__(self, replicates: int) -> None:
        super().__init__()
        self.replicates, self.alone = replicates, PositionEncoding()

    def forward(self, input: Tensor) -> Tensor:
        tokens, width = input.shape[1], input.shape[2] // self.replicates
        positions: Tensor = self.alone(input.new_zeros(1, tokens, width))
        return input + positions.repeat(1, 1, self.replicates)


@dataclass(frozen=True, slots=True)
class Positions(Layer):
    """Sinusoidal position encodings added to a sequence (Vaswani et al. 2017, section 3.5); no parameters."""

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape

    def module(self, replicates: int = 1) -> nn.Module:
        """Build the encodings."""
        return _ReplicatedPositions(replicates) if replicates > 1 else PositionEncoding()

    def source(self) -> Call:
        """Write the encodings."""
        return call(PositionEncoding)

    def __str__(self) -> str:
        return "+ positions"
