"""The torch modules of a residual network, made from its plan."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ressearch.errors import ArchitectureError
from ressearch.limits import short
from ressearch.networks.architecture import Architecture
from ressearch.networks.layers import (
    Conv,
    GlobalAveragePool,
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

    Without classes it maps to the pooled features, ``(batch, num_features)``.

    `stem`, `stages` and `head` are in the plan's order; a stage holds its transition, if it has one, then its
    `ResidualUnit` modules. With several `replicates` it is as many networks side by side along the channels
    (`ressearch.networks.replicated`): inputs ``(batch, K * channels, …)``, logits ``(batch, K * classes)``.

    Attributes:
        num_classes: outputs of the classifier; 0 where there is none.
        num_features: channels that the classifier sees.
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
        layers = description.head.layers
        self._pool = next(at for at, layer in enumerate(layers) if isinstance(layer, GlobalAveragePool))
        self.num_classes = layers[-1].width if isinstance(layers[-1], Linear) else 0
        self.num_features = architecture.head_width or architecture.widths[-1]

    @property
    def units(self) -> list[ResidualUnit]:
        """Every residual unit, from input to output."""
        return [module for module in self.stages.modules() if isinstance(module, ResidualUnit)]

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer. Raises ArchitectureError if there is none."""
        if not self.num_classes:
            raise ArchitectureError("num_classes: 0: the network has no classifier")
        return self.head[-1]  # type: ignore[return-value]

    def forward(self, input: Tensor) -> Tensor:
        """Return logits, shape (batch, classes); without classes the pooled features, shape (batch, num_features)."""
        logits: Tensor = self.head(self.stages(self.stem(input)))
        return logits

    def forward_features(self, input: Tensor) -> Tensor:
        """Return what the head pools, such as maps of shape (batch, num_features, height, width).

        What the head has ahead of its pool is applied: the last norm of pre-activation networks, `head_width`.
        """
        x: Tensor = self.stages(self.stem(input))
        for module in list(self.head)[: self._pool]:
            x = module(x)
        return x

    def forward_head(self, input: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits of what `forward_features` returned, shape (batch, classes).

        Args:
            input: as `forward_features` returns it.
            pre_logits: return what the classifier would see, shape (batch, num_features).
        """
        x = input
        last = len(self.head) - (pre_logits and self.num_classes > 0)
        for module in list(self.head)[self._pool : last]:
            x = module(x)
        return x

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer; the identity where there is none."""
        return self.classifier if self.num_classes else nn.Identity()

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new classifier in the place of the last one, initialised from torch's global random state.

        Args:
            num_classes: its outputs; 0 leaves none.

        Raises:
            ArchitectureError: no whole number of at least 0, or the network is several replicates.
        """
        if type(num_classes) is not int or num_classes < 0:
            raise ArchitectureError(f"num_classes: {short(num_classes)} is not a whole number of at least 0")
        if self.replicates > 1:
            raise ArchitectureError(f"num_classes: {self.replicates} replicates in one network keep their classifiers")
        features = list(self.head)[: len(self.head) - (self.num_classes > 0)]
        if num_classes:
            like = next(self.parameters())
            features.append(nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype))
        self.head, self.num_classes = nn.Sequential(*features), num_classes
