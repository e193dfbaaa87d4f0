from __future__ import annotations

import math
from collections import Counter

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ressearch import SearchSpace, cost
from ressearch.errors import BudgetError, RessearchError, SpaceError


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
        ({"width": 0}, "width", "not a whole number"),
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


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["block", "depth", "depths", "width", "skip", "stages", "se_ratio"]), _values))
def test_any_space_is_usable_or_refused_in_one_line(parameters: dict) -> None:
    problem = ""
    try:
        assert len(SearchSpace(parameters, input_shape=(1, 8, 8)).sample(2)) == 2
    except RessearchError as error:
        problem = str(error)
    assert "\n" not in problem
