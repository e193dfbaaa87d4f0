"""What the seeds could see, and what the next hour of training buys."""

from __future__ import annotations

import pytest
from made_tables import claimed, line, plain_and_residual, search

from ressearch.statistics.power import detectable


def test_the_detectable_difference_is_that_of_the_noncentral_t() -> None:
    """Two groups of 17, standardised 1: power 0.807 (Cohen 1988, table 2.4.1), so a little less is seen in 80 %."""
    assert detectable(1.0, 17, 32) == pytest.approx(0.9910, abs=1e-3)
    assert detectable(2.0, 17, 32) == pytest.approx(2 * detectable(1.0, 17, 32))
    assert detectable(1.0, 17, 32, power=0.9) > detectable(1.0, 17, 32)


def test_what_three_seeds_could_see() -> None:
    seen = claimed("power", *[line({8: 0.8 + 0.0005 * one}, spread=0.01, name=f"n{one}") for one in range(6)])[0]
    assert seen.sentence == (
        "With 3 seeds per network, whose accuracies differ by a standard deviation of 0.0100, a difference of 0.031 "
        "between two networks is found in 80 % of cases; smaller ones are mostly missed."
    )
    assert seen.subject == {"seeds": 3}
    assert seen.n == 18
    assert seen.estimate == pytest.approx(detectable(0.01, 3, 4))
    assert seen.more["standard_deviation"] == pytest.approx(0.01)
    assert seen.more["with_twice_the_seeds"] == pytest.approx(detectable(0.01, 6, 10))


def test_one_seed_sees_nothing_and_is_told_how_many_would() -> None:
    (only,) = claimed("power", line({8: 0.8, 14: 0.9}, seeds=1))
    assert only.sentence == (
        "With one seed per network no difference between two networks can be told from chance: train each on at least "
        "three seeds to see any."
    )
    assert (only.estimate, only.n, only.subject) == (None, 2, {"seeds": 1})


def test_seeds_that_do_not_differ_promise_nothing_unless_the_examples_bound_what_they_can_see() -> None:
    assert claimed("power", line({8: 0.8, 14: 0.9}, spread=0)) == []
    (seen,) = claimed("power", line({8: 0.8, 14: 0.9}, spread=0), examples=1000)
    assert seen.more["standard_deviation"] == pytest.approx(0.0005)


def test_where_accuracy_still_rises_more_depth_is_next() -> None:
    upcoming = claimed("power", *plain_and_residual())[1]
    assert upcoming.subject == {"choice": "depth"}
    assert upcoming.sentence == (
        "What next: more depth. Along at least one line accuracy still rises at the deepest network, so where depth "
        "stops helping lies beyond it."
    )


def test_where_nothing_is_left_to_tell_nothing_is_next() -> None:
    upcoming = claimed("power", line({8: 0.84, 14: 0.80, 20: 0.76}))[1]
    assert upcoming.subject == {"choice": "nothing"}
    assert upcoming.sentence == (
        "What next: nothing. Twice the seeds would be expected to improve the choice by less than 0.0005."
    )


def test_where_networks_differ_more_than_seeds_more_networks_are_next() -> None:
    upcoming = claimed("power", search(30))[1]
    assert upcoming.subject == {"choice": "networks"}
    gains = upcoming.more["gains"]
    assert gains["networks"] > gains["seeds"] >= 0
    assert upcoming.sentence == (
        f"What next: more networks. Twice as many would be expected to improve the best by {gains['networks']:.4f}, "
        f"twice as many seeds by {gains['seeds']:.4f}."
    )


def test_where_seeds_hide_which_network_is_best_more_seeds_are_next() -> None:
    parts = [line({8: 0.7 + 0.01 * one}, spread=0.04, name=f"n{one}").drop(columns="depth") for one in range(12)]
    upcoming = claimed("power", *parts)[1]
    assert upcoming.subject == {"choice": "seeds"}
    assert upcoming.sentence == (
        "What next: more seeds. Twice as many would be expected to improve the choice among these networks by "
        f"{upcoming.estimate:.4f}."
    )
