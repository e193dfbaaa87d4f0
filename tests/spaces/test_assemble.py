"""The network of some fields and family keys, against networks written out in full."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch import Architecture, cost
from ressearch.errors import ArchitectureError
from ressearch.networks.families import Match
from ressearch.spaces.space import assemble

FAMILIES: list[tuple[dict[str, Any], int, Architecture]] = [
    ({}, 3, Architecture(depths=(3, 3, 3), widths=(16, 32, 64))),
    ({}, 2, Architecture(depths=(3, 3), widths=(16, 32))),
    ({"width": 8}, 4, Architecture(depths=(3, 3, 3, 3), widths=(8, 16, 32, 64))),
    ({"blocks_per_stage": 2}, 1, Architecture(depths=(2,), widths=(16,))),
    ({"depths": (1, 2)}, 2, Architecture(depths=(1, 2), widths=(16, 32))),
    ({"depths": (1, 2), "widths": (5, 4)}, 2, Architecture(depths=(1, 2), widths=(5, 4))),
    ({"depth": 20, "width": 8}, 3, Architecture(depths=(3, 3, 3), widths=(8, 16, 32))),
    ({"depth": 18, "width": 8}, 4, Architecture(depths=(2, 2, 2, 2), widths=(8, 16, 32, 64))),
    # 9n+2: three weighted layers in a bottleneck (He et al. 2015)
    ({"depth": 29, "block": "bottleneck"}, 3, Architecture("bottleneck", (3, 3, 3), (16, 32, 64))),
    # an inverted block of ratio 1 has no expansion: two layers
    (
        {"depth": 8, "block": "inverted", "bottleneck_ratio": 1},
        3,
        Architecture("inverted", (1, 1, 1), bottleneck_ratio=1),
    ),
    (
        {"depth": 11, "block": "inverted", "bottleneck_ratio": 6},
        3,
        Architecture("inverted", (1, 1, 1), bottleneck_ratio=6),
    ),
    (
        {"depth": 11, "block": "inverted", "bottleneck_ratio": (6, 6, 6)},
        3,
        Architecture("inverted", (1, 1, 1), bottleneck_ratio=6),
    ),
    # the deep stem has three layers, a head convolution is one more
    ({"depth": 10, "stem": "deep"}, 3, Architecture(depths=(1, 1, 1), stem="deep")),
    ({"depth": 9, "head_width": 32}, 3, Architecture(depths=(1, 1, 1), head_width=32)),
    ({"depth": 8, "head_width": None}, 3, Architecture(depths=(1, 1, 1))),
    # two transitions between three dense stages
    ({"depth": 10, "skip": "dense", "width": 8}, 3, Architecture(depths=(1, 1, 1), widths=(8, 16, 32), skip="dense")),
    (
        {"norm": "none", "zero_gamma": False, "dropout": 0.5, "group_width": 8, "kernel_size": (3, 5)},
        2,
        Architecture(depths=(3, 3), norm="none", dropout=0.5, group_width=8, kernel_size=(3, 5)),
    ),
    (
        {"stem_width": 7, "se_ratio": 0.25, "strides": (1, 1)},
        2,
        Architecture(depths=(3, 3), stem_width=7, se_ratio=0.25, strides=(1, 1)),
    ),
]


@pytest.mark.parametrize(("drawn", "stages", "network"), FAMILIES, ids=lambda value: str(value)[:50])
def test_a_family_is_the_network_written_out(drawn: dict[str, Any], stages: int, network: Architecture) -> None:
    assert assemble(drawn, stages) == network


def test_the_options_of_a_skip_are_the_networks() -> None:
    found = assemble({"skip": "scaled", "width": 8}, 3, {"alpha": 0.5})
    assert found == Architecture(widths=(8, 16, 32), skip="scaled", skip_options={"alpha": 0.5})
    assert assemble({"skip": "scaled", "width": 8}, 3).skip_options == (("alpha", 0.2), ("beta", 1.0))


def test_the_width_of_a_dense_family_is_its_stems() -> None:
    drawn = {"skip": "dense", "blocks_per_stage": 2}
    # Huang et al. 2017: each block adds `growth_rate` channels, a transition halves them
    grown = assemble({**drawn, "width": 12}, 2, {"growth_rate": 8.0})
    assert (grown.stem_width, grown.widths) == (12, (12 + 2 * 8, (12 + 2 * 8) // 2 + 2 * 8))
    assert assemble(drawn, 2, {"growth_rate": 8.0}).stem_width == 16  # twice the growth rate, if nobody says
    assert assemble({**drawn, "width": 12, "stem_width": 20}, 2, {"growth_rate": 8.0}).stem_width == 20


REGNETX = {"w0": 24, "wa": 24.48, "wm": 2.54, "depth": 22}
"""RegNetX-400MF, Radosavovic et al. 2020: depths 1, 2, 7, 12, widths 32, 64, 160, 384 with groups of 16."""


def test_regnet_parameters_give_the_papers_network() -> None:
    published = Architecture(
        "bottleneck",
        (1, 2, 7, 12),
        (32, 64, 160, 384),
        bottleneck_ratio=1.0,
        group_width=16,
        stem="simple",
        stem_width=32,
    )
    assert assemble({**REGNETX, "group_width": 16}, None) == published
    assert assemble({**REGNETX, "group_width": 16}, 4) == published
    assert assemble({**REGNETX, "group_width": 16, "bottleneck_ratio": 1.0}, None) == published
    changed = {"block": "basic", "stem": "imagenet", "stem_width": 8, "se_ratio": 0.25}
    assert assemble({**REGNETX, "group_width": 16, **changed}, None) == Architecture(
        "basic",
        (1, 2, 7, 12),
        (32, 64, 160, 384),
        bottleneck_ratio=1.0,
        group_width=16,
        stem="imagenet",
        stem_width=8,
        se_ratio=0.25,
    )
    dense = assemble(REGNETX, None)
    assert (dense.group_width, dense.widths) == (None, (24, 64, 152, 392))
    narrow = assemble({**REGNETX, "group_width": 16, "bottleneck_ratio": 0.5}, None)
    # quantised widths of 24, 64, 152 and 392 are 12, 32, 76 and 196 inside: groups of 12 and 16 make 12, 32, 80 and 192
    assert (narrow.bottleneck_ratio, narrow.widths, narrow.group_width) == (0.5, (24, 64, 160, 384), (12, 16, 16, 16))


def test_a_skips_options_are_kept_with_regnet_parameters() -> None:
    found = assemble({**REGNETX, "skip": "scaled"}, None, {"alpha": 0.5})
    assert dict(found.skip_options) == {"alpha": 0.5, "beta": 1.0}


LISTED = "is a list; RegNet's parameters take one number"


@pytest.mark.parametrize(
    ("drawn", "stages", "message"),
    [
        ({**REGNETX}, 3, "stages: these RegNet parameters give 4, not 3"),
        ({**REGNETX, "group_width": (8, 8)}, None, f"group_width: [8, 8] {LISTED}"),
        ({**REGNETX, "bottleneck_ratio": (1, 1)}, None, f"bottleneck_ratio: [1, 1] {LISTED}"),
        ({"depth": 9}, 3, "depth 9 is not 6n+2 (basic blocks in 3 stages); nearest: 8 or 14"),
        ({"depth": 10, "stem": "imagenet"}, 3, "depth 10 is not 6n+2 (basic blocks in 3 stages); nearest: 8 or 14"),
        (
            {"depth": 11, "block": "inverted", "bottleneck_ratio": (1, 4, 4)},
            3,
            "depth: 11 does not come out: these stages have 10 weighted layers",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_gives_no_network_is_refused_in_these_words(
    drawn: dict[str, Any], stages: int | None, message: str
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        assemble(drawn, stages)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("drawn", "multiple"),
    [
        ({}, 1),
        ({"group_width": 8}, 8),
        ({"group_width": (8, 12)}, 24),
        ({"block": "bottleneck", "group_width": 4}, 16),
        ({"block": "bottleneck", "group_width": 4, "bottleneck_ratio": 0.5}, 8),
        ({"block": "transformer", "group_width": 12}, 12),
    ],
    ids=str,
)
def test_matched_widths_are_multiples_that_groups_divide(drawn: dict[str, Any], multiple: int) -> None:
    shape = (8, 8) if drawn.get("block") == "transformer" else (3, 32, 32)
    for target in (60_000, 90_000, 150_000):
        match = Match("params", target, 0.5)
        found = assemble({**drawn, "blocks_per_stage": 1, "width": match}, 2, None, shape)
        assert all(width % multiple == 0 for width in found.widths)
        assert cost(found, shape).params == pytest.approx(target, rel=0.5)


def test_matched_widths_meet_the_cost_on_the_spaces_data() -> None:
    for shape, classes in (((3, 32, 32), 10), ((1, 8, 8), 10), ((3, 32, 32), 1000)):
        for what, target in (("params", 300_000), ("macs", 5_000_000)):
            match = Match(what, target)
            found = assemble({"blocks_per_stage": 1, "width": match}, 3, None, shape, classes)
            assert getattr(cost(found, shape, classes), what) == pytest.approx(target, rel=0.02)
    scaled = assemble({"skip": "scaled", "blocks_per_stage": 2, "width": Match("params", 90_000)}, 3, {"alpha": 0.5})
    assert dict(scaled.skip_options)["alpha"] == 0.5
    assert scaled.depths == (2, 2, 2)
