"""Each shortcut and each stem as the layers its paper writes down."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch.errors import ArchitectureError
from ressearch.networks.attention import Positions
from ressearch.networks.layers import (
    Activation,
    AveragePool,
    Conv,
    Layers,
    Linear,
    MaxPool,
    Norm,
    SubsampleAndPad,
)
from ressearch.networks.shortcuts import SHORTCUTS, UnitSpec, get_shortcut, project
from ressearch.networks.stems import STEMS, StemSpec


def unit(in_width: int = 4, width: int = 8, stride: int = 2, **fields: Any) -> UnitSpec:
    values = {"modality": "image", "kernel_size": 3, "norm": "batch", "norm_order": "post", "bias": False}
    return UnitSpec(in_width, width, stride, is_activated=True, **{**values, **fields})


NORM = Norm("batch", 8)
STRIDED = (Conv(4, 8, 1, 2), NORM)
CASES: list[tuple[str, UnitSpec, Layers | None]] = [
    ("pad", unit(), (SubsampleAndPad(4, 8, 2, "image"),)),
    ("pad", unit(stride=1), (SubsampleAndPad(4, 8, 1, "image"),)),
    ("pad", unit(8, stride=2), (SubsampleAndPad(8, 8, 2, "image"),)),
    ("pad", unit(8, stride=1), ()),
    ("pad", unit(stride=1, modality="vector"), (SubsampleAndPad(4, 8, 1, "vector"),)),
    ("projection", unit(), STRIDED),
    ("projection", unit(8, stride=1), ()),
    ("projection", unit(8, stride=2), (Conv(8, 8, 1, 2), NORM)),
    ("projection", unit(norm_order="pre"), (Conv(4, 8, 1, 2),)),
    ("projection", unit(norm="none", bias=True), (Conv(4, 8, 1, 2, bias=True),)),
    ("projection", unit(stride=1, modality="vector"), (Linear(4, 8, False), Norm("batch", 8, "vector"))),
    ("projection_all", unit(8, stride=1), (Conv(8, 8), NORM)),
    ("projection_all", unit(), STRIDED),
    ("avgpool_projection", unit(), (AveragePool(2), Conv(4, 8), NORM)),
    ("avgpool_projection", unit(stride=1), (Conv(4, 8), NORM)),
    ("avgpool_projection", unit(8, stride=1), ()),
    ("none", unit(), None),
    ("none", unit(stride=1), None),
    ("none", unit(8, stride=2), None),
    ("none", unit(8, stride=1), ()),
]


@pytest.mark.parametrize(("name", "spec", "layers"), CASES)
def test_a_shortcut_is_these_layers(name: str, spec: UnitSpec, layers: Layers | None) -> None:
    assert get_shortcut(name)(spec) == layers


def test_zeros_cannot_narrow() -> None:
    with pytest.raises(ArchitectureError) as refused:
        get_shortcut("pad")(unit(8, 4))
    assert str(refused.value) == "shortcut: 'pad' cannot narrow 8 channels to 4; use 'projection'"


def test_an_unknown_shortcut_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArchitectureError) as refused:
        get_shortcut("paid")
    assert str(refused.value) == "shortcut: 'paid' is unknown; did you mean 'pad'?"


def test_a_projection_may_have_a_stride_of_its_own() -> None:
    assert project(unit()) == STRIDED
    assert project(unit(), stride=1) == (Conv(4, 8), NORM)
    assert project(unit(), stride=3) == (Conv(4, 8, 1, 3), NORM)


def spec(**fields: Any) -> StemSpec:
    values = {"modality": "image", "norm": "batch", "norm_order": "post", "activation": "relu", "bias": False}
    return StemSpec(3, 8, **{**values, **fields})


RELU = Activation("relu")
STEM_CASES: list[tuple[str, StemSpec, Layers]] = [
    ("cifar", spec(), (Conv(3, 8, 3), NORM, RELU)),
    ("cifar", spec(norm_order="pre"), (Conv(3, 8, 3),)),
    ("cifar", spec(norm="none", bias=True), (Conv(3, 8, 3, bias=True), RELU)),
    ("imagenet", spec(), (Conv(3, 8, 7, 2), NORM, RELU, MaxPool())),
    ("imagenet", spec(norm_order="pre", activation="silu", norm="group"),
     (Conv(3, 8, 7, 2), Norm("group", 8), Activation("silu"), MaxPool())),
    ("deep", spec(), (Conv(3, 4, 3, 2), Norm("batch", 4), RELU, Conv(4, 4, 3), Norm("batch", 4), RELU, Conv(4, 8, 3),
                      NORM, RELU, MaxPool())),
    ("simple", spec(), (Conv(3, 8, 3, 2), NORM, RELU)),
    ("simple", spec(norm_order="pre"), (Conv(3, 8, 3, 2),)),
    ("patch", spec(), (Conv(3, 8, 4, 4, bias=True, padding=0), NORM)),
    ("linear", spec(modality="vector"), (Linear(3, 8),)),
    ("linear", spec(modality="sequence"), (Linear(3, 8), Positions())),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "layers"), STEM_CASES)
def test_a_stem_is_these_layers(name: str, given: StemSpec, layers: Layers) -> None:
    assert STEMS[name].layers(given) == layers


def test_stems_say_what_their_data_have() -> None:
    traits = {name: (one.modalities, one.classes, one.first_stride, one.weighted) for name, one in STEMS.items()}
    image = ("image",)
    assert traits == {
        "cifar": (image, 10, 1, 1),
        "imagenet": (image, 1000, 1, 1),
        "deep": (image, 1000, 1, 3),
        "simple": (image, 1000, 2, 1),
        "patch": (image, 1000, 1, 1),
        "linear": (("vector", "sequence"), 10, 1, 1),
    }
    assert list(SHORTCUTS) == ["pad", "projection", "projection_all", "avgpool_projection", "none"]
