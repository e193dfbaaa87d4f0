"""Shortcuts s(x): how x matches the branch where a unit changes the shape. One function a shortcut, ``@shortcut``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ressearch.errors import ArchitectureError
from ressearch.networks.layers import AveragePool, Layers, SubsampleAndPad, norm_layers, pointwise
from ressearch.registry import Registry


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One residual unit as its skip and shortcut see it.

    Attributes:
        in_width: channels of x.
        width: channels of F(x).
        stride: of the branch.
        modality: the kind of input, a key of `ressearch.shapes.MODALITIES`.
        kernel_size: of the block's spatial convolutions.
        norm: the network's norm.
        norm_order: the network's order.
        bias: whether convolutions without a norm carry a bias.
        is_activated: whether an activation follows the meeting of x and F(x).
    """

    in_width: int
    width: int
    stride: int
    modality: str
    kernel_size: int
    norm: str
    norm_order: str
    bias: bool
    is_activated: bool

    @property
    def changes_shape(self) -> bool:
        """Whether x must be projected, padded or subsampled to be added to F(x)."""
        return self.stride != 1 or self.in_width != self.width


Shortcut = Callable[[UnitSpec], Layers | None]

SHORTCUTS: Registry[Shortcut] = Registry("shortcuts", ArchitectureError, "shortcut: {name} is unknown")
"""Every shortcut by name: its layers, none for the identity; None where a unit is to have no shortcut at all."""


def shortcut(name: str, *, replace: bool = False) -> Callable[[Shortcut], Shortcut]:
    """Register a function as shortcut `name`."""
    return SHORTCUTS.register(name, replace=replace)


def get_shortcut(name: str) -> Shortcut:
    """Return the shortcut. Raises ArchitectureError with the nearest name if there is none."""
    return SHORTCUTS.find(name)


@shortcut("pad")
def pad(unit: UnitSpec) -> Layers | None:
    """Option A (He et al. 2015): subsample, new channels zero; no parameters."""
    if not unit.changes_shape:
        return ()
    if unit.width < unit.in_width:
        raise ArchitectureError(
            f"shortcut: 'pad' cannot narrow {unit.in_width} channels to {unit.width}; use 'projection'"
        )
    return (SubsampleAndPad(unit.in_width, unit.width, unit.stride, unit.modality),)


@shortcut("projection")
def projection(unit: UnitSpec) -> Layers | None:
    """Option B (He et al. 2015): a strided 1x1 convolution where the shape changes, the identity elsewhere."""
    return project(unit) if unit.changes_shape else ()


@shortcut("projection_all")
def projection_all(unit: UnitSpec) -> Layers | None:
    """Option C (He et al. 2015): a 1x1 convolution on every shortcut."""
    return project(unit)


@shortcut("avgpool_projection")
def avgpool_projection(unit: UnitSpec) -> Layers | None:
    """Option D, ResNet-D (He et al. 2019, Fig. 2c): average pool, then a 1x1 convolution, where the shape changes."""
    if not unit.changes_shape:
        return ()
    pool = (AveragePool(unit.stride),) if unit.stride > 1 else ()
    return (*pool, *project(unit, stride=1))


@shortcut("none")
def no_shortcut(unit: UnitSpec) -> Layers | None:
    """No way around the units that change the shape; the identity elsewhere (MobileNetV2, EfficientNet)."""
    return None if unit.changes_shape else ()


def project(unit: UnitSpec, stride: int | None = None) -> Layers:
    """Return a 1x1 convolution to the unit's width.

    The network's norm follows it, except in pre-activation networks (their shortcut carries no norm, He et al. 2016)
    and where there is none (then the convolution has a bias, unless the skip style brings its own).
    """
    stride = unit.stride if stride is None else stride
    conv = pointwise(unit.modality, unit.in_width, unit.width, stride=stride, bias=unit.bias)
    return (conv, *norm_layers(unit.norm, unit.width, unit.modality)) if unit.norm_order == "post" else (conv,)
