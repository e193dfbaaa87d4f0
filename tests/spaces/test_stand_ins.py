"""The stand-ins for Optuna's trial: what they draw, walk, repeat and refuse."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest
from scipy import stats

from ressearch.errors import SpaceError
from ressearch.spaces.trials import FixedTrial, GridTrial, Pinned, RandomTrial, Trial


def evenly(drawn: list[Any], expected: list[Any]) -> bool:
    """Whether each value came about as often as the others (chi-squared), and no other came."""
    counts = Counter(drawn)
    return set(counts) == set(expected) and stats.chisquare([counts[one] for one in expected]).pvalue > 1e-3


def test_a_random_trial_draws_every_value_as_often() -> None:
    trial = RandomTrial(3)
    assert evenly([trial.suggest_categorical("c", ("x", "y", "z")) for _ in range(900)], ["x", "y", "z"])
    assert evenly([trial.suggest_int("i", 4, 13, step=3) for _ in range(900)], [4, 7, 10, 13])
    assert evenly([trial.suggest_int("i", 4, 12, step=3) for _ in range(900)], [4, 7, 10])
    steps = [trial.suggest_float("f", 0.5, 1.3, step=0.4) for _ in range(900)]
    assert evenly([round(one, 9) for one in steps], [0.5, 0.9, 1.3])
    floats = [trial.suggest_float("f", 2.0, 5.0) for _ in range(2000)]
    assert stats.kstest(floats, stats.uniform(2, 3).cdf).pvalue > 1e-3
    logs = [trial.suggest_float("f", 0.01, 10.0, log=True) for _ in range(2000)]
    assert stats.kstest(logs, stats.loguniform(0.01, 10).cdf).pvalue > 1e-3


def test_whole_numbers_of_a_log_range_are_as_likely_as_their_share_of_the_logarithm() -> None:
    trial = RandomTrial(5)
    drawn = Counter(trial.suggest_int("i", 1, 4, log=True) for _ in range(4000))
    width = math.log(4.5) - math.log(0.5)
    expected = [4000 * (math.log(n + 0.5) - math.log(n - 0.5)) / width for n in (1, 2, 3, 4)]
    assert stats.chisquare([drawn[n] for n in (1, 2, 3, 4)], expected).pvalue > 1e-3
    assert set(drawn) == {1, 2, 3, 4}


def test_a_random_trial_follows_its_seed() -> None:
    def drawn(seed: int) -> list[Any]:
        trial = RandomTrial(seed)
        return [
            trial.suggest_int("i", 0, 10**6),
            trial.suggest_float("f", 0, 1),
            trial.suggest_categorical("c", range(99)),
        ]

    assert drawn(1) == drawn(1) != drawn(2)


class Asked:
    """Notes what it is asked, and answers with what it was asked for."""

    def __init__(self) -> None:
        self.questions: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.questions.append(("categorical", name, choices))
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.questions.append(("int", name, low, high, step, log))
        return high

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.questions.append(("float", name, low, high, step, log))
        return high


QUESTIONS = [
    ("categorical", "c", ("x", "y")),
    ("int", "i", 2, 8, 2, False),
    ("int", "j", 2, 8, 1, True),
    ("float", "f", 0.5, 1.5, 0.25, False),
    ("float", "g", 0.5, 1.5, None, True),
]


def ask(trial: Trial) -> list[Any]:
    """Ask all of QUESTIONS."""
    return [
        trial.suggest_categorical("c", ("x", "y")),
        trial.suggest_int("i", 2, 8, step=2),
        trial.suggest_int("j", 2, 8, log=True),
        trial.suggest_float("f", 0.5, 1.5, step=0.25),
        trial.suggest_float("g", 0.5, 1.5, log=True),
    ]


def test_what_is_not_pinned_or_known_is_passed_on_as_it_was_asked() -> None:
    other = Asked()
    assert ask(Pinned(other, "c", "x")) == ["x", 8, 8, 1.5, 1.5]
    assert other.questions == QUESTIONS[1:]
    other = Asked()
    assert ask(Pinned(other, "nobody", "x")) == ["y", 8, 8, 1.5, 1.5]
    assert other.questions == QUESTIONS
    other = Asked()
    known = FixedTrial({"c": "x", "j": 3, "g": 1, "never": 0}, other)
    assert ask(known) == ["x", 8, 3, 1.5, 1]
    assert other.questions == [QUESTIONS[1], QUESTIONS[3]]
    assert known.given == {"c": "x", "i": 8, "j": 3, "f": 1.5, "g": 1}
    assert known.unused == {"never"}


@pytest.mark.parametrize(
    ("answers", "said", "name"),
    [
        ({"c": "z"}, "c: 'z' is not in the space; known: x, y", "c"),
        ({"c": "x", "i": 3}, "i: 3 is not in the space; expected 2 to 8 by 2", "i"),
        ({"c": "x", "i": 10}, "i: 10 is not in the space; expected 2 to 8 by 2", "i"),
        ({"c": "x", "i": 0}, "i: 0 is not in the space; expected 2 to 8 by 2", "i"),
        ({"c": "x", "i": 4.0}, "i: 4.0 is not in the space; expected 2 to 8 by 2", "i"),
        ({"c": "x", "i": True}, "i: True is not in the space; expected 2 to 8 by 2", "i"),
        ({"c": "x", "i": 2, "j": 9}, "j: 9 is not in the space; expected 2 to 8", "j"),
        ({"c": "x", "i": 2, "j": 8, "f": 0.6}, "f: 0.6 is not in the space; expected 0.5 to 1.5 by 0.25", "f"),
        ({"c": "x", "i": 2, "j": 8, "f": 1.75}, "f: 1.75 is not in the space; expected 0.5 to 1.5 by 0.25", "f"),
        ({"c": "x", "i": 2, "j": 8, "f": 0.75, "g": "1"}, "g: '1' is not in the space; expected 0.5 to 1.5", "g"),
        ({"c": "x", "i": 2, "j": 8, "f": 0.75, "g": 0.4}, "g: 0.4 is not in the space; expected 0.5 to 1.5", "g"),
        ({"c": "x", "i": 2, "j": 8, "f": 0.75}, "g: no answer is known", "g"),
    ],
)
def test_an_answer_that_is_not_of_the_space_is_refused(answers: dict[str, Any], said: str, name: str) -> None:
    with pytest.raises(SpaceError) as caught:
        ask(FixedTrial(answers))
    assert (str(caught.value), caught.value.key) == (said, name)


def test_answers_at_the_bounds_and_on_the_steps_are_of_the_space() -> None:
    for answers in (
        {"c": "x", "i": 2, "j": 2, "f": 0.5, "g": 0.5},
        {"c": "y", "i": 8, "j": 8, "f": 1.5, "g": 1.5},
        {"c": "y", "i": 6, "j": 5, "f": 0.5 + 0.25 + 1e-12, "g": 1},
    ):
        assert dict(zip("cijfg", ask(FixedTrial(answers)), strict=True)) == answers


def test_true_is_no_answer_for_one_nor_one_for_true() -> None:
    for known, choices in ((1, (True, False)), (True, (0, 1)), (1.0, (1, 2))):
        with pytest.raises(SpaceError):
            FixedTrial({"c": known}).suggest_categorical("c", choices)


def test_a_grid_trial_walks_every_path_once_with_the_last_decision_fastest() -> None:
    walk, paths = GridTrial(), []
    while walk.next():
        kind = walk.suggest_categorical("kind", ("a", "b"))
        count = walk.suggest_int("count", 1, 6, step=2)
        paths.append(
            (kind, count) if kind == "a" else (kind, count, round(walk.suggest_float("share", 0.1, 0.3, step=0.1), 9))
        )
    plain = list(itertools.product("a", (1, 3, 5)))
    assert paths == [*plain, *itertools.product("b", (1, 3, 5), (0.1, 0.2, 0.3))]


def test_a_grid_of_nothing_has_one_path() -> None:
    walk = GridTrial()
    assert [walk.next(), walk.next()] == [True, False]
