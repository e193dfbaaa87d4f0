"""From fields to layers: whole networks written down by hand, and what a plan refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch import Architecture, cost, plan
from ressearch.errors import ArchitectureError
from ressearch.networks.attention import Attention, Positions
from ressearch.networks.layers import (
    Activation,
    Affine,
    AveragePool,
    Conv,
    GlobalAveragePool,
    Layers,
    Linear,
    Norm,
    SubsampleAndPad,
)
from ressearch.networks.merges import Concatenation, DropoutShortcut, Gated, LearnedScale, WeightedSum
from ressearch.networks.plan import Residual, Stage
from ressearch.networks.shortcuts import shortcut
from ressearch.networks.skips import Skip, skip
from ressearch.registry import unchanged

RELU, ADD = Activation("relu"), WeightedSum()


def norm(width: int, kind: str = "batch", modality: str = "image") -> Norm:
    return Norm(kind, width, modality)


def units(*arguments: Any, **fields: Any) -> list[Residual]:
    return [unit for stage in plan(Architecture(*arguments, **fields)).stages for unit in stage.units]


def test_a_basic_network_is_these_layers() -> None:
    network = plan(Architecture(depths=(2, 1), widths=(4, 8)), 2, 7)
    assert network.stem.layers == (Conv(2, 4, 3), norm(4), RELU)
    assert list(network.stem) == list(network.stem.layers)
    same = Residual((), (Conv(4, 4, 3), norm(4), RELU, Conv(4, 4, 3), norm(4)), (), ADD, (RELU,))
    down = Residual(
        (), (Conv(4, 8, 3, 2), norm(8), RELU, Conv(8, 8, 3), norm(8)), (Conv(4, 8, 1, 2), norm(8)), ADD, (RELU,)
    )
    first, second = network.stages
    assert [block.units for block in first.blocks] == [(same,), (same,)]
    assert [count for _, count in first.runs] == [1, 1]
    assert list(second.units) == [down]
    assert (first.transition, second.transition) == (None, None)
    assert network.head.layers == (GlobalAveragePool("image"), Linear(8, 7))
    assert [count for _, count in network.parts] == [1, 1, 1, 1, 1]


def test_equal_blocks_are_one_object_wherever_they_stand() -> None:
    first = plan(Architecture(depths=(3, 1), widths=(4, 8)))
    second = plan(Architecture(depths=(1, 4), widths=(4, 8), stem_width=4))
    assert first.stages[0].runs[0][0] is second.stages[0].runs[0][0]
    assert [count for stage in second.stages for _, count in stage.runs] == [1, 1, 3]
    assert first.stem is second.stem
    assert first.head is second.head


def test_classes_and_channels_are_the_data_s_where_nobody_says_otherwise() -> None:
    network = plan(Architecture(depths=(1,), widths=(4,), stem="simple"))
    assert network.stem.layers[0] == Conv(3, 4, 3, 2)
    assert network.head.layers[-1] == Linear(4, 1000)


def test_each_stage_has_its_own_numbers() -> None:
    found = units(
        "bottleneck",
        (1, 1),
        (4, 8),
        bottleneck_ratio=(0.5, 1),
        group_width=(1, 4),
        kernel_size=(3, 5),
        strides=(2, 1),
        stem_width=4,
    )
    assert [unit.branch[3] for unit in found] == [Conv(2, 2, 3, 2, 2), Conv(8, 8, 5, 1, 2)]


UNITS: list[tuple[dict[str, Any], int, Residual]] = [
    # pre-activation: a projection sees the activated input, an identity does not
    (
        {"norm_order": "pre"},
        1,
        Residual((norm(4), RELU), (Conv(4, 8, 3, 2), norm(8), RELU, Conv(8, 8, 3)), (Conv(4, 8, 1, 2),), ADD, ()),
    ),
    (
        {"norm_order": "pre"},
        0,
        Residual((), (norm(4), RELU, Conv(4, 4, 3), norm(4), RELU, Conv(4, 4, 3)), (), ADD, ()),
    ),
    (
        {"norm_order": "pre", "shortcut": "pad"},
        1,
        Residual(
            (),
            (norm(4), RELU, Conv(4, 8, 3, 2), norm(8), RELU, Conv(8, 8, 3)),
            (SubsampleAndPad(4, 8, 2, "image"),),
            ADD,
            (),
        ),
    ),
    (
        {"shortcut": "none"},
        1,
        Residual((), (Conv(4, 8, 3, 2), norm(8), RELU, Conv(8, 8, 3), norm(8)), (), None, (RELU,)),
    ),
    (
        {"skip": "none"},
        1,
        Residual((), (Conv(4, 8, 3, 2), norm(8), RELU, Conv(8, 8, 3), norm(8)), (), None, (RELU,)),
    ),
    (
        {"norm": "none"},
        1,
        Residual(
            (),
            (Conv(4, 8, 3, 2, bias=True), RELU, Conv(8, 8, 3, bias=True)),
            (Conv(4, 8, 1, 2, bias=True),),
            ADD,
            (RELU,),
        ),
    ),
    (
        {"skip": "fixup", "norm": "none"},
        1,
        Residual(  # the projection sees the biased input (Zhang et al. 2019, their code)
            (Affine("bias", 0.0),),
            (
                Conv(4, 8, 3, 2),
                Affine("bias", 0.0),
                RELU,
                Affine("bias", 0.0),
                Conv(8, 8, 3),
                Affine("scale", 1.0),
                Affine("bias", 0.0),
            ),
            (Conv(4, 8, 1, 2),),
            ADD,
            (RELU,),
        ),
    ),
    (
        {"skip": "fixup", "norm": "none", "norm_order": "pre"},
        1,
        Residual(
            (Affine("bias", 0.0), RELU, Affine("bias", 0.0)),
            (Conv(4, 8, 3, 2), Affine("bias", 0.0), RELU, Affine("bias", 0.0), Conv(8, 8, 3), Affine("scale", 1.0)),
            (Conv(4, 8, 1, 2),),
            ADD,
            (),
        ),
    ),
    (
        {"skip": "conv_shortcut"},
        0,
        Residual((), (Conv(4, 4, 3), norm(4), RELU, Conv(4, 4, 3), norm(4)), (Conv(4, 4), norm(4)), ADD, (RELU,)),
    ),
    (
        {"block": "inverted", "bottleneck_ratio": 1.0},
        0,
        Residual((), (Conv(4, 4, 3, 1, 4), norm(4), RELU, Conv(4, 4), norm(4)), (), ADD, ()),
    ),
    (
        {"activation": "silu", "norm": "group"},
        0,
        Residual(
            (),
            (Conv(4, 4, 3), norm(4, "group"), Activation("silu"), Conv(4, 4, 3), norm(4, "group")),
            (),
            ADD,
            (Activation("silu"),),
        ),
    ),
]


@pytest.mark.parametrize(("fields", "index", "unit"), UNITS)
def test_a_unit_is_these_layers(fields: dict[str, Any], index: int, unit: Residual) -> None:
    assert units(**{"depths": (1, 1), "widths": (4, 8), **fields})[index] == unit


def test_a_transformer_has_two_units_a_block_with_the_norm_after_each_in_its_first_order() -> None:
    attention, mlp = units(
        "transformer", (1,), (8,), stem_width=4, group_width=4, bottleneck_ratio=1.0, norm_order="post"
    )
    after = (norm(8, "layer", "sequence"),)
    assert attention == Residual(
        (), (Attention(4, 8, 2),), (Linear(4, 8, False), norm(8, "layer", "sequence")), ADD, after
    )
    assert mlp == Residual((), (Linear(8, 8), Activation("gelu"), Linear(8, 8)), (), ADD, after)
    attention, mlp = units("transformer", (1,), (8,), norm_order="pre", norm="batch")
    assert attention.after == mlp.after == ()
    assert units("transformer", (1,), (8,), norm_order="post", norm="none")[0].after == ()


HEADS: list[tuple[dict[str, Any], Layers]] = [
    ({}, (GlobalAveragePool("image"), Linear(8, 5))),
    ({"norm_order": "pre"}, (norm(8), RELU, GlobalAveragePool("image"), Linear(8, 5))),
    ({"head_width": 6}, (Conv(8, 6), norm(6), RELU, GlobalAveragePool("image"), Linear(6, 5))),
    (
        {"head_width": 6, "norm": "none", "norm_order": "pre"},
        (RELU, Conv(8, 6, bias=True), RELU, GlobalAveragePool("image"), Linear(6, 5)),
    ),
    (
        {"block": "convnext", "head_width": 6, "norm_order": "pre"},
        (
            Conv(8, 6),
            norm(6, "layer"),
            Activation("gelu"),
            GlobalAveragePool("image"),
            norm(6, "layer", "vector"),
            Linear(6, 5),
        ),
    ),
    ({"block": "mlp"}, (norm(8, modality="vector"), RELU, GlobalAveragePool("vector"), Linear(8, 5))),
    ({"block": "mlp", "norm_order": "post"}, (GlobalAveragePool("vector"), Linear(8, 5))),
    (
        {"block": "transformer"},
        (norm(8, "layer", "sequence"), GlobalAveragePool("sequence"), Linear(8, 5)),
    ),
    (
        {"block": "transformer", "norm_order": "post", "head_width": 6, "norm": "group"},
        (
            Linear(8, 6, False),
            norm(6, "group", "sequence"),
            Activation("gelu"),
            GlobalAveragePool("sequence"),
            Linear(6, 5),
        ),
    ),
]


@pytest.mark.parametrize(("fields", "head"), HEADS)
def test_a_head_is_these_layers(fields: dict[str, Any], head: Layers) -> None:
    assert plan(Architecture(**{"depths": (1,), "widths": (8,), **fields}), num_classes=5).head.layers == head


@pytest.mark.parametrize(
    ("fields", "stem"),
    [
        ({"norm": "none"}, (Conv(3, 8, 3, bias=True), RELU)),
        ({"skip": "fixup", "norm": "none"}, (Conv(3, 8, 3, bias=True), RELU)),
        ({"norm_order": "pre", "stem": "simple"}, (Conv(3, 8, 3, 2),)),
        ({"activation": "silu", "stem_width": 6}, (Conv(3, 6, 3), norm(6), Activation("silu"))),
        ({"block": "mlp"}, (Linear(3, 8),)),
        ({"block": "transformer"}, (Linear(3, 8), Positions())),
    ],
)
def test_a_stem_has_the_networks_norm_order_and_activation(fields: dict[str, Any], stem: Layers) -> None:
    assert plan(Architecture(**{"depths": (1,), "widths": (8,), **fields})).stem.layers == stem


def transitions(**fields: Any) -> list[Layers | None]:
    stages: tuple[Stage, ...] = plan(Architecture(depths=(1, 2), **fields)).stages
    return [stage.transition.layers if stage.transition else None for stage in stages]


def test_transitions_are_the_skips_or_the_blocks() -> None:
    dense = {"block": "single", "skip": "dense", "widths": (8, 10)}
    assert transitions(**dense) == [None, (Conv(8, 4), norm(4), RELU, AveragePool(2))]
    assert transitions(**dense, norm_order="pre") == [None, (norm(8), RELU, Conv(8, 4), AveragePool(2))]
    assert transitions(**dense, strides=(1, 1), norm="none") == [None, (Conv(8, 4, bias=True), RELU)]
    assert transitions(**dense, strides=(3, 1), activation="silu")[0] == (
        Conv(4, 4),
        norm(4),
        Activation("silu"),
        AveragePool(3),
    )
    assert transitions(**{**dense, "block": "mlp"}) == [
        None,
        (norm(8, modality="vector"), RELU, Linear(8, 4, False)),
    ]
    convnext = transitions(block="convnext", widths=(4, 8))
    assert convnext == [None, (norm(4, "layer"), Conv(4, 8, 2, 2, bias=True, padding=0))]


def test_dense_stages_grow_evenly() -> None:
    found = units("single", (1, 3), skip="dense", widths=(8, 11))
    assert [unit.branch[0] for unit in found] == [Conv(4, 4, 3), Conv(4, 2, 3), Conv(6, 2, 3), Conv(8, 3, 3)]
    assert all(isinstance(unit.merge, Concatenation) and unit.shortcut == () for unit in found)


MERGES: list[tuple[dict[str, Any], Any]] = [
    ({"skip": "rezero", "skip_options": {"initial": 0.5}}, LearnedScale(1, 0.5)),
    ({"skip": "skipinit"}, LearnedScale(1, 0.0)),
    ({"skip": "layerscale"}, LearnedScale(8, 1e-6)),
    ({"skip": "dropout_shortcut", "skip_options": {"rate": 0.25}}, DropoutShortcut(0.25)),
    ({"skip": "highway", "kernel_size": 5}, Gated(Conv(4, 8, 5, 2, bias=True), -2.0, True)),
    ({"skip": "exclusive_gating"}, Gated(Conv(4, 8, 1, 2, bias=True), -6.0, True)),
    ({"skip": "shortcut_gating", "skip_options": {"bias": 1}}, Gated(Conv(4, 8, 1, 2, bias=True), 1.0, False)),
    ({"skip": "highway", "block": "mlp"}, Gated(Linear(4, 8), -2.0, True)),
    ({"skip": "exclusive_gating", "block": "transformer"}, Gated(Linear(4, 8), -6.0, True)),
    ({"skip": "shortcut_gating", "block": "mlp"}, Gated(Linear(4, 8), -6.0, False)),
]


@pytest.mark.parametrize(("fields", "merge"), MERGES)
def test_paths_meet_in_this_layer(fields: dict[str, Any], merge: Any) -> None:
    second = plan(Architecture(**{"depths": (1, 1), "widths": (4, 8), **fields})).stages[1]
    assert next(second.units).merge == merge


def test_what_cannot_be_added_is_refused_with_both_shapes() -> None:
    with unchanged():

        @shortcut("crooked")
        def crooked(unit: Any) -> Layers:
            return (AveragePool(2),)

        with pytest.raises(ArchitectureError) as refused:
            cost(Architecture(depths=(1,), widths=(4,), shortcut="crooked"), (3, 8, 8))
        assert str(refused.value) == (
            "block: 'basic': its branch gives 4x8x8, the shortcut 4x4x4: they cannot be added"
        )


def test_a_part_remembers_what_it_costs() -> None:
    chain = plan(Architecture(depths=(1,), widths=(4,))).head
    assert chain.trace((4, 3, 3)) is chain.trace((4, 3, 3))
    assert chain.trace((4, 3, 3)) == chain.trace((4, 2, 2))


def test_a_style_that_merges_with_something_else_is_refused() -> None:
    with unchanged():

        @skip("odd")
        class Odd(Skip):
            """Odd."""

            formula = "?"

            def merge(self, unit: Any) -> Any:
                return 3

        with pytest.raises(ArchitectureError) as refused:
            plan(Architecture(skip="odd"))
        assert str(refused.value) == (
            "skip: 'odd' merges with 3; expected a layer of ressearch.networks.merges, or None for no way around"
        )


def test_what_fails_in_a_plugin_is_named() -> None:
    with unchanged():

        @shortcut("broken")
        def broken(unit: Any) -> Layers:
            raise KeyError("x")

        with pytest.raises(ArchitectureError, match=r"^shortcut: 'broken' fails \(test_plan.py, line \d+\): KeyError"):
            plan(Architecture(shortcut="broken"))

        @skip("broken")
        class Broken(Skip):
            """Broken."""

            formula = "?"

            def merge(self, unit: Any) -> Any:
                raise KeyError("x")

        with pytest.raises(ArchitectureError, match=r"^skip: 'broken' fails \(test_plan.py, line \d+\): KeyError"):
            plan(Architecture(skip="broken"))
