from __future__ import annotations

import math
from collections import Counter

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from ressearch import Architecture, SearchSpace, build, cost
from ressearch.errors import BudgetError, RessearchError, SpaceError
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.families import regnet
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS


def test_grid_order_is_the_files_last_key_fastest() -> None:
    space = SearchSpace({"skip": ["none", "identity"], "depth": [8, 20], "width": 8})
    assert space.size == 4
    assert [(one.skip, one.depth) for one in space.enumerate()] == [
        ("none", 8),
        ("none", 20),
        ("identity", 8),
        ("identity", 20),
    ]


def test_size_counts_per_stage_ranges_and_stages() -> None:
    space = SearchSpace({"stages": [2, 3], "depths": {"low": 1, "high": 4}, "width": {"low": 8, "high": 16, "step": 4}})
    assert space.size == (4**2 + 4**3) * 3
    assert len(list(space.enumerate())) == space.size


def test_lists_of_lists_are_choices_and_one_list_is_a_value() -> None:
    assert [one.depths for one in SearchSpace({"depths": [[1, 1], [2, 3]], "width": 4}).enumerate()] == [(1, 1), (2, 3)]
    assert [one.depths for one in SearchSpace({"depths": [1, 2, 1], "width": 4}).enumerate()] == [(1, 2, 1)]


def test_samples_follow_the_seed_and_cover_the_space() -> None:
    space = SearchSpace({"depth": [8, 14, 20], "se_ratio": {"low": 0.1, "high": 0.5}, "width": 4})
    assert math.isinf(space.size)
    assert space.sample(20, seed=1) == space.sample(20, seed=1) != space.sample(20, seed=2)
    assert set(Counter(one.depth for one in space.sample(60))) == {8, 14, 20}
    with pytest.raises(SpaceError, match="continuous"):
        next(space.enumerate())


def test_budget_keeps_dear_networks_out() -> None:
    space = SearchSpace({"depth": [8, 20, 56], "width": [8, 16]})
    small = space.filter(max_macs=20_000_000)
    kept = set(small.enumerate())
    assert kept == {one for one in space.enumerate() if cost(one).macs <= 20_000_000}
    assert 0 < len(kept) < 6
    assert set(small.sample(50)) <= kept
    with pytest.raises(BudgetError, match=r"nothing in the space fits .*macs <= 5.*the cheapest seen has macs"):
        space.filter(max_macs=5)


def test_optuna_draws_define_by_run() -> None:
    space = SearchSpace({"stages": [2, 3], "depths": {"low": 1, "high": 2}, "skip": ["none", "identity"], "width": 4})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(30):
        trial = study.ask()
        architecture = space.suggest(trial)
        assert {f"depths[{stage}]" for stage in range(len(architecture.depths))} <= set(trial.params)
        assert len([name for name in trial.params if name.startswith("depths")]) == len(architecture.depths)
        drawn.append(architecture)
    assert {len(one.depths) for one in drawn} == {2, 3}


@pytest.mark.parametrize(
    ("parameters", "key", "message"),
    [
        ({}, None, "empty"),
        ({"blok": "basic"}, "blok", "did you mean 'block'"),
        ({"block": "basc"}, "block", "did you mean 'basic'"),
        ({"skip": "identity", "depth": 57}, "depth", "57 is not 6n"),
        ({"depth": [20, 57]}, "depth", "57 is not 6n"),
        ({"width": {"low": 9, "high": 3}}, "width", "upside down"),
        ({"width": {"low": 9}}, "width", "no 'high'"),
        ({"width": {"low": 1, "high": 3, "stp": 1}}, "width", "did you mean 'step'"),
        ({"width": {"low": 1.5, "high": 3}}, "width", "not a whole number"),
        ({"width": 0}, "width", "0 is below 1"),
        ({"depth": []}, "depth", "empty"),
        ({"depth": 20, "depths": [1, 1]}, "depths", "say the same thing"),
        ({"block": {"low": 1, "high": 2}}, "block", "takes names"),
        ({"depth": 8, "group_width": 7}, "group_width", "does not divide"),
    ],
)
def test_bad_spaces_name_the_key(parameters: dict, key: str | None, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        SearchSpace(parameters)
    assert caught.value.key == key


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.sampled_from(["basic", "none", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["low", "high", "step", "x"]), inner),
    max_leaves=4,
)


@examples(150)
@given(st.dictionaries(st.sampled_from(["block", "depth", "depths", "width", "skip", "stages", "se_ratio"]), _values))
def test_any_space_is_usable_or_refused_in_one_line(parameters: dict) -> None:
    problem = ""
    try:
        assert len(SearchSpace(parameters, input_shape=(1, 8, 8)).sample(2)) == 2
    except RessearchError as error:
        problem = str(error)
    assert "\n" not in problem


def test_regnet_parameters_give_the_published_stages() -> None:
    found = regnet(24, 24.48, 2.54, 22, group_width=16)  # RegNetX-400MF, Radosavovic et al. 2020
    assert found == ((1, 2, 7, 12), (32, 64, 160, 384), (16, 16, 16, 16))
    space = SearchSpace(
        {"w0": 48, "wa": 27.89, "wm": 2.09, "depth": 16, "group_width": 8, "se_ratio": 0.25},
        input_shape=(3, 224, 224),
        num_classes=1000,
    )
    assert list(space.enumerate()) == [Architecture.preset("regnety-400mf-imagenet")]
    sampled = SearchSpace(
        {
            "w0": {"low": 8, "high": 32, "step": 8},
            "wa": 8,
            "wm": [2.0, 2.5],
            "depth": {"low": 4, "high": 12},
            "stages": 3,
        }
    )
    assert all(len(one.depths) == 3 and sum(one.depths) <= 12 for one in sampled.sample(10))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"w0": 20}, "w0: 20 is not a multiple of 8"),
        ({"wm": 1.0}, r"wm: 1.0 is not a number above 1"),
        ({"width": 8}, "w0 and width say the same thing"),
        ({"wm": None}, "wm"),
    ],
)
def test_bad_regnet_parameters_are_named(changes: dict, said: str) -> None:
    parameters = {"w0": 24, "wa": 24.48, "wm": 2.54, "depth": 22} | changes
    with pytest.raises(SpaceError, match=said):
        SearchSpace({key: value for key, value in parameters.items() if value is not None})


