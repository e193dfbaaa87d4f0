"""Residual branches F(x): one function a block type, written once as layers.

A block function gets a `BlockSpec` (widths, stride, norm, order…) and returns the branch's layers; `network` adds the
skip around it and `cost` reads the same layers. To add a block type, write one function here under ``@block``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ressearch.errors import ArchitectureError, nearest
from ressearch.layers import Activation, Conv, Layer, Norm, SqueezeExcite

Branch = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """Everything a block function may read: one block's widths, stride and style."""

    in_width: int
    width: int
    stride: int = 1
    bottleneck_ratio: float = 1.0
    group_width: int | None = None
    se_ratio: float = 0.0
    kernel_size: int = 3
    activation: str = "relu"
    norm: str = "batch"
    norm_order: str = "post"

    @property
    def inner_width(self) -> int:
        """Width between the block's first and last convolution: output width x bottleneck ratio."""
        return max(1, round(self.width * self.bottleneck_ratio))

    def conv(self, in_width: int, width: int, kernel: int = 1, *, stride: int = 1, grouped: bool = False) -> Conv:
        """Return a convolution with a bias only where no norm follows, grouped by `group_width` on request."""
        groups = 1
        if grouped and self.group_width is not None:
            groups, rest = divmod(width, self.group_width)
            if rest or in_width % groups:
                raise ArchitectureError(
                    f"group_width: {self.group_width} does not divide a spatial convolution "
                    f"of {in_width} to {width} channels"
                )
        return Conv(in_width, width, kernel, stride, groups, bias=self.norm == "none")

    def squeeze_excite(self, width: int) -> Branch:
        """Return a squeeze-excitation of `width` channels (squeezed to block input width x `se_ratio`), or nothing."""
        if not self.se_ratio:
            return ()
        return (SqueezeExcite(width, max(1, round(self.in_width * self.se_ratio)), self.activation),)

    def norm_layers(self, width: int) -> Branch:
        """Return the norm of `width` channels, or nothing for ``norm: none``."""
        return () if self.norm == "none" else (Norm(self.norm, width),)

    def ordered(self, *parts: Layer) -> Branch:
        """Weave norms and activations into `parts` by `norm_order`.

        ``post`` (He et al. 2015): conv, norm, activation, …, conv, norm; the last activation follows the addition.
        ``pre`` (He et al. 2016, full pre-activation): norm, activation, conv, …; nothing follows the addition.
        Parts that are not convolutions (squeeze-excitation) stand where they are written: after the activation
        of the convolution before them, or after the branch's last norm.
        """
        act = Activation(self.activation)
        convs = [part for part in parts if isinstance(part, Conv)]
        layers: list[Layer] = []
        for part in parts:
            if not isinstance(part, Conv):
                layers.append(part)
            elif self.norm_order == "pre":
                layers += [*self.norm_layers(part.in_width), act, part]
            else:
                layers += [part, *self.norm_layers(part.width)]
                if part is not convs[-1]:
                    layers.append(act)
        return tuple(layers)


class _Block(NamedTuple):
    branch: Callable[[BlockSpec], Branch]
    bottleneck_ratio: float
    """The published default of this block type."""
    activation_after_addition: bool
    """Whether ``norm_order: post`` applies the activation to x + F(x)."""


BLOCKS: dict[str, _Block] = {}
"""Every block type by name."""


def block(
    name: str, *, bottleneck_ratio: float = 1.0, activation_after_addition: bool = True
) -> Callable[[Callable[[BlockSpec], Branch]], Callable[[BlockSpec], Branch]]:
    """Register a branch function as block type `name`."""

    def register(branch: Callable[[BlockSpec], Branch]) -> Callable[[BlockSpec], Branch]:
        BLOCKS[name] = _Block(branch, bottleneck_ratio, activation_after_addition)
        return branch

    return register


def get_block(name: str) -> _Block:
    """Return the registered block type. Raises ArchitectureError with the nearest name if there is none."""
    if name not in BLOCKS:
        raise ArchitectureError(f"block: '{name}' is unknown; {nearest(name, BLOCKS)}")
    return BLOCKS[name]


@functools.cache
def weighted_layers(name: str) -> int:
    """Return how many weighted layers one block puts on the main path (2 for `basic`, 3 for `bottleneck`)."""
    branch = get_block(name).branch(BlockSpec(in_width=8, width=8))
    return sum(layer.is_weighted for layer in branch)


@block("basic")
def basic(spec: BlockSpec) -> Branch:
    """Two k x k convolutions, the first strided. He et al. 2015, Fig. 5 left."""
    return spec.ordered(
        spec.conv(spec.in_width, spec.inner_width, spec.kernel_size, stride=spec.stride),
        spec.conv(spec.inner_width, spec.width, spec.kernel_size, grouped=True),
        *spec.squeeze_excite(spec.width),
    )


@block("bottleneck", bottleneck_ratio=0.25)
def bottleneck(spec: BlockSpec) -> Branch:
    """1x1 reduce, k x k (strided, grouped for ResNeXt), 1x1 expand.

    He et al. 2015, Fig. 5 right; the stride sits in the k x k as in Facebook's and torchvision's networks ("v1.5");
    groups as Xie et al. 2017; squeeze-excitation at the end of the branch as Hu et al. 2018.
    """
    inner = spec.inner_width
    return spec.ordered(
        spec.conv(spec.in_width, inner),
        spec.conv(inner, inner, spec.kernel_size, stride=spec.stride, grouped=True),
        spec.conv(inner, spec.width),
        *spec.squeeze_excite(spec.width),
    )
