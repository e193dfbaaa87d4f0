"""Networks near a proposal: which answers change, and how far."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from ressearch.search.neighbours import Noted, neighbour
from ressearch.spaces.trials import FixedTrial

DISTRIBUTIONS: dict[str, Any] = {
    "kind": CategoricalDistribution(("a", "b", "c")),
    "count": IntDistribution(2, 20, step=3),
    "wide": IntDistribution(4, 64, log=True),
    "share": FloatDistribution(0.5, 1.5, step=0.25),
    "free": FloatDistribution(0.0, 10.0),
    "rate": FloatDistribution(0.01, 1.0, log=True),
    "only": CategoricalDistribution(("x",)),
}
PARAMS = {"kind": "b", "count": 11, "wide": 16, "share": 1.0, "free": 5.0, "rate": 0.1, "only": "x"}


def ask(trial: Any) -> dict[str, Any]:
    """Ask all questions."""
    return {
        "kind": trial.suggest_categorical("kind", ("a", "b", "c")),
        "count": trial.suggest_int("count", 2, 20, step=3),
        "wide": trial.suggest_int("wide", 4, 64, log=True),
        "share": trial.suggest_float("share", 0.5, 1.5, step=0.25),
        "free": trial.suggest_float("free", 0.0, 10.0),
        "rate": trial.suggest_float("rate", 0.01, 1.0, log=True),
        "only": trial.suggest_categorical("only", ("x",)),
    }


def drawn(changes: int, count: int = 400, params: dict[str, Any] = PARAMS) -> list[dict[str, Any]]:
    chance = random.Random(7)
    return [ask(neighbour(params, DISTRIBUTIONS, changes, chance)) for _ in range(count)]


@pytest.mark.parametrize("changes", [1, 2, 3, 6, 99])
def test_so_many_answers_differ_and_one_without_a_choice_never(changes: int) -> None:
    for answers in drawn(changes, 60):
        differing = {name for name, answer in answers.items() if answer != PARAMS[name]}
        assert len(differing) == min(changes, 6)
        assert "only" not in differing


def test_each_answer_that_can_change_is_as_likely_to() -> None:
    changed = Counter(name for answers in drawn(1, 1200) for name in answers if answers[name] != PARAMS[name])
    assert set(changed) == set(PARAMS) - {"only"}
    assert all(140 < count < 260 for count in changed.values())


def test_a_choice_becomes_another_and_numbers_move_by_some_steps_within_their_range() -> None:
    found = drawn(6)
    assert set(Counter(one["kind"] for one in found)) == {"a", "c"}
    # One step as often as all others together, two as often as all that are farther; what is too far ends at an end.
    counts = Counter(one["count"] for one in found)
    expected = {2: 1 / 8, 5: 1 / 8, 8: 1 / 4, 14: 1 / 4, 17: 1 / 8, 20: 1 / 8}
    assert set(counts) == set(expected)
    assert stats.chisquare([counts[n] for n in expected], [400 * p for p in expected.values()]).pvalue > 1e-3
    shares = Counter(round(one["share"], 9) for one in found)
    assert set(shares) == {0.5, 0.75, 1.25, 1.5}
    assert stats.chisquare(list(shares.values())).pvalue > 1e-3
    assert all(4 <= one["wide"] <= 64 and one["wide"] != 16 for one in found)
    assert {type(one["wide"]) for one in found} == {int}


def test_continuous_answers_move_by_a_tenth_of_their_range_or_of_its_logarithm() -> None:
    found = drawn(6, 1500)
    free = [one["free"] - 5 for one in found]
    assert math.sqrt(sum(x * x for x in free) / len(free)) == pytest.approx(1.0, rel=0.1)
    rates = [math.log(one["rate"] / 0.1) for one in found]
    assert math.sqrt(sum(x * x for x in rates) / len(rates)) == pytest.approx(0.1 * math.log(100), rel=0.1)
    assert abs(sum(free) / len(free)) < 0.1
    wides = [math.log(one["wide"] / 16) for one in found]
    assert math.sqrt(sum(x * x for x in wides) / len(wides)) == pytest.approx(0.1 * math.log(16), rel=0.15)


@pytest.mark.parametrize(("count", "share", "free", "rate", "wide"), [(2, 0.5, 0.0, 0.01, 4), (20, 1.5, 10.0, 1.0, 64)])
def test_at_the_end_of_a_range_answers_move_inwards(
    count: int, share: float, free: float, rate: float, wide: int
) -> None:
    edge = {**PARAMS, "count": count, "share": share, "free": free, "rate": rate, "wide": wide}
    for one in drawn(6, 200, edge):
        assert one["count"] in range(2, 21, 3)
        assert one["count"] != count
        assert 0.5 <= one["share"] <= 1.5
        assert one["share"] != share
        assert 0 <= one["free"] <= 10
        assert 0.01 <= one["rate"] <= 1
        assert 4 <= one["wide"] <= 64


def test_of_two_numbers_the_other_is_taken() -> None:
    two = {"n": IntDistribution(3, 4), "m": IntDistribution(8, 16, step=8)}
    near = neighbour({"n": 3, "m": 16}, two, 2, random.Random(0))
    assert (near.suggest_int("n", 3, 4), near.suggest_int("m", 8, 16, step=8)) == (4, 8)


def test_what_was_asked_is_noted_as_optuna_stores_it() -> None:
    noted = Noted(FixedTrial(PARAMS))
    assert ask(noted) == PARAMS
    assert noted.params == PARAMS
    assert noted.distributions == DISTRIBUTIONS


def test_a_question_that_a_change_brings_is_drawn() -> None:
    chance = random.Random(1)
    answers = {neighbour({"a": 1}, {"a": IntDistribution(1, 9)}, 1, chance).suggest_int("new", 0, 9) for _ in range(60)}
    assert len(answers) > 5
