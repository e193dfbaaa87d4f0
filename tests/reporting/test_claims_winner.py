"""What the report says of the best network."""

from __future__ import annotations

import pytest
from made_tables import claimed, line


def test_a_network_far_above_the_others_is_the_best_for_certain() -> None:
    best, tied = claimed(
        "winner", *[line({8: mean}, name=name) for name, mean in zip("abc", (0.7, 0.8, 0.9), strict=True)]
    )
    assert best.kind == "shrunk_winner"
    assert best.subject == {"name": "c", "network": 2, "among": 3}
    assert best.sentence == (
        "The best network of 3 is most likely c, with an accuracy of 0.900 (95 % interval 0.896 to 0.904) once the "
        "optimism "
        "of having been chosen, 0.000, is taken out of its mean of 0.900. The probability that it is the best is 100%."
    )
    assert best.estimate == pytest.approx(0.9, abs=1e-3)
    assert best.more["mean"] == pytest.approx(0.9)
    assert best.more["seed_sd"] == pytest.approx(0.002)
    assert tied.sentence == "c (0.900) was shown to be better than each of the other 2 networks."
    assert (tied.estimate, tied.more["members"], tied.more["networks"], tied.n) == (1, ["c"], [2], 9)


def test_networks_that_seeds_cannot_tell_apart_are_tied_and_the_cheapest_is_named() -> None:
    parts = [line({8: 0.8 + 0.0001 * one}, name=f"n{one}", macs=1000 * (one + 1)) for one in range(6)]
    best, tied = claimed("winner", *parts)
    assert best.more["probability_of_best"] < 0.5
    assert tied.sentence == (
        "6 of 6 networks cannot be told from the best by these seeds. The cheapest of them is n0 (0.800), with 17% "
        "of the "
        "MACs of n5 (0.800)."
    )
    assert tied.more["cheapest"] == "n0"
    assert tied.more["highest_mean"] == "n5"
    assert tied.more["members"] == ["n5", "n4", "n3", "n2", "n1", "n0"]


@pytest.mark.parametrize("spread", [0.0, 0.002])
def test_each_of_three_equal_networks_is_the_best_with_a_third(spread: float) -> None:
    best, tied = claimed("winner", *[line({8: 0.8}, name=name, spread=spread) for name in "abc"])
    assert best.more["probability_of_best"] == pytest.approx(1 / 3, abs=0.02)
    assert best.sentence.endswith("The probability that it is the best is 33%.")
    assert tied.sentence == "3 of 3 networks cannot be told from the best by these seeds: a, b, c."


def test_two_networks_have_a_tied_set_and_no_distribution() -> None:
    (better,) = claimed("winner", line({8: 0.8}, name="a"), line({8: 0.9}, name="b"))
    assert better.sentence == "b (0.900) was shown to be better than the other network."
    (tied,) = claimed("winner", line({8: 0.8}, name="a"), line({8: 0.8005}, name="b"))
    assert tied.sentence == "2 of 2 networks cannot be told from the best by these seeds: b, a."
    assert (tied.kind, tied.estimate, tied.more["cheapest"]) == ("tied_with_best", 2, "b")


def test_one_seed_each_names_the_highest_and_says_that_it_may_be_chance() -> None:
    (only,) = claimed("winner", *[line({8: mean}, seeds=1, spread=0, name=f"n{mean}") for mean in (0.7, 0.9, 0.8)])
    assert only.sentence == (
        "n0.9 has the highest accuracy of 3 networks, 0.900. With one seed per network nothing says how much of that "
        "is chance: it is flattered by the choice, by an unknown amount, and which networks are as good cannot be said."
    )
    assert (only.estimate, only.low, only.high, only.n, only.subject["network"]) == (None, None, None, 1, 1)


def test_one_network_wins_nothing() -> None:
    assert claimed("winner", line({8: 0.8})) == []
