"""The points of a space: how many there are, which networks they are, what they cost and why some are none."""

from __future__ import annotations

import math
from typing import Any

import pytest

import ressearch.spaces.space
from ressearch import Architecture, SearchSpace, cost
from ressearch.errors import ArchitectureError, BudgetError, SpaceError
from ressearch.networks.cost import Budget
from ressearch.networks.families import Match

SMALLEST = 5214
"""Parameters of widths 4, 8, 16, a block each: stem 108 + 8, stages 304, 896 + 48, 3520 + 160, classifier 170."""


@pytest.mark.parametrize(
    ("parameters", "size", "ranges"),
    [
        ({"depth": 8}, 1, 0),
        ({"depth": [8, 14], "width": {"low": 4, "high": 8}}, 2 * 5, 1),
        ({"depths": {"low": 1, "high": 2}, "width": 4}, 2**3, 1),
        ({"depths": {"low": 1, "high": 2}, "widths": {"low": 4, "high": 6}}, 2**3 * 3**3, 2),
        ({"depths": {"low": 1, "high": 2}, "widths": [4, 8]}, 2**2, 1),
        ({"depths": {"low": 1, "high": 2}, "widths": [[4, 8, 8, 8], [8, 8, 8, 8]]}, 2 * 2**4, 1),
        ({"depths": {"low": 1, "high": 2}, "kernel_size": [3, [3, 5]], "width": 4}, 2 * 2**2, 1),
        (
            {"depths": {"low": 1, "high": 2}, "widths": [[4, 8], [4, 8, 8]]},
            2 * 2**3,
            1,
        ),
        ({"depths": {"low": 1, "high": 2}, "stages": {"low": 1, "high": 3}, "width": 4}, 2 + 4 + 8, 2),
        ({"stages": [2, 3], "blocks_per_stage": [1, 2], "width": 4}, 2 * 2, 0),
        ({"depth": 8, "se_ratio": {"low": 0.0, "high": 1.0}}, math.inf, 1),
        ({"depth": 8, "se_ratio": {"low": 0.0, "high": 1.0, "step": 0.25}}, 5, 1),
        ({"depth": 8, "width": {"match": "params", "target": 5000, "tolerance": 0.5}, "norm": ["batch", "none"]}, 2, 0),
    ],
    ids=str,
)
def test_a_space_counts_its_points_and_ranges(parameters: dict[str, Any], size: float, ranges: int) -> None:
    space = SearchSpace(parameters)
    assert (space.size, space.ranges) == (size, ranges)


def test_a_list_that_was_drawn_says_how_many_stages_there_are() -> None:
    space = SearchSpace({"depths": {"low": 1, "high": 2}, "widths": [[4, 8], [4, 8, 8]]})
    assert {len(one.depths) for one in space.sample(40)} == {2, 3}
    assert {one.widths for one in space.enumerate()} == {(4, 8), (4, 8, 8)}
    space = SearchSpace({"blocks_per_stage": 1, "width": 4, "strides": [1, 2]})
    assert [one.widths for one in space.enumerate()] == [(4, 8)]
    space = SearchSpace({"depth": 6, "width": 4, "kernel_size": [[3, 5], [5, 3]]})
    assert [one.kernel_size for one in space.enumerate()] == [(3, 5), (5, 3)]


def test_only_a_matched_width_has_a_match() -> None:
    width = {"match": "params", "target": 5000, "tolerance": 0.5}
    assert SearchSpace({"depth": 8, "width": width}).match == Match("params", 5000, 0.5)
    assert SearchSpace({"depth": 8, "width": 4}).match is None
    assert SearchSpace({"depth": 8}).match is None


