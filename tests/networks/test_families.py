"""Families of networks against the papers' tables, pycls' configurations and arithmetic done by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ressearch import Architecture
from ressearch.errors import ArchitectureError
from ressearch.networks.families import Match, RegNet, depths_for, match_width, regnet, width_multiple, widths_for

DEPTHS: list[tuple[int, str, int, dict[str, Any], int]] = [
    (20, "basic", 3, {}, 3),  # 6n+2
    (8, "basic", 3, {}, 1),
    (110, "basic", 3, {}, 18),
    (29, "bottleneck", 3, {}, 3),  # 9n+2
    (18, "basic", 4, {"stem": "imagenet"}, 2),
    (20, "basic", 4, {"stem": "deep"}, 2),  # three layers in the stem
    (19, "basic", 4, {"has_head": True}, 2),
    (100, "dense_bottleneck", 3, {"skip": "dense"}, 16),  # 6n+4: two transitions
    (40, "single", 3, {"skip": "dense"}, 12),  # 3n+4 (Huang et al. 2017, Table 2)
    (17, "convnext", 4, {}, 1),  # 12n+2+3
    (14, "inverted", 4, {}, 1),
    (10, "inverted", 4, {"bottleneck_ratio": 1.0}, 1),  # no expansion
    (18, "transformer", 4, {}, 1),
    (10, "basic", 4, {"skip": "one_that_a_plugin_brings"}, 1),
]


@pytest.mark.parametrize(("depth", "block", "stages", "fields", "blocks"), DEPTHS)
def test_depth_is_weighted_layers(depth: int, block: str, stages: int, fields: dict[str, Any], blocks: int) -> None:
    assert depths_for(depth, block, stages, **fields) == (blocks,) * stages


IMPOSSIBLE: list[tuple[int, str, int, dict[str, Any], str]] = [
    (57, "basic", 3, {}, "depth 57 is not 6n+2 (basic blocks in 3 stages); nearest: 56 or 62"),
    (9, "basic", 3, {}, "depth 9 is not 6n+2 (basic blocks in 3 stages); nearest: 8 or 14"),
    (2, "basic", 3, {}, "depth 2 is not 6n+2 (basic blocks in 3 stages); nearest: 8"),
    (7, "basic", 3, {}, "depth 7 is not 6n+2 (basic blocks in 3 stages); nearest: 8"),
    (1, "basic", 3, {}, "depth 1 is not 6n+2 (basic blocks in 3 stages); nearest: 8"),
    (41, "single", 3, {"skip": "dense"}, "depth 41 is not 3n+4 (single blocks in 3 stages, transitions between them); "
     "nearest: 40 or 43"),
    (6, "convnext", 1, {}, "depth 6 is not 3n+2 (convnext blocks in 1 stages); nearest: 5 or 8"),
    (10, "convnext", 2, {}, "depth 10 is not 6n+3 (convnext blocks in 2 stages, transitions between them); nearest: 9 "
     "or 15"),
    (23, "basic", 4, {"stem": "deep", "has_head": True}, "depth 23 is not 8n+5 (basic blocks in 4 stages); nearest: 21 "
     "or 29"),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "block", "stages", "fields", "said"), IMPOSSIBLE)
def test_a_depth_that_no_network_has_is_refused_with_its_neighbours(
    depth: int, block: str, stages: int, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArchitectureError) as refused:
        depths_for(depth, block, stages, **fields)
    assert str(refused.value) == said


def test_uniform_widths_double() -> None:
    assert widths_for(3, 4) == (3, 6, 12, 24)


# w0, wa, wm, blocks, group width; then blocks, widths and group widths of the stages, as in pycls' model zoo
PYCLS = [
    ((24, 36.44, 2.49, 13, 8), (1, 1, 4, 7), (24, 56, 152, 368), (8, 8, 8, 8)),
    ((24, 24.48, 2.54, 22, 16), (1, 2, 7, 12), (32, 64, 160, 384), (16, 16, 16, 16)),
    ((88, 26.31, 2.25, 25, 48), (2, 6, 15, 2), (96, 192, 432, 1008), (48, 48, 48, 48)),
    ((80, 49.56, 2.88, 23, 120), (2, 5, 15, 1), (80, 240, 720, 1920), (80, 120, 120, 120)),
    ((80, 42.63, 2.66, 21, 24), (2, 5, 13, 1), (72, 216, 576, 1512), (24, 24, 24, 24)),
    ((232, 115.89, 2.53, 20, 232), (2, 5, 12, 1), (232, 696, 1392, 3712), (232, 232, 232, 232)),
]


@pytest.mark.parametrize(("numbers", "depths", "widths", "groups"), PYCLS)
def test_regnets_are_those_of_pycls(numbers: Any, depths: Any, widths: Any, groups: Any) -> None:
    *parameters, group_width = numbers
    assert regnet(*parameters, group_width=group_width) == RegNet(depths, widths, groups)


# w0 8, wa 8, wm 2, four blocks want 8, 16, 24, 32 channels and get 8, 16, 32, 32
MULTIPLES = [
    (None, 1.0, (8, 16, 32), None),
    (6, 1.0, (6, 18, 30), (6, 6, 6)),
    (10, 1.0, (8, 20, 30), (8, 10, 10)),
    (5, 1.0, (10, 15, 30), (5, 5, 5)),
    (3, 2.0, (9, 15, 33), (3, 3, 3)),  # inner 16, 32, 64 to 18, 30, 66, multiples of 3 and 2
    (6, 0.5, (8, 12, 36), (4, 6, 6)),  # inner 4, 8, 16: groups 4, 6, 6 divide 4, 6, 18
    (6, 4.0, (9, 15, 33), (6, 6, 6)),  # inner 32, 64, 128 to 36, 60, 132, multiples of 6 and 4
    (6, 0.05, (20, 20, 20), (1, 1, 1)),  # an inner width of 1 at least
    (25, 4.0, (25, 25, 25), (25, 25, 25)),  # one multiple at least
]


@pytest.mark.parametrize(("group_width", "ratio", "widths", "groups"), MULTIPLES)
def test_widths_move_to_what_the_groups_divide(group_width: Any, ratio: float, widths: Any, groups: Any) -> None:
    stages = regnet(8, 8, 2, 4, group_width=group_width, bottleneck_ratio=ratio)
    assert stages == RegNet((1, 1, 2), widths, groups)


def test_a_regnet_without_slope_is_one_stage_with_an_inner_width_of_its_own() -> None:
    assert regnet(8, 0, 1.5, 3) == RegNet((3,), (8,), None)
    assert regnet(8, 0, 1.5, 1, group_width=3) == RegNet((1,), (9,), (3,))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((12, 1, 2, 4), "w0: 12 is not a multiple of 8"),
        ((0, 1, 2, 4), "w0: 0 is below 1"),
        ((8, -1, 2, 4), "wa: -1 is below 0"),
        ((8, float("inf"), 2, 4), "wa: inf is not a finite number"),
        ((8, 1, 1, 4), "wm: 1 is not a number above 1"),
        ((8, 1, 0.5, 4), "wm: 0.5 is below 1"),
        ((8, 1, 65, 4), "wm: 65 is above 64, the most there can be"),
        ((8, 1, 2, 0), "depth: 0 is below 1"),
        ((8, 1, 2, 10_001), "depth: 10001 is above 10000, the most there can be"),
        ((65544, 1, 2, 1), "w0: 65544 is above 65536, the most there can be"),
    ],
)
def test_a_regnet_without_a_meaning_is_refused_by_key(numbers: tuple, said: str) -> None:
    with pytest.raises(ArchitectureError) as refused:
        regnet(*numbers)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("group_width", "ratio", "block", "multiple"),
    [
        (None, None, "basic", 1),
        (16, None, "bottleneck", 64),  # a quarter of the width is grouped
        (16, 0.5, "bottleneck", 32),
        (6, 4.0, "dense_bottleneck", 3),
        (4, None, "basic", 4),
        ((4, 6), None, "basic", 12),
        ((4, 6), 0.5, "bottleneck", 24),
        ((4, 6), (0.5, 1.0), "bottleneck", 12),
        (6, (0.5, 1.0), "bottleneck", 6),
        (24, 4.0, "transformer", 24),  # channels per head
        (2, 4.0, "dense_bottleneck", 1),
        (4, 0.2, "bottleneck", 4),
        (4, 4 / 17, "bottleneck", 4),
        (4, 0.3, "bottleneck", 4),  # nothing up to 16 is a whole number of groups
        (3, 0.3, "bottleneck", 10),
    ],
)
def test_the_least_multiple_is_of_the_width_that_is_grouped(
    group_width: Any, ratio: Any, block: str, multiple: int
) -> None:
    assert width_multiple(group_width, ratio, block) == multiple


def test_deviation_is_relative_to_the_target() -> None:
    assert [Match("macs", 200).deviation(count) for count in (150, 200, 300)] == [-0.25, 0, 0.5]
    assert Match("macs", 200).tolerance == 0.02


def single(widths: tuple[int, ...]) -> Architecture:
    """One 3x3 convolution per stage and 1x1 projections, norms after each."""
    return Architecture("single", (1,) * len(widths), widths)


def single_params(widths: tuple[int, ...], classes: int = 10) -> int:
    """Its parameters, counted by hand."""
    first = widths[0]
    params = 27 * first + 2 * first + 9 * first * first + 2 * first + classes * (widths[-1] + 1)
    for before, width in itertools.pairwise(widths):
        params += 9 * before * width + before * width + 4 * width
    return params


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 20, 33, 64, 200, 16_384])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_network_that_has_the_cost_is_found(width: int, stages: int) -> None:
    widths = widths_for(width, stages)
    match = Match("params", single_params(widths), tolerance=0.0)
    assert match_width(single, stages, match, (3, 8, 8)).widths == widths


@pytest.mark.parametrize("target", [60, 130, 500, 1000, 3333, 10_000, 77_777])
@pytest.mark.parametrize("multiple", [1, 3, 8])
def test_the_nearest_width_is_found(target: int, multiple: int) -> None:
    every = [(abs(single_params((width,), 4) / target - 1), width) for width in range(multiple, 300, multiple)]
    found = match_width(single, 1, Match("params", target, tolerance=90.0), (3, 8, 8), 4, multiple)
    assert found.widths == (min(every)[1],)


def test_single_stages_move_where_doubled_widths_are_not_near_enough() -> None:
    target = single_params((5, 12))
    assert match_width(single, 2, Match("params", target, 0.001), (3, 8, 8)).widths == (5, 12)
    assert match_width(single, 2, Match("params", target, 0.1), (3, 8, 8)).widths == (5, 11)
    target = single_params((8, 24))  # by one multiple of 8
    assert match_width(single, 2, Match("params", target, 0.001), (3, 8, 8), multiple=8).widths == (8, 24)
    widths = (4, 9, 19, 41, 80)
    assert match_width(single, 5, Match("params", single_params(widths), 0.0), (3, 8, 8)).widths == widths


def test_the_smallest_networks_and_the_largest_are_found() -> None:
    for widths in ((1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 2, 4)):
        assert match_width(single, 3, Match("params", single_params(widths), 0.0), (3, 8, 8)).widths == widths
    for widths in ((65_536,), (65_535,)):
        assert match_width(single, 1, Match("params", single_params(widths), 0.0), (3, 8, 8)).widths == widths


def test_single_stages_stay_where_a_doubled_width_is_just_within_the_tolerance() -> None:
    target = single_params((5, 12))
    tolerance = 1 - single_params((5, 11)) / target
    assert match_width(single, 2, Match("params", target, tolerance), (3, 8, 8)).widths == (5, 11)


@pytest.mark.parametrize("figure", ["macs", "activations"])
def test_each_figure_can_be_met(figure: str) -> None:
    # 8x8 pixels: 3x3 from 3 channels, 3x3, linear; one number out for each pixel and channel
    target = {"macs": (27 * 6 + 9 * 36) * 64 + 70, "activations": 2 * 6 * 64 + 10}[figure]
    assert match_width(single, 1, Match(figure, target, 0.0), (3, 8, 8)).widths == (6,)


@pytest.mark.parametrize(
    ("stages", "match", "multiple", "said"),
    [
        (
            1,
            Match("params", 4600),
            8,
            "width: no width meets params 4.6k within 2.0% at depth 3; nearest: widths [24] with 6.18k (+34.3%); "
            "a larger 'tolerance' accepts it",
        ),
        (
            1,
            Match("params", 4400, 0.001),
            1,
            "width: no width meets params 4.4k within 0.1% at depth 3; nearest: widths [20] with 4.43k (+0.7%); "
            "a larger 'tolerance' accepts it",
        ),
        (
            2,
            Match("params", 3, 0.5),
            1,
            "width: no width meets params 3 within 50.0% at depth 4; nearest: widths [1, 1] with 74 (+2366.7%); "
            "a larger 'tolerance' accepts it",
        ),
    ],
)
def test_what_no_width_meets_is_refused_with_the_nearest(stages: int, match: Match, multiple: int, said: str) -> None:
    with pytest.raises(ArchitectureError) as refused:
        match_width(single, stages, match, (3, 8, 8), multiple=multiple)
    assert str(refused.value) == said


def test_a_refusal_counts_the_classes_that_were_asked_for() -> None:
    with pytest.raises(ArchitectureError, match=r"nearest: widths \[24\] with 12\.2k \(\+21\.8%\); a larger"):
        match_width(single, 1, Match("params", 10_000), (3, 8, 8), 250, multiple=8)


def test_a_network_that_cannot_be_made_says_why() -> None:
    def never(widths: tuple[int, ...]) -> Architecture:
        raise ArchitectureError("no such network")

    with pytest.raises(ArchitectureError, match=r"^no such network$"):
        match_width(never, 2, Match("params", 1000), (3, 8, 8))
    with pytest.raises(ArchitectureError, match=r"^input shape \(3, 8\) is not \(channels, height, width\), such as"):
        match_width(single, 2, Match("params", 1000), (3, 8))


def test_what_is_beyond_every_width_has_no_network() -> None:
    def wide(widths: tuple[int, ...]) -> Architecture:
        made.append(widths)
        return single((4, 4))

    made: list[tuple[int, ...]] = []
    with pytest.raises(ArchitectureError, match=r"^no width gives a network of params 1k$"):
        match_width(wide, 2, Match("params", 1000), (3, 8, 8), multiple=2**17)
    assert made == [(2**17, 2**18)]


def test_few_networks_are_tried() -> None:
    def counted(widths: tuple[int, ...]) -> Architecture:
        made.append(widths)
        return single(widths)

    made: list[tuple[int, ...]] = []
    with pytest.raises(ArchitectureError, match="no width meets"):
        match_width(counted, 6, Match("params", 1_234_567, 0.0), (3, 8, 8))
    assert len(made) < 2 * 3**4 + 40


def test_widths_that_are_refused_are_passed_over() -> None:
    def even(widths: tuple[int, ...]) -> Architecture:
        if widths[0] % 2:
            raise ArchitectureError("odd")
        return single(widths)

    match = Match("params", single_params((9, 18)), tolerance=1.0)
    assert match_width(even, 2, match, (3, 8, 8)).widths[0] % 2 == 0
