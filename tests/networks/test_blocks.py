"""Each block type as the layers its paper draws, in both orders, and what a registered block must be."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch.errors import ArchitectureError
from ressearch.networks.attention import Attention
from ressearch.networks.blocks import (
    BLOCKS,
    BlockSpec,
    block,
    branches_of,
    ends_in_norm,
    get_block,
    weighted_layers,
)
from ressearch.networks.layers import Activation, Conv, Dropout, Layers, Linear, Norm, SqueezeExcite
from ressearch.registry import unchanged

RELU, DROP = Activation("relu"), Dropout(0.5)


def norm(width: int, kind: str = "batch", modality: str = "image") -> Norm:
    return Norm(kind, width, modality)


def branches(name: str, in_width: int = 4, width: int = 8, **fields: Any) -> tuple[Layers, ...]:
    return branches_of(name, get_block(name), BlockSpec(in_width, width, **fields))


CASES: list[tuple[str, dict[str, Any], Layers]] = [
    ("basic", {"stride": 2}, (Conv(4, 8, 3, 2), norm(8), RELU, Conv(8, 8, 3), norm(8))),
    ("basic", {"norm_order": "pre"}, (norm(4), RELU, Conv(4, 8, 3), norm(8), RELU, Conv(8, 8, 3))),
    ("basic", {"dropout": 0.5}, (Conv(4, 8, 3), norm(8), RELU, DROP, Conv(8, 8, 3), norm(8))),
    (
        "basic",
        {"dropout": 0.5, "norm_order": "pre"},
        (norm(4), RELU, Conv(4, 8, 3), norm(8), RELU, DROP, Conv(8, 8, 3)),
    ),
    (
        "basic",
        {"norm": "none", "bias": True, "kernel_size": 5, "bottleneck_ratio": 0.5, "activation": "silu"},
        (Conv(4, 4, 5, bias=True), Activation("silu"), Conv(4, 8, 5, bias=True)),
    ),
    (
        "basic",
        {"group_width": 2, "se_ratio": 0.5},
        (Conv(4, 8, 3), norm(8), RELU, Conv(8, 8, 3, groups=4), norm(8), SqueezeExcite(8, 2)),
    ),
    (
        "basic",
        {"se_ratio": 0.5, "se_position": "outer", "activation": "silu"},
        (Conv(4, 8, 3), norm(8), Activation("silu"), Conv(8, 8, 3), norm(8), SqueezeExcite(8, 4, "silu")),
    ),
    ("single", {"stride": 2, "group_width": 2, "dropout": 0.5}, (DROP, Conv(4, 8, 3, 2, 4), norm(8))),
    (
        "bottleneck",
        {"stride": 2, "bottleneck_ratio": 0.5, "group_width": 2, "se_ratio": 0.1, "dropout": 0.5},
        (
            Conv(4, 4),
            norm(4),
            RELU,
            Conv(4, 4, 3, 2, 2),
            norm(4),
            RELU,
            SqueezeExcite(4, 1),
            DROP,
            Conv(4, 8),
            norm(8),
        ),
    ),
    (
        "bottleneck",
        {"bottleneck_ratio": 0.5, "norm_order": "pre", "se_ratio": 0.5, "se_position": "outer"},
        (
            norm(4),
            RELU,
            Conv(4, 4),
            norm(4),
            RELU,
            Conv(4, 4, 3),
            norm(4),
            RELU,
            Conv(4, 8),
            SqueezeExcite(8, 4),
        ),
    ),
    (
        "dense_bottleneck",
        {"bottleneck_ratio": 4.0, "stride": 2, "norm_order": "pre"},
        (norm(4), RELU, Conv(4, 32), norm(32), RELU, Conv(32, 8, 3, 2)),
    ),
    (
        "depthwise_bottleneck",
        {"bottleneck_ratio": 0.5, "stride": 2},
        (Conv(4, 4), norm(4), RELU, Conv(4, 4, 3, 2, 4), norm(4), RELU, Conv(4, 8), norm(8)),
    ),
    (
        "inverted",
        {"bottleneck_ratio": 3.0, "stride": 2, "se_ratio": 0.5, "kernel_size": 5},
        (
            Conv(4, 12),
            norm(12),
            RELU,
            Conv(12, 12, 5, 2, 12),
            norm(12),
            RELU,
            SqueezeExcite(12, 2),
            Conv(12, 8),
            norm(8),
        ),
    ),
    ("inverted", {"bottleneck_ratio": 1.0}, (Conv(4, 4, 3, 1, 4), norm(4), RELU, Conv(4, 8), norm(8))),
    (
        "fused_inverted",
        {"bottleneck_ratio": 2.0, "stride": 2, "group_width": 4},
        (Conv(4, 8, 3, 2, 2), norm(8), RELU, Conv(8, 8), norm(8)),
    ),
    ("fused_inverted", {"bottleneck_ratio": 1.0, "stride": 2}, (Conv(4, 8, 3, 2), norm(8))),
    (
        "convnext",
        {"bottleneck_ratio": 4.0, "kernel_size": 7, "norm": "layer", "activation": "gelu", "dropout": 0.5},
        (
            Conv(4, 4, 7, 1, 4, bias=True),
            norm(4, "layer"),
            Conv(4, 32, bias=True),
            Activation("gelu"),
            DROP,
            Conv(32, 8, bias=True),
        ),
    ),
    (
        "convnext",
        {"bottleneck_ratio": 1.0, "norm_order": "pre", "norm": "none"},
        (Conv(4, 4, 3, 1, 4), Conv(4, 8), RELU, Conv(8, 8)),
    ),
    (
        "mlp",
        {"bottleneck_ratio": 2.0, "norm_order": "pre", "dropout": 0.5},
        (norm(4, modality="vector"), Linear(4, 16), RELU, DROP, Linear(16, 8)),
    ),
    (
        "mlp",
        {"bottleneck_ratio": 0.5},
        (
            Linear(4, 4, False),
            norm(4, modality="vector"),
            RELU,
            Linear(4, 8, False),
            norm(8, modality="vector"),
        ),
    ),
    ("mlp", {"norm": "none", "bias": True, "norm_order": "post"}, (Linear(4, 8), RELU, Linear(8, 8))),
]


@pytest.mark.parametrize(("name", "fields", "layers"), CASES)
def test_a_branch_is_these_layers(name: str, fields: dict[str, Any], layers: Layers) -> None:
    assert branches(name, **fields) == (layers,)


def test_a_transformer_block_is_attention_then_an_mlp() -> None:
    fields = {"bottleneck_ratio": 2.0, "group_width": 4, "norm": "layer", "activation": "gelu", "dropout": 0.5}
    attention, first, last, gelu = Attention(4, 8, 2), Linear(8, 16), Linear(16, 8), Activation("gelu")
    assert branches("transformer", **fields) == ((attention, DROP), (first, gelu, last, DROP))
    assert branches("transformer", **fields, norm_order="pre") == (
        (norm(4, "layer", "sequence"), attention, DROP),
        (norm(8, "layer", "sequence"), first, gelu, last, DROP),
    )


def test_inner_widths_are_of_the_output_and_expanded_ones_of_the_input() -> None:
    spec = BlockSpec(10, 7, bottleneck_ratio=0.5)
    assert (spec.inner_width, spec.expanded_width) == (4, 5)  # 3.5 to the even whole number
    least = BlockSpec(1, 1, bottleneck_ratio=0.01)
    assert (least.inner_width, least.expanded_width) == (1, 1)


@pytest.mark.parametrize(("in_width", "width", "group_width"), [(4, 8, 3), (3, 8, 4), (4, 8, 16)])
def test_groups_that_do_not_divide_are_refused(in_width: int, width: int, group_width: int) -> None:
    spec = BlockSpec(in_width, width, group_width=group_width)
    if width < group_width:
        with pytest.raises(ArchitectureError):
            spec.conv(in_width, width, 3, grouped=True)
        return
    with pytest.raises(ArchitectureError) as refused:
        spec.conv(in_width, width, 3, grouped=True)
    assert str(refused.value) == (
        f"group_width: {group_width} does not divide a spatial convolution of {in_width} to {width} channels"
    )
    assert spec.conv(in_width, width, 3) == Conv(in_width, width, 3)


@pytest.mark.parametrize(
    ("name", "ratio", "layers"),
    [
        ("basic", None, 2),
        ("single", None, 1),
        ("bottleneck", None, 3),
        ("inverted", None, 3),
        ("inverted", 1.0, 2),
        ("fused_inverted", None, 2),
        ("fused_inverted", 1.0, 1),
        ("convnext", None, 3),
        ("mlp", None, 2),
        ("transformer", None, 4),
    ],
)
def test_weighted_layers_are_those_of_the_main_path(name: str, ratio: float | None, layers: int) -> None:
    assert weighted_layers(name, ratio) == layers


def test_a_branch_ends_in_a_norm_where_the_order_puts_one_there() -> None:
    assert ends_in_norm("basic", "batch", "post")
    assert not ends_in_norm("basic", "batch", "pre")
    assert not ends_in_norm("basic", "none", "post")
    assert not ends_in_norm("transformer", "layer", "post")
    assert not ends_in_norm("convnext", "layer", "post")


PUBLISHED = ("inner", 3, "relu", "batch", "post", "projection", "cifar")


def test_blocks_declare_their_published_values() -> None:
    differences = {
        "basic": {"bottleneck_ratio": 1.0},
        "single": {"bottleneck_ratio": 1.0},
        "bottleneck": {"bottleneck_ratio": 0.25},
        "dense_bottleneck": {"bottleneck_ratio": 4.0},
        "depthwise_bottleneck": {"bottleneck_ratio": 0.25},
        "inverted": {"bottleneck_ratio": 4.0, "shortcut": "none"},
        "fused_inverted": {"bottleneck_ratio": 4.0, "shortcut": "none"},
        "convnext": {"bottleneck_ratio": 4.0, "kernel_size": 7, "activation": "gelu", "norm": "layer"},
        "mlp": {"bottleneck_ratio": 2.0, "kernel_size": 1, "norm_order": "pre", "stem": "linear"},
        "transformer": {
            "bottleneck_ratio": 4.0,
            "kernel_size": 1,
            "activation": "gelu",
            "norm": "layer",
            "norm_order": "pre",
            "stem": "linear",
        },
    }
    keys = ("se_position", "kernel_size", "activation", "norm", "norm_order", "shortcut", "stem")
    common = dict(zip(keys, PUBLISHED, strict=True))
    assert {name: dict(kind.defaults) for name, kind in BLOCKS.items()} == {
        name: common | values for name, values in differences.items()
    }


def test_the_transition_of_a_convnext_is_a_norm_and_a_strided_convolution() -> None:
    transition = get_block("convnext").transition
    assert transition is not None
    assert transition(BlockSpec(4, 8, norm="layer"), 2) == (
        norm(4, "layer"),
        Conv(4, 8, 2, 2, bias=True, padding=0),
    )
    assert transition(BlockSpec(4, 8, norm="none"), 3) == (Conv(4, 8, 3, 3, bias=True, padding=0),)


def test_a_registered_block_has_its_traits_and_the_published_defaults() -> None:
    with unchanged():

        @block("mine", defaults={"norm": "group"}, modality="vector", after="nothing")
        def mine(spec: BlockSpec) -> tuple[Layers, ...]:
            """One linear layer."""
            return ((Linear(spec.in_width, spec.width),),)

        kind = get_block("mine")
        assert (kind.modality, kind.after, kind.final, kind.transition) == (
            "vector",
            "nothing",
            "norm and activation",
            None,
        )
        assert kind.defaults == {**get_block("basic").defaults, "norm": "group"}
        assert kind.branches is mine
        assert BLOCKS.entry("mine").summary == "One linear layer."

        def other(spec: BlockSpec) -> tuple[Layers, ...]:
            return mine(spec)

        with pytest.raises(ValueError, match="blocks: 'mine' is registered already"):
            block("mine")(other)
        block("mine", replace=True)(other)
        assert get_block("mine").branches is other
        assert get_block("mine").defaults == get_block("basic").defaults
    with pytest.raises(ArchitectureError, match=r"^block: 'mine' is unknown; did you mean 'single'\?$"):
        get_block("mine")


WRONG: list[tuple[Any, str]] = [
    (None, "None"),
    ((), "()"),
    ([(Linear(4, 8),)], "[(Linear(in_width=4, width=8, bias=True),)]"),
    ((Linear(4, 8),), "(Linear(in_width=4, width=8, bias=True),)"),
    (((),), "((),)"),
    (((Linear(4, 8),), ("relu",)), "((Linear(in_width=4, width=8, bias=True),), ('relu',))"),
]


@pytest.mark.parametrize(("returned", "shown"), WRONG)
def test_a_block_that_returns_no_branches_is_refused(returned: Any, shown: str) -> None:
    kind = get_block("basic").__class__(lambda spec: returned)
    with pytest.raises(ArchitectureError) as refused:
        branches_of("mine", kind, BlockSpec(4, 8))
    assert str(refused.value) == (
        f"block: 'mine' returns {shown}, no tuple of branches, each a tuple of layers, such as "
        "spec.ordered(spec.conv(...), ...) makes"
    )


def test_a_block_that_fails_is_named_with_the_line() -> None:
    kind = get_block("basic").__class__(lambda spec: spec.nothing)  # type: ignore[attr-defined]
    with pytest.raises(ArchitectureError, match=r"^block: 'mine' fails \(test_blocks.py, line \d+\): AttributeError"):
        branches_of("mine", kind, BlockSpec(4, 8))
