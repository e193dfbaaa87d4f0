"""Hypothesis strategies over the whole space of architectures, and counts of built networks to hold costs against."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from hypothesis import strategies as st

from ressearch import Architecture, build, cost
from ressearch.errors import ArchitectureError
from ressearch.networks.blocks import BLOCKS, SE_POSITIONS
from ressearch.networks.cost import Cost, input_channels
from ressearch.networks.layers import ACTIVATIONS, NORMS
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS, skip_options
from ressearch.networks.stems import STEMS
from ressearch.shapes import Shape

OPTION_VALUES: dict[str, list[float]] = {
    "alpha": [0.1, 0.5, 1.5],
    "beta": [0.5, 1.0],
    "initial": [0.0, 0.3, 1.0],
    "survival": [0.5, 0.9, 1.0],
    "bias": [-6.0, -1.0, 0.0],
    "rate": [0.1, 0.5],
    "growth_rate": [0.0, 2.0, 5.0],
    "compression": [0.5, 1.0],
}


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of an Architecture, valid or not: every axis drawn by itself."""
    stages = draw(st.integers(1, 3))
    each = {"min_size": stages, "max_size": stages}
    block = draw(st.sampled_from(sorted(BLOCKS)))
    is_image = BLOCKS[block].modality == "image"
    skip = draw(st.sampled_from(sorted(SKIPS)))
    base = draw(st.sampled_from([4, 8, 12]))
    widths = tuple(base * 2**stage for stage in range(stages))
    options = {name: draw(st.sampled_from(OPTION_VALUES[name])) for name in skip_options(skip)}
    odd_sides = st.sampled_from([1, 3, 5]) if is_image else st.just(1)
    ratios = st.sampled_from([0.5, 1.0, 2.0])
    return {
        "block": block,
        "depths": tuple(draw(st.lists(st.integers(1, 3), **each))),
        "widths": None if options.get("growth_rate") else widths,
        "strides": tuple(draw(st.lists(st.integers(1, 2), **each))) if is_image else None,
        "bottleneck_ratio": draw(st.one_of(st.none(), ratios, st.lists(ratios, **each).map(tuple))),
        "group_width": draw(st.sampled_from([None, None, 1, 2, 4])),
        "se_ratio": draw(st.sampled_from([0.0, 0.25])) if is_image else 0.0,
        "se_position": draw(st.sampled_from(sorted(SE_POSITIONS))),
        "kernel_size": draw(st.one_of(st.none(), odd_sides, st.lists(odd_sides, **each).map(tuple))),
        "activation": draw(st.sampled_from([None, *sorted(ACTIVATIONS)])),
        "norm": "none" if skip == "fixup" else draw(st.sampled_from([None, *sorted(NORMS)])),
        "norm_order": draw(st.sampled_from([None, "post", "pre"])),
        "dropout": draw(st.sampled_from([0.0, 0.2])),
        "zero_gamma": draw(st.sampled_from([False, False, False, True])),
        "skip": skip,
        "skip_options": options,
        "shortcut": draw(st.sampled_from([None, *sorted(SHORTCUTS)])),
        "stem": draw(st.sampled_from([None, *sorted(name for name, one in STEMS.items() if "image" in one.modalities)]))
        if is_image
        else None,
        "stem_width": draw(st.sampled_from([None, 2, 4])),
        "head_width": draw(st.sampled_from([None, None, 6])),
    }


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Architectures that are not refused."""
    while True:
        arguments = draw(fields())
        try:
            return Architecture(**arguments)
        except ArchitectureError:
            arguments = {**arguments, "zero_gamma": False, "group_width": None, "shortcut": None}
            try:
                return Architecture(**arguments)
            except ArchitectureError:
                continue


def input_shape(architecture: Architecture, side: int = 16) -> Shape:
    """A small input for an architecture, which the architecture may be too deep or too strided for."""
    return {"image": (2, side, side), "vector": (5,), "sequence": (side, 3)}[architecture.modality]


@st.composite
def networks(draw: st.DrawFn, side: int = 16, num_classes: int = 10) -> tuple[Architecture, Shape]:
    """Architectures with a small input that each accepts: `cost` knows the input, `Architecture` and `build` do not."""
    while True:
        architecture = draw(architectures())
        shape = input_shape(architecture, side)
        try:
            cost(architecture, shape, num_classes)
        except ArchitectureError:
            continue
        return architecture, shape


def without_memory(cost: Cost) -> Cost:
    """The part of a cost that `ressearch.testing.counted` counts."""
    return cost._replace(saved=0)


def saved_numbers(architecture: Architecture, shape: Shape) -> int:
    """Count the distinct numbers that autograd keeps for one input, parameters aside."""
    network = build(architecture, input_channels(shape)).train()
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = network(torch.randn(2, *shape))
    del out
    return sum(kept.values()) // 2


def changed(architecture: Architecture, **changes: Any) -> Architecture:
    """A copy with fields changed."""
    return dataclasses.replace(architecture, **changes)
