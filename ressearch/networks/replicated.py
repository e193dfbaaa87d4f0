"""K replicates in one module: what layers become when several seeds of one architecture train in one pass.

Replicates lie side by side along the channels: images ``(batch, K * channels, height, width)``, vectors
``(batch, K * features)``, sequences ``(batch, tokens, K * features)``. Convolutions and norms become grouped ones of
torch; this module holds what torch has no grouped form of. Every parameter and buffer, viewed as
``(K, *shape alone)``, is the stack of those of the replicates alone (`stack_states`, `replicate_state`), and nothing a
replicate computes depends on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def channel_axis(input: Tensor) -> int:
    """Return the axis of the channels (features): 1 of images, else the last."""
    return 1 if input.ndim == 4 else input.ndim - 1


def split_replicates(input: Tensor, replicates: int) -> Tensor:
    """Split the channels of ``input`` into ``(replicates, channels)``, as two axes."""
    return torch.unflatten(input, channel_axis(input), (replicates, -1))


def join_replicates(input: Tensor, axis: int) -> Tensor:
    """Undo `split_replicates`, whose channels' axis was `axis`."""
    return input.flatten(axis, axis + 1)


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per replicate (or per channel) as a tensor that broadcasts over `like`."""
    channels = like.shape[channel_axis(like)]
    if 1 < values.numel() < channels:
        values = values.repeat_interleave(channels // values.numel())
    return values.view(-1, 1, 1) if like.ndim == 4 else values


class ReplicatedLinear(nn.Module):
    """`torch.nn.Linear` for each replicate: weight ``(K, width, in_width)``, bias ``(K, width)``."""

    def __init__(self, in_features: int, out_features: int, bias: bool, replicates: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.replicates = in_features, out_features, replicates
        self.weight = nn.Parameter(torch.empty(replicates, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(replicates, out_features)) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., K * in_features) to (..., K * out_features)."""
        rows = input.reshape(-1, self.replicates, self.in_features).transpose(0, 1)
        weight = self.weight.transpose(1, 2)
        out = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), rows, weight)
        return out.transpose(0, 1).reshape(*input.shape[:-1], self.replicates * self.out_features)


class ReplicatedLayerNorm(nn.Module):
    """`torch.nn.LayerNorm` over the last axis, for each replicate: weight and bias ``(K, width)``."""

    def __init__(self, width: int, eps: float, replicates: int) -> None:
        super().__init__()
        self.width, self.eps, self.replicates = width, eps, replicates
        self.weight = nn.Parameter(torch.ones(replicates, width))
        self.bias = nn.Parameter(torch.zeros(replicates, width))

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each replicate's features."""
        normed = functional.layer_norm(input.unflatten(-1, (self.replicates, -1)), (self.width,), eps=self.eps)
        return (normed * self.weight + self.bias).flatten(-2)


class Stochastic(nn.Module):
    """A module that draws random numbers, each replicate from a stream of its own.

    Attributes:
        replicates: how many.
        generators: one per replicate; None draws from torch's global state.
    """

    generators: Sequence[torch.Generator] | None = None

    def __init__(self, replicates: int) -> None:
        super().__init__()
        self.replicates = replicates

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Return numbers between 0 and 1, shape (replicates, *shape)."""
        if self.generators is None:
            return torch.rand((self.replicates, *shape), device=device)
        return torch.stack([torch.rand(tuple(shape), generator=one, device=device) for one in self.generators])


class DropoutModule(Stochastic):
    """Drops single elements at `rate` in training and scales the others up (Srivastava et al. 2014)."""

    def __init__(self, rate: float, replicates: int = 1) -> None:
        super().__init__(replicates)
        self.rate = rate

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements of (batch, ...) in training; the identity in evaluation."""
        if not self.training or not self.rate:
            return input
        axis = channel_axis(input)
        shape = list(input.shape)
        shape[axis] //= self.replicates
        kept = self.uniform(shape, input.device) >= self.rate
        return input * join_replicates(kept.movedim(0, axis), axis) / (1 - self.rate)

    def extra_repr(self) -> str:
        """Say the rate."""
        return f"rate={self.rate:g}"


def set_generators(network: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Give each replicate's random draws in a network a stream of its own."""
    for module in network.modules():
        if isinstance(module, Stochastic):
            module.generators = generators


@torch.no_grad()
def stack_states(network: nn.Module, alone: Sequence[nn.Module]) -> None:
    """Set a network of K replicates to the states of K networks alone."""
    states = [one.state_dict() for one in alone]
    for name, value in network.state_dict().items():
        first = states[0][name]
        if value.numel() == first.numel():  # a count that all replicates share, such as of batches
            value.copy_(first)
            continue
        for index, state in enumerate(states):
            value.view(len(states), *first.shape)[index].copy_(state[name])


def replicate_state(network: nn.Module, index: int, alone: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state of one replicate, as a network `alone` (of the same architecture) has it."""
    state = network.state_dict()
    return {
        name: (state[name] if state[name].numel() == like.numel() else state[name].view(-1, *like.shape)[index]).clone()
        for name, like in alone.state_dict().items()
    }
