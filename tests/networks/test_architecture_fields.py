"""What an Architecture derives from its fields (defaults, entries, depth, name, JSON), against tables made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ressearch import Architecture
from ressearch.networks.architecture import Entry

DEFAULTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {},
        {
            "widths": (16, 32, 64),
            "strides": (1, 2, 2),
            "bottleneck_ratio": 1.0,
            "se_position": "inner",
            "kernel_size": 3,
            "activation": "relu",
            "norm": "batch",
            "norm_order": "post",
            "shortcut": "projection",
            "stem": "cifar",
            "stem_width": 16,
            "skip_options": (),
            "head_width": None,
        },
    ),
    ({"depths": [2]}, {"depths": (2,), "widths": (16,), "strides": (1,)}),
    ({"stem": "imagenet"}, {"strides": (1, 2, 2)}),
    ({"stem": "simple"}, {"strides": (2, 2, 2)}),
    ({"block": "bottleneck"}, {"widths": (16, 32, 64), "stem_width": 4, "bottleneck_ratio": 0.25}),
    ({"block": "bottleneck", "widths": [10, 20, 40]}, {"stem_width": 2}),
    ({"block": "bottleneck", "widths": (1, 1, 1)}, {"stem_width": 1}),
    ({"block": "bottleneck", "widths": (8, 8, 8), "bottleneck_ratio": (0.5, 1, 2)}, {"stem_width": 4}),
    ({"block": "inverted", "widths": (6, 8, 8)}, {"stem_width": 6, "bottleneck_ratio": 4.0, "shortcut": "none"}),
    ({"block": "mlp"}, {"strides": (1, 1, 1), "stem": "linear", "norm_order": "pre", "kernel_size": 1}),
    ({"block": "transformer", "depths": (2,)}, {"strides": (1,), "activation": "gelu", "norm": "layer"}),
    ({"skip": "none", "shortcut": "pad"}, {"shortcut": "projection"}),
    ({"block": "inverted", "skip": "none", "shortcut": "projection"}, {"shortcut": "none"}),
    ({"skip": "scaled"}, {"skip_options": (("alpha", 0.2), ("beta", 1.0))}),
    ({"skip": "scaled", "skip_options": {"beta": 2}}, {"skip_options": (("alpha", 0.2), ("beta", 2.0))}),
    ({"kernel_size": [5, 5, 5], "group_width": (2, 2, 2), "bottleneck_ratio": (1, 1, 1)},
     {"kernel_size": 5, "group_width": 2, "bottleneck_ratio": 1.0}),
    ({"kernel_size": [3, 5, 3], "group_width": [1, 2, 4]}, {"kernel_size": (3, 5, 3), "group_width": (1, 2, 4)}),
    ({"block": "single", "depths": (4,), "skip": "dense"}, {"widths": (16,), "stem_width": 8}),
    ({"block": "single", "depths": (4,), "skip": "dense", "widths": (21,)}, {"stem_width": 10}),
    (
        {"block": "single", "depths": (2, 3), "skip": "dense", "skip_options": {"growth_rate": 6, "compression": 0.4}},
        {"stem_width": 12, "widths": (24, 9 + 18)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "resolved"), DEFAULTS)
def test_what_is_left_out_takes_the_published_value(given: dict[str, Any], resolved: dict[str, Any]) -> None:
    architecture = Architecture(**given)
    assert {key: getattr(architecture, key) for key in resolved} == resolved


def test_numbers_have_one_type_whatever_they_were_given_as() -> None:
    one = Architecture(bottleneck_ratio=1, se_ratio=0, dropout=0)
    assert [type(value) for value in (one.bottleneck_ratio, one.se_ratio, one.dropout)] == [float] * 3


ENTRIES: list[tuple[dict[str, Any], list[Entry]]] = [
    ({"widths": (8, 16), "stem_width": 4}, [Entry(4, 4, False, 1), Entry(8, 8, False, 2)]),
    ({"block": "convnext", "widths": (8, 16)}, [Entry(8, 8, False, 1), Entry(8, 16, True, 1)]),
    ({"block": "convnext", "widths": (8, 8), "strides": (1, 1)}, [Entry(8, 8, False, 1), Entry(8, 8, False, 1)]),
    ({"block": "convnext", "widths": (8, 8), "strides": (2, 3)}, [Entry(8, 8, True, 1), Entry(8, 8, True, 1)]),
    ({"block": "convnext", "widths": (8, 8), "stem_width": 4}, [Entry(4, 8, True, 1), Entry(8, 8, True, 1)]),
    (
        {"block": "single", "skip": "dense", "widths": (20, 30), "stem_width": 4},
        [Entry(4, 4, False, 1), Entry(20, 10, True, 1)],
    ),
]


@pytest.mark.parametrize(("fields", "entries"), ENTRIES)
def test_stages_are_entered_with_these_channels(fields: dict[str, Any], entries: list[Entry]) -> None:
    assert Architecture(depths=(2, 2), **fields).entries == tuple(entries)


@pytest.mark.parametrize(
    ("fields", "depth"),
    [
        ({}, 20),
        ({"stem": "deep"}, 22),
        ({"head_width": 8}, 21),
        ({"block": "bottleneck"}, 29),
        ({"block": "convnext"}, 2 + 27 + 2),
        ({"block": "convnext", "strides": (2, 2, 2)}, 2 + 27 + 3),
        ({"block": "inverted"}, 29),
        ({"block": "inverted", "bottleneck_ratio": (1, 4, 4)}, 26),
        ({"block": "transformer"}, 2 + 9 * 4),
        ({"block": "single", "skip": "dense"}, 2 + 9 + 2),
    ],
)
def test_depth_counts_the_weighted_layers(fields: dict[str, Any], depth: int) -> None:
    assert Architecture(**fields).depth == depth


def test_a_stage_has_its_own_number_or_that_of_all() -> None:
    network = Architecture(kernel_size=(3, 5, 7))
    assert [network.at_stage("kernel_size", stage) for stage in range(3)] == [3, 5, 7]
    assert [network.at_stage("bottleneck_ratio", stage) for stage in range(3)] == [1.0] * 3


def test_modality_and_classes_follow_from_block_and_stem() -> None:
    assert [Architecture(block).modality for block in ("basic", "mlp", "transformer")] == [
        "image",
        "vector",
        "sequence",
    ]
    assert [Architecture(stem=stem).default_classes for stem in ("cifar", "simple")] == [10, 1000]


NAMES: list[tuple[dict[str, Any], str]] = [
    ({}, "basic-d3.3.3-w16.32.64"),
    ({"skip": "none"}, "basic-d3.3.3-w16.32.64+skip=none"),
    ({"depths": (1,), "widths": (4,), "strides": (2,), "dropout": 0.5}, "basic-d1-w4+strides=2+dropout=0.5"),
    (
        {"bottleneck_ratio": (0.5, 1, 0.5), "group_width": (1, 2, 4), "kernel_size": (3, 5, 3), "zero_gamma": True},
        "basic-d3.3.3-w16.32.64+bottleneck_ratio=0.5:1.0:0.5+group_width=1.2.4+kernel_size=3.5.3+zero_gamma=True",
    ),
    (
        {"skip": "scaled", "skip_options": {"alpha": 0.1}, "stem_width": 3, "head_width": 5, "se_ratio": 0.25},
        "basic-d3.3.3-w16.32.64+se_ratio=0.25+skip=scaled+alpha=0.1+beta=1.0+stem_width=3+head_width=5",
    ),
    ({"skip": "scaled"}, "basic-d3.3.3-w16.32.64+skip=scaled"),
    (
        {"se_position": "outer", "activation": "silu", "norm": "group", "norm_order": "pre", "shortcut": "pad"},
        "basic-d3.3.3-w16.32.64+se_position=outer+activation=silu+norm=group+norm_order=pre+shortcut=pad",
    ),
    ({"stem": "simple", "strides": (1, 1, 1)}, "basic-d3.3.3-w16.32.64+strides=1.1.1+stem=simple"),
]


@pytest.mark.parametrize(("fields", "name"), NAMES)
def test_a_name_says_what_is_not_the_default_and_is_read_back(fields: dict[str, Any], name: str) -> None:
    architecture = Architecture(**fields)
    assert architecture.name == name
    assert Architecture.from_name(name) == architecture


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("basic-d1-w4+group_width=None+head_width=None", {}),
        ("basic-d1-w4+zero_gamma=False", {}),
        ("basic-d1-w4+group_width=2", {"group_width": 2}),
        ("basic-d1-w4+strides=2+se_ratio=1", {"strides": (2,), "se_ratio": 1.0}),
        ("basic-d1-w4+stem_width=7+kernel_size=5", {"stem_width": 7, "kernel_size": 5}),
        ("basic-d1-w4+bottleneck_ratio=2", {"bottleneck_ratio": 2.0}),
        ("basic-d1-w4+alpha=0.5+skip=scaled", {"skip": "scaled", "skip_options": {"alpha": 0.5}}),
    ],
)
def test_names_that_people_write_are_read(name: str, fields: dict[str, Any]) -> None:
    assert Architecture.from_name(name) == Architecture("basic", (1,), (4,), **fields)


def test_json_holds_every_field_resolved() -> None:
    network = Architecture(depths=(1, 2), kernel_size=(3, 5), skip="scaled", norm_order="pre")
    fields = {
        "block": "basic",
        "depths": [1, 2],
        "widths": [16, 32],
        "strides": [1, 2],
        "bottleneck_ratio": 1.0,
        "group_width": None,
        "se_ratio": 0.0,
        "se_position": "inner",
        "kernel_size": [3, 5],
        "activation": "relu",
        "norm": "batch",
        "norm_order": "pre",
        "dropout": 0.0,
        "zero_gamma": False,
        "skip": "scaled",
        "skip_options": {"alpha": 0.2, "beta": 1.0},
        "shortcut": "projection",
        "stem": "cifar",
        "stem_width": 16,
        "head_width": None,
    }
    assert json.loads(network.to_json()) == network.to_dict() == fields
    assert list(network.to_dict()) == list(fields)
    assert Architecture.from_dict(fields) == Architecture.from_json(json.dumps(fields)) == network


def test_a_copy_keeps_what_was_filled_in() -> None:
    assert Architecture().replace(depths=(1, 1, 1), stem="simple").strides == (1, 2, 2)
    assert Architecture(widths=(8, 8, 8)).replace(skip="none").widths == (8, 8, 8)
