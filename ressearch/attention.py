"""Layers of sequences: multi-head self-attention and position encodings. Inputs are ``(batch, tokens, features)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ressearch.errors import ArchitectureError
from ressearch.layers import Cost, Layer, Linear, Shape

_HEAD_WIDTH = 64
"""Channels a head where nobody says otherwise (Vaswani et al. 2017, Table 3)."""


class SelfAttention(nn.Module):
    """Queries, keys and values from one projection, scaled dot-product attention, an output projection."""

    def __init__(self, project_in: nn.Linear, project_out: nn.Linear, heads: int) -> None:
        super().__init__()
        self.project_in, self.project_out, self.heads = project_in, project_out, heads

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, tokens, features) to (batch, tokens, width)."""
        batch, tokens, _ = input.shape
        split = self.project_in(input).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        return self.project_out(mixed.transpose(1, 2).reshape(batch, tokens, -1))


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

    def module(self) -> nn.Module:
        """Build the projections and the attention."""
        project_in, project_out = self._projections
        return SelfAttention(project_in.module(), project_out.module(), self.heads)  # type: ignore[arg-type]

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


class _Positions(nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        tokens, width = input.shape[1:]
        place = torch.arange(tokens, device=input.device, dtype=torch.float32).unsqueeze(1)
        index = torch.arange(width, device=input.device)
        angle = place / 10000.0 ** ((index - index % 2) / width)
        return input + torch.where(index % 2 == 0, angle.sin(), angle.cos()).to(input.dtype)


@dataclass(frozen=True, slots=True)
class Positions(Layer):
    """Sinusoidal position encodings added to a sequence (Vaswani et al. 2017, section 3.5); no parameters."""

    def trace(self, shape: Shape) -> tuple[Cost, Shape]:
        """Costs nothing by convention; see `Layer.trace`."""
        return Cost(), shape

    def module(self) -> nn.Module:
        """Build the encodings."""
        return _Positions()

    def __str__(self) -> str:
        return "+ positions"
