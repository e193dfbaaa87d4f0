from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import architectures, counted, input_shape, saved_numbers, without_memory

from ressearch import Architecture, cost
from ressearch.cost import Budget, Cost, format_count, parse_count
from ressearch.errors import ArchitectureError

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())["networks"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_equal_the_published_figures(name: str) -> None:
    published = PUBLISHED[name]
    ours = cost(Architecture.preset(name), tuple(published["input"]))
    assert {key: getattr(ours, key) for key in published if key != "input"} == {
        key: value for key, value in published.items() if key != "input"
    }


@settings(max_examples=150, deadline=None)
@given(architecture=architectures(), side=st.integers(9, 24))
def test_cost_equals_counting_the_built_network(architecture: Architecture, side: int) -> None:
    shape = input_shape(architecture, side)
    try:
        ours = cost(architecture, shape, 10)
    except ArchitectureError:
        with pytest.raises((ArchitectureError, RuntimeError)):  # RuntimeError: the image is too small for a window
            counted(architecture, shape)
        return
    assert without_memory(ours) == counted(architecture, shape)


@settings(max_examples=40, deadline=None)
@given(architecture=architectures())
def test_training_memory_is_a_lower_bound(architecture: Architecture) -> None:
    try:
        saved = cost(architecture, input_shape(architecture)).saved
    except ArchitectureError:
        return
    assert 0 < saved <= saved_numbers(architecture, input_shape(architecture))


def test_training_memory_bound_is_near_for_a_published_network() -> None:
    network = Architecture.preset("resnet20-cifar")
    price = cost(network, (3, 32, 32))
    assert price.saved > 0.6 * saved_numbers(network, (3, 32, 32))
    assert price.training_memory(batch_size=0) == 4 * 3 * price.params
    assert price.training_memory(8) - price.training_memory(7) == 4 * price.saved


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"is not \(channels, height, width\).*works on images"):
        cost(Architecture(), (32, 32))
    with pytest.raises(ArchitectureError, match="group_width: 7 does not divide"):
        cost(Architecture(group_width=7))


def test_counts_are_read_and_written() -> None:
    assert [parse_count(text) for text in ("40M", "1.5k", "2e6", 7, "1_000")] == [40_000_000, 1500, 2_000_000, 7, 1000]
    assert [format_count(count) for count in (855770, 125747850, 999999, 42)] == ["856k", "126M", "1M", "42"]
    for bad in ("", "M", "-3", "nan", True, "4X"):
        with pytest.raises(ValueError, match="count"):
            parse_count(bad)


def test_budget_allows_up_to_its_bounds() -> None:
    budget = Budget(max_params=10)
    assert budget.allows(Cost(10, 99, 99))
    assert not budget.allows(Cost(11, 0, 0))
