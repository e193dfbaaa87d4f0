"""Published networks by name: lower case with hyphens, family first, data last (``resnet56-cifar``).

CIFAR ResNets use projections (option B), those named ``-a-`` zero padding (option A), as their paper does.
"""

from __future__ import annotations

from typing import Any

from ressearch.networks.architecture import PRESETS, Architecture
from ressearch.networks.families import depths_for, regnet
from ressearch.shapes import Shape

__all__ = ["PRESETS", "presets", "published_input"]


def _cifar_resnet(depth: int, shortcut: str) -> Architecture:
    """He et al. 2015, section 4.2: basic blocks in 3 stages of 16, 32, 64 channels, depth 6n+2."""
    return Architecture("basic", depths_for(depth, "basic", 3), (16, 32, 64), shortcut=shortcut)


def _pre_activation_resnet(depth: int) -> Architecture:
    """He et al. 2016 (identity mappings), Table 4: bottlenecks in 3 stages, depth 9n+2, full pre-activation."""
    return Architecture("bottleneck", depths_for(depth, "bottleneck", 3), (64, 128, 256), norm_order="pre")


def _wide_resnet(depth: int, factor: int) -> Architecture:
    """Zagoruyko and Komodakis 2016, Table 1. Their depth 6n+4 counts the three projections, not the classifier."""
    widths = (16 * factor, 32 * factor, 64 * factor)
    return Architecture("basic", ((depth - 4) // 6,) * 3, widths, norm_order="pre", stem_width=16)


def _dense_imagenet(depths: tuple[int, ...]) -> Architecture:
    """Huang et al. 2017, Table 1: DenseNet-BC with growth rate 32, compression 0.5, a stem of 2k channels."""
    return Architecture(
        "dense_bottleneck",
        depths,
        norm_order="pre",
        skip="dense",
        skip_options={"growth_rate": 32, "compression": 0.5},  # type: ignore[arg-type]
        stem="imagenet",
    )


def _dense_bc(depth: int, growth_rate: int) -> Architecture:
    """Huang et al. 2017, Table 2: DenseNet-BC, depth 6n+4 in 3 stages, compression 0.5, stem of 2k channels."""
    return Architecture(
        "dense_bottleneck",
        depths_for(depth, "dense_bottleneck", 3, skip="dense"),
        norm_order="pre",
        skip="dense",
        skip_options={"growth_rate": growth_rate, "compression": 0.5},  # type: ignore[arg-type]
    )


def _imagenet_resnet(block: str, depths: tuple[int, ...], **changes: Any) -> Architecture:
    """He et al. 2015, Table 1."""
    widths = (64, 128, 256, 512) if block == "basic" else (256, 512, 1024, 2048)
    return Architecture(block, depths, widths, **{"stem": "imagenet", "stem_width": 64, **changes})


_IMAGENET: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}

_RESNEXT: dict[str, tuple[int, float, tuple[int, ...]]] = {
    "50-32x4d": (50, 0.5, (4, 8, 16, 32)),
    "101-32x4d": (101, 0.5, (4, 8, 16, 32)),
    "101-32x8d": (101, 1.0, (8, 16, 32, 64)),
    "152-32x4d": (152, 0.5, (4, 8, 16, 32)),
}
"""Depth, bottleneck ratio and group widths: cardinality 32, d channels a group in the first stage (Xie et al. 2017)."""

_REGNET: dict[str, tuple[int, int, float, float, int]] = {
    "x-200mf": (13, 24, 36.44, 2.49, 8),
    "x-400mf": (22, 24, 24.48, 2.54, 16),
    "x-600mf": (16, 48, 36.97, 2.24, 24),
    "x-800mf": (16, 56, 35.73, 2.28, 16),
    "x-1.6gf": (18, 80, 34.01, 2.25, 24),
    "x-3.2gf": (25, 88, 26.31, 2.25, 48),
    "x-4.0gf": (23, 96, 38.65, 2.43, 40),
    "x-6.4gf": (17, 184, 60.83, 2.07, 56),
    "x-8.0gf": (23, 80, 49.56, 2.88, 120),
    "x-12gf": (19, 168, 73.36, 2.37, 112),
    "x-16gf": (22, 216, 55.59, 2.1, 128),
    "x-32gf": (23, 320, 69.86, 2.0, 168),
    "y-200mf": (13, 24, 36.44, 2.49, 8),
    "y-400mf": (16, 48, 27.89, 2.09, 8),
    "y-600mf": (15, 48, 32.54, 2.32, 16),
    "y-800mf": (14, 56, 38.84, 2.4, 16),
    "y-1.6gf": (27, 48, 20.71, 2.65, 24),
    "y-3.2gf": (21, 80, 42.63, 2.66, 24),
    "y-4.0gf": (22, 96, 31.41, 2.24, 64),
    "y-6.4gf": (25, 112, 33.22, 2.27, 72),
    "y-8.0gf": (17, 192, 76.82, 2.19, 56),
    "y-12gf": (19, 168, 73.36, 2.37, 112),
    "y-16gf": (18, 200, 106.23, 2.48, 112),
    "y-32gf": (20, 232, 115.89, 2.53, 232),
}
"""Blocks, w0, wa, wm and group width (Radosavovic et al. 2020; pycls' configurations)."""


def _regnet(key: str) -> Architecture:
    """Radosavovic et al. 2020: X without, Y with squeeze-excitation."""
    blocks, w0, wa, wm, group_width = _REGNET[key]
    stages = regnet(w0, wa, wm, blocks, group_width=group_width)
    return Architecture(
        "bottleneck",
        stages.depths,
        stages.widths,
        bottleneck_ratio=1.0,
        group_width=stages.group_widths,
        se_ratio=0.25 if key.startswith("y") else 0.0,
        stem="simple",
        stem_width=32,
    )


def _convnext(depths: tuple[int, ...], width: int) -> Architecture:
    """Liu et al. 2022, section 3."""
    widths = tuple(width * 2**stage for stage in range(4))
    return Architecture("convnext", depths, widths, skip="layerscale", stem="patch")


def _published() -> dict[str, Architecture]:
    return {
        **{f"resnet{depth}-cifar": _cifar_resnet(depth, "projection") for depth in (20, 32, 44, 56, 110, 1202)},
        **{f"resnet{depth}-a-cifar": _cifar_resnet(depth, "pad") for depth in (20, 32, 44, 56, 110, 1202)},
        **{f"preresnet{depth}-cifar": _pre_activation_resnet(depth) for depth in (164, 1001)},
        **{
            f"wrn-{depth}-{factor}-cifar": _wide_resnet(depth, factor) for depth, factor in ((16, 8), (28, 10), (40, 4))
        },
        "densenet100-bc-12-cifar": _dense_bc(100, growth_rate=12),
        **{f"resnet{depth}-imagenet": _imagenet_resnet(*_IMAGENET[depth]) for depth in _IMAGENET},
        **{
            f"resnet{depth}-d-imagenet": _imagenet_resnet(*_IMAGENET[depth], stem="deep", shortcut="avgpool_projection")
            for depth in _IMAGENET
        },
        "wide-resnet50-2-imagenet": _imagenet_resnet(*_IMAGENET[50], bottleneck_ratio=0.5),
        **{
            f"resnext{name}-imagenet": _imagenet_resnet(*_IMAGENET[depth], bottleneck_ratio=ratio, group_width=groups)
            for name, (depth, ratio, groups) in _RESNEXT.items()
        },
        "se-resnet50-imagenet": _imagenet_resnet(*_IMAGENET[50], se_ratio=1 / 16, se_position="outer"),
        "densenet121-imagenet": _dense_imagenet((6, 12, 24, 16)),
        "densenet169-imagenet": _dense_imagenet((6, 12, 32, 32)),
        "densenet201-imagenet": _dense_imagenet((6, 12, 48, 32)),
        "convnext-tiny-imagenet": _convnext((3, 3, 9, 3), 96),
        "convnext-small-imagenet": _convnext((3, 3, 27, 3), 96),
        **{f"regnet{key}-imagenet": _regnet(key) for key in _REGNET},
        # Tan and Le 2019, Table 1: strides, kernels and expansions stage by stage, a head of 1280 channels.
        "efficientnet-b0-imagenet": Architecture(
            "inverted",
            (1, 2, 2, 3, 3, 4, 1),
            (16, 24, 40, 80, 112, 192, 320),
            strides=(1, 2, 2, 2, 1, 2, 1),
            bottleneck_ratio=(1.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0),
            se_ratio=0.25,
            kernel_size=(3, 3, 5, 3, 5, 5, 3),
            activation="silu",
            stem="simple",
            stem_width=32,
            head_width=1280,
        ),
    }


_PAPERS = {
    "resnet": "He et al. 2015",
    "preresnet": "He et al. 2016",
    "wrn": "Zagoruyko and Komodakis 2016",
    "densenet": "Huang et al. 2017",
    "wide": "Zagoruyko and Komodakis 2016",
    "resnext": "Xie et al. 2017",
    "se": "Hu et al. 2018",
    "convnext": "Liu et al. 2022",
    "regnetx": "Radosavovic et al. 2020",
    "regnety": "Radosavovic et al. 2020",
    "efficientnet": "Tan and Le 2019",
}


def _summary(name: str, network: Architecture) -> str:
    """Return a preset's depth and paper in one line."""
    family = name.partition("-")[0]
    paper = "He et al. 2019" if "-d-" in name else _PAPERS.get(family) or _PAPERS[family.rstrip("0123456789")]
    return f"depth {network.depth}, {paper}"


for _name, _network in _published().items():
    PRESETS.add(_name, _network, maker=_published, summary=_summary(_name, _network))

_INPUTS: dict[str, Shape] = {"cifar": (3, 32, 32), "imagenet": (3, 224, 224)}


def presets() -> list[str]:
    """Return the names of the published networks that `Architecture.preset` knows."""
    return list(PRESETS)


def published_input(name: str) -> Shape:
    """Return the input shape of the data that a preset was published for."""
    data = name.rsplit("-", 1)[-1]
    if data not in _INPUTS:  # a plugin's
        data = "imagenet" if PRESETS.find(name).default_classes == 1000 else "cifar"
    return _INPUTS[data]
