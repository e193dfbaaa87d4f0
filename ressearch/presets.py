"""Published networks by name: lower case with hyphens, family first, data last (``resnet56-cifar``)."""

from __future__ import annotations

from ressearch.architecture import Architecture, depths_for
from ressearch.layers import Shape


def _cifar_resnet(depth: int, shortcut: str) -> Architecture:
    """He et al. 2015, section 4.2: basic blocks in 3 stages of 16, 32, 64 channels, depth 6n+2."""
    return Architecture("basic", depths_for(depth, "basic", 3), (16, 32, 64), shortcut=shortcut)


def _imagenet_resnet(block: str, depths: tuple[int, ...], **changes: object) -> Architecture:
    """He et al. 2015, Table 1."""
    widths = (64, 128, 256, 512) if block == "basic" else (256, 512, 1024, 2048)
    return Architecture(block, depths, widths, stem="imagenet", stem_width=64, **changes)  # type: ignore[arg-type]


PRESETS: dict[str, Architecture] = {
    **{f"resnet{depth}-cifar": _cifar_resnet(depth, "projection") for depth in (20, 32, 44, 56, 110, 1202)},
    **{f"resnet{depth}-a-cifar": _cifar_resnet(depth, "pad") for depth in (20, 32, 44, 56, 110, 1202)},
    **{
        f"preresnet{depth}-cifar": Architecture(
            "bottleneck", depths_for(depth, "bottleneck", 3), (64, 128, 256), norm_order="pre"
        )
        for depth in (164, 1001)
    },
    "resnet18-imagenet": _imagenet_resnet("basic", (2, 2, 2, 2)),
    "resnet34-imagenet": _imagenet_resnet("basic", (3, 4, 6, 3)),
    "resnet50-imagenet": _imagenet_resnet("bottleneck", (3, 4, 6, 3)),
    "resnet101-imagenet": _imagenet_resnet("bottleneck", (3, 4, 23, 3)),
    "resnet152-imagenet": _imagenet_resnet("bottleneck", (3, 8, 36, 3)),
    "wide-resnet50-2-imagenet": _imagenet_resnet("bottleneck", (3, 4, 6, 3), bottleneck_ratio=0.5),
    "resnext50-32x4d-imagenet": _imagenet_resnet(
        "bottleneck", (3, 4, 6, 3), bottleneck_ratio=0.5, group_width=(4, 8, 16, 32)
    ),
}
"""Every preset by name; CIFAR ResNets use projections (option B), those named ``-a-`` zero padding (option A)."""

_INPUTS: dict[str, Shape] = {"cifar": (3, 32, 32), "imagenet": (3, 224, 224)}


def presets() -> list[str]:
    """Return the names of the published networks that `Architecture.preset` knows."""
    return list(PRESETS)


def published_input(name: str) -> Shape:
    """Return the input shape of the data that a preset was published for."""
    return _INPUTS[name.rsplit("-", 1)[1]]