@pytest.mark.parametrize("listed", [1, 4, 20_000])
def test_each_network_of_a_grid_comes_once_however_it_is_described(listed: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(ressearch.spaces.space, "LISTED_POINTS", listed)
    space = SearchSpace({"depth": [8, 14], "width": 4, "bottleneck_ratio": [1, [1, 1, 1]]})
    found = list(space.enumerate())
    assert [one.depths for one in found] == [(1, 1, 1), (2, 2, 2)]
    assert list(space.enumerate()) == found
    assert (next(space.enumerate()) is found[0]) == (listed >= space.size)  # a small space is walked once


def test_a_continuous_space_is_not_walked() -> None:
    space = SearchSpace({"depth": 8, "width": 4, "se_ratio": {"low": 0.0, "high": 1.0}})
    for walk in (lambda: next(space.enumerate()), space.refusals):
        with pytest.raises(SpaceError) as caught:
            walk()
        assert str(caught.value) == "a continuous range has no end of networks: give it a step, or sample"


def test_refusals_are_counted_by_reason_and_are_not_those_of_the_budget() -> None:
    space = SearchSpace({"depth": [8, 14], "width": [4, 8], "skip": ["identity", "fixup"], "norm": ["batch", "none"]})
    ((reason, count),) = space.refusals().items()
    assert reason.startswith("norm: 'batch' is not compatible with skip 'fixup': ")
    assert count == 4
    assert sum(space.filter(max_params=SMALLEST).refusals().values()) == 4
    assert len(list(space.filter(max_params=SMALLEST).enumerate())) == 3


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_params": 9}, "(params <= 9); the cheapest seen has params 5214"),
        ({"max_params": "2k"}, "(params <= 2k); the cheapest seen has params 5214"),
        (
            {"max_params": 9, "max_activations": 3},
            "(params <= 9, activations <= 3); the cheapest seen has params 5214",
        ),
        ({"max_macs": 9}, "(macs <= 9); the cheapest seen has macs 8"),
        ({"max_activations": 9}, "(activations <= 9); the cheapest seen has activations "),
    ],
    ids=str,
)
def test_a_budget_that_nothing_fits_is_refused_with_the_cheapest(bounds: dict[str, Any], message: str) -> None:
    space = SearchSpace({"depth": [8, 20], "width": [4, 8]})
    with pytest.raises(BudgetError) as caught:
        space.filter(**bounds)
    said = f"nothing in the space fits the budget {message}"
    assert str(caught.value)[: len(said)] == said
    rest = str(caught.value)[len(said) :]
    assert rest == "" or rest.removeprefix(", activations ").isdigit()


def test_bounds_add_up_and_are_met_exactly() -> None:
    space = SearchSpace({"depth": [8, 20], "width": [4, 8]})
    bounded = space.filter(max_params="30k").filter(max_macs=10**9).filter(max_activations=10**6)
    assert bounded.budget == Budget(max_params=30_000, max_macs=10**9, max_activations=10**6)
    assert bounded.parameters == space.parameters
    assert space.budget == Budget()
    assert [one.widths[0] for one in space.filter(max_params=SMALLEST).enumerate()] == [4]
    with pytest.raises(BudgetError, match="nothing in the space fits"):
        space.filter(max_params=SMALLEST - 1)
    with pytest.raises(BudgetError) as caught:
        space.filter(max_macs="lots")
    assert str(caught.value) == "max_macs: 'lots' is not a count such as 400000 or 40M"


@pytest.mark.parametrize(
    ("input_shape", "num_classes", "params"),
    [
        ((3, 32, 32), None, SMALLEST),
        ((3, 32, 32), 10, SMALLEST),
        ((1, 8, 8), 10, SMALLEST - 2 * 4 * 9),  # two channels fewer into the stem
        ((3, 32, 32), 100, SMALLEST + 90 * 17),  # 16 weights and a bias for each class
    ],
)
def test_costs_are_those_of_the_spaces_data(input_shape: Any, num_classes: int | None, params: int) -> None:
    parameters = {"depth": 8, "width": [4, 8]}
    exact = SearchSpace(parameters, Budget(max_params=params), input_shape, num_classes)
    assert [one.widths[0] for one in exact.enumerate()] == [4]
    with pytest.raises(BudgetError, match=rf"\(params <= [\d.]+k\); the cheapest seen has params {params}$"):
        SearchSpace(parameters, Budget(max_params=params - 1), input_shape, num_classes)


def test_matched_widths_meet_the_cost_on_the_spaces_data() -> None:
    width = {"match": "params", "target": 60_000}
    for shape, classes in (((3, 32, 32), 1000), ((1, 8, 8), None), ((1, 8, 8), 100)):
        space = SearchSpace({"blocks_per_stage": 1, "width": width}, input_shape=shape, num_classes=classes)
        (network,) = space.enumerate()
        assert cost(network, shape, classes).params == pytest.approx(60_000, rel=0.02)


class Stubborn:
    """A trial that always chooses the last choice, and counts the questions."""

    questions = 0

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.questions += 1
        return choices[-1]


def test_a_point_that_is_too_dear_says_what_it_costs() -> None:
    space = SearchSpace({"depth": 8, "width": [4, 8]}).filter(max_params="6k")
    with pytest.raises(BudgetError) as caught:
        space.suggest(Stubborn())
    assert str(caught.value).startswith("basic-d1.1.1-w8.16.32 costs Cost(params=19954, macs=")
    assert str(caught.value).endswith(", more than params <= 6k")


