"""The table of a network's parts, its refusals of inputs, against counts made by hand."""

from __future__ import annotations

import pytest

from ressearch import Architecture
from ressearch.errors import ArchitectureError
from ressearch.networks.cost import Cost, PartCost, breakdown, cost, input_channels


def test_the_table_of_a_basic_network_is_the_one_counted_by_hand() -> None:
    # 3x3 convolutions: 9 x in x out weights, each with a norm of 2 numbers per channel; 64 pixels, then 16.
    rows = [
        PartCost("stem", "cifar", (4, 8, 8), Cost(108 + 8, 108 * 64, 4 * 64, 192 + 256)),
        PartCost("stage 1", "2 x basic", (4, 8, 8), Cost(2 * 304, 2 * 288 * 64, 2 * 512, 2 * 1024)),
        PartCost("stage 2", "1 x basic", (8, 4, 4), Cost(944, (288 + 576 + 32) * 16, 3 * 128, 256 + 3 * 128)),
        PartCost("head", "pool, classifier", (7,), Cost(63, 63, 7, 8)),
    ]
    network = Architecture(depths=(2, 1), widths=(4, 8))
    assert breakdown(network, (3, 8, 8), 7) == rows
    assert cost(network, (3, 8, 8), 7) == Cost(1731, 58_175, 1671, 3144)


def test_the_table_has_a_row_for_each_transition_and_says_that_a_convolution_leads_the_head() -> None:
    network = Architecture("convnext", (1, 2), (4, 8), kernel_size=3, head_width=6)
    depthwise, inner, outer = 9 * 4 + 4, 4 * 16 + 16, 16 * 4 + 4
    wide = (9 * 8 + 8, 8 * 32 + 32, 32 * 8 + 8)
    rows = [
        PartCost("stem", "cifar", (4, 8, 8), Cost(108 + 8, 108 * 64, 4 * 64, 192 + 256)),
        PartCost(
            "stage 1",
            "1 x convnext",
            (4, 8, 8),
            Cost(depthwise + inner + outer + 8, (depthwise + inner + outer) * 64, 24 * 64, (4 + 4 + 4 + 16) * 64),
        ),
        # a norm and a convolution of side and stride 2
        PartCost("stage 2", "transition", (8, 4, 4), Cost(8 + 4 * 8 * 4 + 8, 136 * 16, 8 * 16, 2 * 4 * 64)),
        PartCost(
            "stage 2",
            "2 x convnext",
            (8, 4, 4),
            Cost(2 * (sum(wide) + 16), 2 * sum(wide) * 16, 2 * 48 * 16, 2 * (8 + 8 + 8 + 32) * 16),
        ),
        # 1x1 to 6 and a norm over 16 pixels, a norm of the mean, the classifier
        PartCost(
            "head", "conv, pool, classifier", (5,), Cost(48 + 12 + 12 + 35, 48 * 16 + 35, 96 + 5, 128 + 96 + 6 + 6)
        ),
    ]
    assert breakdown(network, (3, 8, 8), 5) == rows


def test_the_two_units_of_a_transformer_block_add_up() -> None:
    # 5 tokens; attention: 4 to 12 and 4 to 4 channels, two products of 5 x 5 x 4; MLP: 4 to 16 to 4
    attention = Cost(8 + 60 + 20, 80 * 5 + 200, 80, 20 + 20 + 20)
    mlp = Cost(8 + 80 + 68, 148 * 5, 100, 20 + 20 + 80)
    rows = [
        PartCost("stem", "linear", (5, 4), Cost(12, 60, 20, 10)),
        PartCost("stage 1", "1 x transformer", (5, 4), Cost(244, 1340, 180, 180)),
        PartCost("head", "pool, classifier", (3,), Cost(8 + 15, 15, 3, 20 + 4)),
    ]
    assert attention + mlp == rows[1].cost
    assert breakdown(Architecture("transformer", (1,), (4,)), (5, 2), 3) == rows


def test_classes_and_input_are_those_of_cifar_where_nobody_says_otherwise() -> None:
    network = Architecture(depths=(1,), widths=(4,))
    assert cost(network) == cost(network, (3, 32, 32), 10)
    assert breakdown(network) == breakdown(network, (3, 32, 32), 10)
    assert cost(network, [3, 8, 8]) == cost(network, (3, 8, 8))  # type: ignore[arg-type]


REFUSED = [
    ("basic", (3, 32), " (3, 32) is not (channels, height, width), such as (3, 32, 32): block 'basic' works on images"),
    ("basic", (3, 32, 0), " (3, 32, 0) is not (channels, height, width), such as (3, 32, 32): block 'basic' works on "
     "images"),
    ("basic", (3, 32, 2.0), " (3, 32, 2.0) is not (channels, height, width), such as (3, 32, 32): block 'basic' works "
     "on images"),
    ("mlp", (3, 3), " (3, 3) is not (features), such as (30,): block 'mlp' works on vectors"),
    ("mlp", (True,), " (True,) is not (features), such as (30,): block 'mlp' works on vectors"),
    ("transformer", (4,), " (4,) is not (tokens, features), such as (64, 16): block 'transformer' works on sequences"),
    ("mlp", (65537,), ": 65537 is above 65536, the most there can be"),
    ("basic", (3, 70000, 1), ": 70000 is above 65536, the most there can be"),
]  # fmt: skip


@pytest.mark.parametrize(("block", "shape", "said"), REFUSED)
def test_an_input_of_another_shape_is_refused_with_an_example(block: str, shape: tuple, said: str) -> None:
    network = Architecture(block, (1,), (4,))
    for count in (cost, breakdown):
        with pytest.raises(ArchitectureError) as refused:
            count(network, shape)
        assert str(refused.value) == f"input shape{said}"


def test_an_input_of_one_number_a_side_and_one_of_the_most_there_can_be_are_taken() -> None:
    assert cost(Architecture("mlp", (1,), (1,)), (1,), 1).macs > 0
    assert cost(Architecture("mlp", (1,), (1,)), (65536,), 1).saved > 65536


def test_the_channels_of_an_input_are_first_for_images_and_last_for_others() -> None:
    assert [input_channels(shape) for shape in ((3, 8, 9), (5,), (7, 2))] == [3, 5, 2]