@pytest.mark.parametrize("matched", ["macs", "params", "activations"])
@pytest.mark.parametrize("block", ["basic", "bottleneck", "inverted", "convnext"])
def test_matched_widths_meet_the_target_at_every_depth(matched: str, block: str) -> None:
    target = getattr(cost(Architecture(block, (4, 4, 4), (40, 80, 160))), matched)
    space = SearchSpace(
        {
            "block": block,
            "skip": ["none", "identity"],
            "blocks_per_stage": [1, 2, 4, 8],
            "width": {"match": matched, "target": target},
        }
    )
    networks = list(space.enumerate())
    assert len(networks) == 8
    assert len({one.widths for one in networks}) >= 4
    for one in networks:
        assert abs(getattr(cost(one), matched) / target - 1) <= 0.02


def test_matched_widths_respect_groups_and_heads() -> None:
    grouped = SearchSpace({"block": "bottleneck", "group_width": 8, "width": {"match": "params", "target": "500k"}})
    assert all(width % 32 == 0 for width in next(grouped.enumerate()).widths)
    parameters = {"block": "transformer", "group_width": 4, "stages": 1, "width": {"match": "macs", "target": "958k"}}
    heads = SearchSpace(parameters, input_shape=(8, 8))
    assert all(width % 4 == 0 for width in next(heads.enumerate()).widths)


def test_a_width_that_cannot_be_matched_says_how_near_it_gets() -> None:
    width = {"match": "macs", "target": "100k"}
    with pytest.raises(SpaceError, match=r"no width meets macs 100k within 2.0% at depth 110; nearest: .*\(\+\d"):
        SearchSpace({"depth": [8, 110], "width": width})
    loose = SearchSpace({"depth": [8, 110], "width": {**width, "tolerance": 0.99}}, input_shape=(1, 8, 8))
    assert [one.depth for one in loose.enumerate()] == [8, 110]


@pytest.mark.parametrize(
    ("width", "said"),
    [
        ({"match": "mac", "target": 1}, "match: 'mac' is unknown; did you mean 'macs'"),
        ({"match": "macs"}, "target: missing"),
        ({"match": "macs", "target": "lots"}, "target: 'lots' is not a count"),
        ({"match": "macs", "target": 9, "tolerance": 3}, "tolerance: 3 is not a fraction"),
        ({"match": "macs", "taget": 9}, "'taget' is no part of a matched width; did you mean 'target'"),
    ],
)
def test_bad_matches_are_named(width: dict, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        SearchSpace({"depth": 8, "width": width})


def test_refusals_say_what_a_grid_leaves_out() -> None:
    space = SearchSpace({"skip": ["identity", "fixup"], "norm": ["batch", "none"], "depth": 8, "width": 8})
    assert [(one.skip, one.norm) for one in space.enumerate()] == [
        ("identity", "batch"),
        ("identity", "none"),
        ("fixup", "none"),
    ]
    ((reason, count),) = space.refusals().items()
    assert count == 1
    assert reason.startswith("norm: 'batch' is not compatible with skip 'fixup'")


def test_options_of_a_skip_are_part_of_the_space() -> None:
    space = SearchSpace(
        {
            "skip": ["none", {"stochastic_depth": {"survival": {"low": 0.5, "high": 0.9, "step": 0.2}}}, "dense"],
            "blocks_per_stage": 2,
            "width": 16,
        }
    )
    assert space.size == 1 + 3 + 1
    found = [dict(one.skip_options) for one in space.enumerate() if one.skip == "stochastic_depth"]
    assert [one["survival"] for one in found] == pytest.approx([0.5, 0.7, 0.9])
    grown = SearchSpace({"skip": [{"dense": {"growth_rate": [4, 8]}}], "blocks_per_stage": 2, "width": 12})
    assert [(one.stem_width, one.widths[0]) for one in grown.enumerate()] == [(12, 20), (12, 28)]
    with pytest.raises(SpaceError, match="'survivl' is no option of 'stochastic_depth'; did you mean 'survival'"):
        SearchSpace({"skip": [{"stochastic_depth": {"survivl": 0.5}}]})


@pytest.mark.parametrize("seed", range(3))
def test_samples_of_a_wide_space_are_networks_within_the_budget(seed: int) -> None:
    space = SearchSpace(
        {
            "block": [name for name, kind in BLOCKS.items() if kind.modality == "image"],
            "skip": sorted(SKIPS),
            "shortcut": sorted(SHORTCUTS),
            "norm": ["batch", "none"],
            "norm_order": ["post", "pre"],
            "se_ratio": [0.0, 0.25],
            "blocks_per_stage": {"low": 1, "high": 3},
            "width": {"low": 8, "high": 32, "step": 8},
        }
    ).filter(max_macs=30_000_000)
    for one in space.sample(40, seed):
        assert cost(one).macs <= 30_000_000
        build(one)