def test_a_trial_that_finds_no_network_is_given_up() -> None:
    space = SearchSpace({"depth": 8, "width": 4, "skip": ["identity", "fixup"], "norm": ["none", "batch"]})
    trial = Stubborn()
    with pytest.raises(
        SpaceError, match=r"^nothing in the space is a network: norm: 'batch' is not compatible with sk"
    ):
        space.sample_one(trial)
    assert trial.questions == 2 * 2000
    width = {"match": "params", "target": 5000, "tolerance": 0.5}
    space = SearchSpace(
        {"blocks_per_stage": 1, "width": width, "norm": ["none", "batch"], "skip": ["identity", "fixup"]}
    )
    trial = Stubborn()
    with pytest.raises(ArchitectureError, match=r"^norm: 'batch' is not compatible with skip 'fixup'"):
        space.suggest(trial)
    trial = Stubborn()
    with pytest.raises(
        SpaceError, match=r"^nothing in the space is a network: norm: 'batch' is not compatible with sk"
    ):
        space.sample_one(trial)
    assert trial.questions == 2 * 200


def test_samples_are_as_many_as_asked_for_and_the_seeds() -> None:
    space = SearchSpace({"depth": [8, 14, 20], "width": {"low": 4, "high": 64}})
    assert [len(space.sample(count)) for count in (0, 1, 5)] == [0, 1, 5]
    assert space.sample(5) == space.sample(5, seed=0) == space.sample(9)[:5]
    assert space.sample(5) != space.sample(5, 1)


@pytest.mark.parametrize(
    ("parameters", "key", "message"),
    [
        ({"skip": "none", "depth": 57}, "depth", "depth 57 is not 6n+2 (basic blocks in 3 stages); nearest: 56 or 62"),
        ({"depth": [8, 21]}, "depth", "depth 21 is not 6n+2 (basic blocks in 3 stages); nearest: 20 or 26"),
        (
            {"norm": ["batch"], "depths": [1, 1, 1], "widths": [8, 16]},
            "widths",
            "widths: [8, 16] has 2 stages, depths [1, 1, 1] has 3",
        ),
        (
            {"norm": ["batch", "none"], "widths": [[8, 7]], "group_width": 2},
            "group_width",
            "group_width: 2 does not divide a spatial convolution of 7 to 7 channels",
        ),
        (
            {"norm": "batch", "width": 65536},
            "width",
            "widths: 131072 is above 65536, the most there can be",
        ),
        (
            {"norm": "batch", "blocks_per_stage": 10000},
            "blocks_per_stage",
            "depths: 30000 blocks are above 10000, the most there can be",
        ),
        ({"norm": "batch", "depth": 39998}, "depth", "depths: 19998 blocks are above 10000, the most there can be"),
        (
            {"norm": "batch", "w0": 65536, "wa": 65536, "wm": 2.0, "depth": 4},
            "w0",
            "widths: 131072 is above 65536, the most there can be",
        ),
        (
            {"w0": 8, "wa": 1, "wm": 2.0, "depth": 4, "stages": 4},
            "stages",
            "stages: these RegNet parameters give 1, not 4",
        ),
        (
            {"w0": 8, "wa": 1, "wm": 2.0, "depth": 4, "group_width": [[4, 4]]},
            "group_width",
            "group_width: [4, 4] is a list; RegNet's parameters take one number",
        ),
        (
            {"w0": 8, "wa": 1, "wm": 2.0, "depth": 4, "bottleneck_ratio": [[4, 4]]},
            "bottleneck_ratio",
            "bottleneck_ratio: [4, 4] is a list; RegNet's parameters take one number",
        ),
        (
            {"block": "inverted", "depth": 11, "bottleneck_ratio": [[1, 6, 6]]},
            "depth",
            "depth: 11 does not come out: these stages have 10 weighted layers",
        ),
        ({"dropout": 1, "depth": 8}, "dropout", "dropout: 1 is not a fraction below 1"),
        ({"kernel_size": [3, 4], "depth": 8}, "kernel_size", "kernel_size: 4 is even; expected an odd side"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_choice_that_no_network_can_have_is_refused_at_its_key(
    parameters: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(parameters)
    assert (str(caught.value), caught.value.key) == (message, key)


def test_a_choice_that_some_network_can_have_stays() -> None:
    parameters = {"skip": ["identity", "fixup"], "norm": ["batch", "none"], "depth": 8, "width": {"low": 4, "high": 9}}
    assert {(one.skip, one.norm) for one in SearchSpace(parameters).sample(60)} == {
        ("identity", "batch"),
        ("identity", "none"),
        ("fixup", "none"),
    }


def test_a_preset_is_in_its_own_space() -> None:
    preset = Architecture.preset("resnet20-cifar")
    found = SearchSpace({"depth": [20, 56], "width": 16, "shortcut": preset.shortcut}).enumerate()
    assert next(found) == preset
