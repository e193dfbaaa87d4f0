"""The torch modules of a residual network, made from its plan."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ressearch.networks.architecture import Architecture
from ressearch.networks.layers import (
    Conv,
    Layer,
    Linear,
    Norm,
)
from ressearch.networks.merges import Place
from ressearch.networks.plan import Plan, Residual


def _sequential(layers: Sequence[Layer], replicates: int, *, is_fresh: bool = False) -> nn.Sequential:
    """Build layers one after another; `is_fresh` says that nobody else holds their input.

    A ReLU of what nobody else reads (a norm or convolution does not keep its output) works in place.
    """
    modules = [layer.module(replicates) for layer in layers]
    for at, module in enumerate(modules):
        if isinstance(module, nn.ReLU):
            module.inplace = isinstance(layers[at - 1], Norm | Conv | Linear) if at else is_fresh
    return nn.Sequential(*modules)


class ResidualUnit(nn.Module):
    """A `Residual` as a module: maps ``(batch, *shape)`` to ``(batch, *output_shape)``."""

    def __init__(self, description: Residual, place: Place, replicates: int = 1) -> None:
        super().__init__()
        self.before = _sequential(description.before, replicates)
        self.branch = _sequential(description.branch, replicates)
        self.shortcut = _sequential(description.shortcut, replicates)
        self.merge = description.merge.module(place, replicates) if description.merge else None
        self.after = _sequential(description.after, replicates, is_fresh=True)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the unit."""
        x = self.before(input)
        residual = self.branch(x)
        merged = residual if self.merge is None else self.merge(x, self.shortcut(x), residual)
        out: Tensor = self.after(merged)
        return out


class ResidualNetwork(nn.Module):
    """The network of a `Plan`: maps ``(batch, *input_shape)`` to logits ``(batch, classes)``.

    `stem`, `stages` and `head` are in the plan's order; a stage holds its transition, if it has one, then its
    `ResidualUnit` modules. With several `replicates` it is as many networks side by side along the channels
    (`ressearch.networks.replicated`): inputs ``(batch, K * channels, …)``, logits ``(batch, K * classes)``.
    """

    def __init__(self, architecture: Architecture, description: Plan, replicates: int = 1) -> None:
        super().__init__()
        self.architecture, self.replicates = architecture, replicates
        self.stem = _sequential(description.stem.layers, replicates)
        count = sum(len(block.units) * times for stage in description.stages for block, times in stage.runs)
        stages, index = [], 0
        for stage in description.stages:
            parts: list[nn.Module] = [_sequential(stage.transition.layers, replicates)] if stage.transition else []
            for unit in stage.units:
                parts.append(ResidualUnit(unit, Place(index, count), replicates))
                index += 1
            stages.append(nn.Sequential(*parts))
        self.stages = nn.Sequential(*stages)
        self.head = _sequential(description.head.layers, replicates)

    @property
    def units(self) -> list[ResidualUnit]:
        """Every residual unit, from input to output."""
        return [module for module in self.stages.modules() if isinstance(module, ResidualUnit)]

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer."""
        return self.head[-1]  # type: ignore[return-value]

    def forward(self, input: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        logits: Tensor = self.head(self.stages(self.stem(input)))
        return logits
