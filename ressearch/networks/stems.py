"""Stems: what meets the input before the first stage. One function a stem, under ``@stem``; it returns layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ressearch.errors import ArchitectureError
from ressearch.networks.attention import Positions
from ressearch.networks.layers import Activation, Conv, Layers, Linear, MaxPool, norm_layers
from ressearch.registry import Registry


@dataclass(frozen=True, slots=True)
class StemSpec:
    """Everything a stem may read."""

    in_channels: int
    width: int
    modality: str
    norm: str
    norm_order: str
    activation: str
    bias: bool

    def finish(self, width: int) -> Layers:
        """Return the norm and activation after a convolution of `width` channels."""
        return (*norm_layers(self.norm, width), Activation(self.activation))


@dataclass(frozen=True)
class StemType:
    """A registered stem: its layers, the kinds of input it takes, and what the data it was published for have.

    Attributes:
        layers: the function that writes its layers.
        modalities: the kinds of input it works on.
        classes: classes of the data it was published for.
        first_stride: stride of the first stage.
        weighted: weighted layers, for the papers' depth.
    """

    layers: Callable[[StemSpec], Layers]
    modalities: tuple[str, ...] = ("image",)
    classes: int = 1000
    first_stride: int = 1
    weighted: int = 1


STEMS: Registry[StemType] = Registry("stems", ArchitectureError, "stem: {name} is unknown")
"""Every stem by name."""


def stem(
    name: str, *, replace: bool = False, **traits: Any
) -> Callable[[Callable[[StemSpec], Layers]], Callable[[StemSpec], Layers]]:
    """Register a function as stem `name`, with the traits of `StemType`."""
    return STEMS.register(name, make=lambda layers: StemType(layers, **traits), replace=replace)


@stem("cifar", classes=10)
def cifar(spec: StemSpec) -> Layers:
    """3x3, stride 1 (He et al. 2015, section 4.2); pre-activation networks put no norm after it (He et al. 2016)."""
    conv = Conv(spec.in_channels, spec.width, kernel=3, bias=spec.bias)
    return (conv,) if spec.norm_order == "pre" else (conv, *spec.finish(spec.width))


@stem("imagenet")
def imagenet(spec: StemSpec) -> Layers:
    """7x7, stride 2, then a 3x3 max-pool, stride 2 (He et al. 2015, Table 1)."""
    conv = Conv(spec.in_channels, spec.width, kernel=7, stride=2, bias=spec.bias)
    return (conv, *spec.finish(spec.width), MaxPool())


@stem("deep", weighted=3)
def deep(spec: StemSpec) -> Layers:
    """Three 3x3, the first of stride 2, then a 3x3 max-pool, stride 2 (ResNet-C and -D, He et al. 2019, Fig. 2)."""
    half = max(1, spec.width // 2)
    return (
        Conv(spec.in_channels, half, kernel=3, stride=2, bias=spec.bias),
        *spec.finish(half),
        Conv(half, half, kernel=3, bias=spec.bias),
        *spec.finish(half),
        Conv(half, spec.width, kernel=3, bias=spec.bias),
        *spec.finish(spec.width),
        MaxPool(),
    )


@stem("simple", first_stride=2)
def simple(spec: StemSpec) -> Layers:
    """3x3, stride 2 (RegNet, Radosavovic et al. 2020; EfficientNet)."""
    conv = Conv(spec.in_channels, spec.width, kernel=3, stride=2, bias=spec.bias)
    return (conv,) if spec.norm_order == "pre" else (conv, *spec.finish(spec.width))


@stem("patch")
def patch(spec: StemSpec) -> Layers:
    """4x4, stride 4, then a norm and no activation (ConvNeXt, Liu et al. 2022, section 2.2)."""
    return (
        Conv(spec.in_channels, spec.width, kernel=4, stride=4, bias=True, padding=0),
        *norm_layers(spec.norm, spec.width),
    )


@stem("linear", modalities=("vector", "sequence"), classes=10)
def linear(spec: StemSpec) -> Layers:
    """A linear layer (Gorishniy et al. 2021); for sequences then position encodings (Vaswani et al. 2017)."""
    layer = Linear(spec.in_channels, spec.width)
    return (layer, Positions()) if spec.modality == "sequence" else (layer,)
