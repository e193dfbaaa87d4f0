"""Upper bounds on cost, against counts made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch.errors import BudgetError
from ressearch.networks.cost import Budget, Cost


def test_bounds_are_read_as_people_write_them() -> None:
    budget = Budget(max_params="20k", max_macs="40M", max_activations=7, max_training_memory="1MiB")
    assert (budget.max_params, budget.max_macs, budget.max_activations) == (20_000, 40_000_000, 7)
    assert budget.max_training_memory == 1_048_576
    assert budget.bounds == {
        "params": 20_000,
        "macs": 40_000_000,
        "activations": 7,
        "training_memory": 1_048_576,
    }
    assert str(budget) == "params <= 20k, macs <= 40M, activations <= 7, training_memory <= 1.05MB"


def test_no_bound_allows_everything_and_says_so() -> None:
    budget = Budget()
    assert budget.bounds == {}
    assert str(budget) == "no bound"
    assert budget.allows(Cost(10**30, 10**30, 10**30, 10**30))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_params": "many"}, "max_params: 'many' is not a count such as 400000 or 40M"),
    ({"max_params": "2MiB"}, "max_params: '2MiB' is not a count such as 400000 or 40M"),
    ({"max_macs": 0}, "max_macs: 0 is not a positive count"),
    ({"max_activations": -1}, "max_activations: -1 is not a positive count"),
    ({"max_training_memory": "x"}, "max_training_memory: 'x' is not a size such as 2G or 512MiB"),
    ({"max_params": 5, "max_training_memory": -2}, "max_training_memory: -2 is not a positive size"),
]


@pytest.mark.parametrize(("bounds", "said"), REFUSED)
def test_what_is_no_count_is_refused_with_its_key(bounds: dict[str, Any], said: str) -> None:
    with pytest.raises(BudgetError) as refused:
        Budget(**bounds)
    assert str(refused.value) == said


@pytest.mark.parametrize("field", ["params", "macs", "activations"])
def test_each_bound_holds_its_own_figure_up_to_the_bound(field: str) -> None:
    budget = Budget(**{f"max_{field}": 10})  # type: ignore[arg-type]
    others = Cost(99, 99, 99, 99)
    assert budget.allows(others._replace(**{field: 10}))
    assert not budget.allows(others._replace(**{field: 11}))
    assert budget.value(Cost(1, 2, 3, 4), field) == {"params": 1, "macs": 2, "activations": 3}[field]


def test_one_bound_exceeded_is_enough() -> None:
    budget = Budget(max_params=10, max_macs=10)
    assert [budget.allows(Cost(*figures)) for figures in ((10, 10), (11, 10), (10, 11))] == [True, False, False]


def test_training_memory_is_of_weights_gradients_states_and_a_batch_of_activations() -> None:
    price = Cost(params=10, macs=999, activations=999, saved=7)
    # 4 bytes x 10 numbers x (weight, gradient, momentum) + 4 bytes x 64 inputs x 7 numbers
    assert Budget().value(price, "training_memory") == 120 + 1792
    two = Budget(batch_size=2, optimizer_states=2, bytes_per_number=2)
    assert two.value(price, "training_memory") == 160 + 28
    assert Budget(max_training_memory=1912).allows(price)
    assert not Budget(max_training_memory=1911).allows(price)
    assert price.training_memory(5) == 120 + 4 * 5 * 7
    assert price.training_memory(5, optimizer_states=0, bytes_per_number=2) == 80 + 70
    assert price.training_memory(5, 2, 8) == 160 + 280


def test_costs_add_and_multiply_field_by_field() -> None:
    assert Cost(1, 2, 3, 4) + Cost(10, 20, 30, 40) == Cost(11, 22, 33, 44)
    assert Cost(1, 2, 3, 4).times(5) == Cost(5, 10, 15, 20)
    assert Cost() == (0, 0, 0, 0)
    with pytest.raises(TypeError):
        Cost(1) + 1  # type: ignore[operator]
