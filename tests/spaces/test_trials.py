"""Trial-like objects: what each answers, and that it asks and answers as `optuna.Trial` would."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import optuna
import pytest

from ressearch.errors import SpaceError
from ressearch.spaces.trials import FixedTrial, GridTrial, Pinned, RandomTrial, Trial


class Asked:
    """A trial that answers with the low end, or the first choice, and writes down every question."""

    def __init__(self) -> None:
        self.questions: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.questions.append(("categorical", name, list(choices)))
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.questions.append(("int", name, low, high, step, log))
        return low

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.questions.append(("float", name, low, high, step, log))
        return low


QUESTIONS = [
    ("categorical", "block", ["basic", "mlp"]),
    ("int", "a", 2, 9, 1, False),
    ("int", "b", 2, 10, 4, False),
    ("int", "c", 1, 64, 1, True),
    ("float", "d", 0.5, 2.0, None, False),
    ("float", "e", 0.5, 2.0, 0.5, False),
    ("float", "f", 0.25, 4.0, None, True),
]


def ask(trial: Trial, question: tuple[Any, ...]) -> Any:
    kind, name, *rest = question
    if kind == "categorical":
        return trial.suggest_categorical(name, rest[0])
    low, high, step, log = rest
    suggest = trial.suggest_int if kind == "int" else trial.suggest_float
    return suggest(name, low, high, step=step, log=log)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: f"{question[0]}-{question[1]}")
def test_a_fixed_trial_passes_an_unknown_question_on_unchanged(question: tuple[Any, ...]) -> None:
    asked = Asked()
    fixed = FixedTrial({}, asked)
    answer = ask(fixed, question)
    assert asked.questions == [question]
    assert answer == (question[2][0] if question[0] == "categorical" else question[2])
    assert fixed.given == {question[1]: answer}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: f"{question[0]}-{question[1]}")
def test_a_pinned_trial_passes_other_questions_on_unchanged(question: tuple[Any, ...]) -> None:
    asked = Asked()
    pinned = Pinned(asked, "other", "value")
    assert ask(pinned, question) == (question[2][0] if question[0] == "categorical" else question[2])
    assert asked.questions == [question]


def test_a_fixed_or_pinned_trial_says_nothing_of_step_and_log_that_nobody_named() -> None:
    for wrap in (lambda asked: FixedTrial({}, asked), lambda asked: Pinned(asked, "other", 1)):
        asked = Asked()
        trial = wrap(asked)
        trial.suggest_int("a", 1, 5)
        trial.suggest_float("b", 1.0, 5.0)
        assert asked.questions == [("int", "a", 1, 5, 1, False), ("float", "b", 1.0, 5.0, None, False)]


def test_a_pinned_trial_answers_one_choice_only() -> None:
    asked = Asked()
    pinned = Pinned(asked, "block", "mlp")
    assert pinned.suggest_categorical("block", ["basic", "mlp"]) == "mlp"
    assert asked.questions == []
    assert pinned.suggest_categorical("norm", ["batch", "none"]) == "batch"


def test_a_fixed_trial_knows_what_was_given_and_what_nobody_asked_for() -> None:
    asked = Asked()
    fixed = FixedTrial({"block": "mlp", "depth": 8, "rate": 0.5, "left": 1, "over": 2}, asked)
    assert fixed.suggest_categorical("block", ["basic", "mlp"]) == "mlp"
    assert fixed.suggest_int("depth", 8, 14, step=6) == 8
    assert fixed.suggest_float("rate", 0.0, 0.5) == 0.5
    assert fixed.suggest_int("stages", 2, 3) == 2
    assert fixed.given == {"block": "mlp", "depth": 8, "rate": 0.5, "stages": 2}
    assert list(fixed.given) == ["block", "depth", "rate", "stages"]
    assert fixed.unused == {"left", "over"}
    assert [question[1] for question in asked.questions] == ["stages"]


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        (2, ("int", "a", 2, 9, 1, False)),
        (9, ("int", "a", 2, 9, 1, False)),
        (6, ("int", "a", 2, 10, 4, False)),
        (10, ("int", "a", 2, 10, 4, False)),
        (0.5, ("float", "a", 0.5, 2.0, None, False)),
        (2.0, ("float", "a", 0.5, 2.0, None, False)),
        (1, ("float", "a", 0.5, 2.0, None, False)),
        (False, ("categorical", "a", [True, False])),
        (None, ("categorical", "a", [8, None])),
        ("16.32", ("categorical", "a", ["8.16", "16.32"])),
        (2, ("categorical", "a", [1, 2, 3])),
    ],
)
def test_a_known_answer_within_the_question_is_given(answer: Any, question: tuple[Any, ...]) -> None:
    found = ask(FixedTrial({"a": answer}), question)
    assert found == answer
    assert type(found) is type(answer)


@pytest.mark.parametrize(
    ("answer", "question", "message"),
    [
        (1, ("int", "a", 2, 9, 1, False), "a: 1 is not in the space; expected 2 to 9"),
        (10, ("int", "a", 2, 9, 1, False), "a: 10 is not in the space; expected 2 to 9"),
        (4, ("int", "a", 2, 10, 4, False), "a: 4 is not in the space; expected 2 to 10 by 4"),
        (3, ("int", "a", 2, 10, 2, False), "a: 3 is not in the space; expected 2 to 10 by 2"),
        (3.0, ("int", "a", 2, 9, 1, False), "a: 3.0 is not in the space; expected 2 to 9"),
        (True, ("int", "a", 1, 9, 1, False), "a: True is not in the space; expected 1 to 9"),
        (0.4, ("float", "a", 0.5, 2.0, None, False), "a: 0.4 is not in the space; expected 0.5 to 2"),
        (2.1, ("float", "a", 0.5, 2.0, None, False), "a: 2.1 is not in the space; expected 0.5 to 2"),
        ("1", ("float", "a", 0.5, 2.0, None, False), "a: '1' is not in the space; expected 0.5 to 2"),
        (True, ("float", "a", 0.5, 2.0, None, False), "a: True is not in the space; expected 0.5 to 2"),
        ("basc", ("categorical", "a", ["basic", "mlp"]), "a: 'basc' is not in the space; did you mean 'basic'?"),
        ("xyz", ("categorical", "a", ["basic", "mlp"]), "a: 'xyz' is not in the space; known: basic, mlp"),
        (1, ("categorical", "a", [True, False]), "a: 1 is not in the space; known: True, False"),
        (1.0, ("categorical", "a", [1, 2]), "a: 1.0 is not in the space; known: 1, 2"),
    ],
)
def test_a_known_answer_beyond_the_question_is_refused(answer: Any, question: tuple[Any, ...], message: str) -> None:
    fixed = FixedTrial({"a": answer}, Asked())
    with pytest.raises(SpaceError) as caught:
        ask(fixed, question)
    assert (str(caught.value), caught.value.key) == (message, "a")
    assert fixed.given == {}


@pytest.mark.parametrize("question", QUESTIONS[:3], ids=lambda question: question[0])
def test_a_fixed_trial_without_another_says_which_answer_is_missing(question: tuple[Any, ...]) -> None:
    with pytest.raises(SpaceError) as caught:
        ask(FixedTrial({"elsewhere": 1}), question)
    assert (str(caught.value), caught.value.key) == (f"{question[1]}: no answer is known", question[1])


def test_a_fixed_trial_repeats_what_optuna_drew() -> None:
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)).ask()
    first = [ask(drawn, question) for question in QUESTIONS]
    assert [ask(FixedTrial(drawn.params), question) for question in QUESTIONS] == first


def test_a_grid_trial_walks_a_space_whose_questions_depend_on_answers() -> None:
    walked = []
    path = GridTrial()
    while path.next():
        kind = path.suggest_categorical("kind", ["a", "b"])
        if kind == "a":
            walked.append((kind, path.suggest_int("n", 2, 7, step=3)))
        else:
            walked.append((kind, path.suggest_float("x", 0.0, 0.3, step=0.1), path.suggest_int("m", 5, 6)))
    assert walked[:2] == [("a", 2), ("a", 5)]
    assert [kind for kind, *_ in walked[2:]] == ["b"] * 8
    assert [x for _, x, _ in walked[2:]] == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert [m for _, _, m in walked[2:]] == [5, 6] * 4
    assert not path.next()


def test_a_grid_trial_without_questions_has_one_path() -> None:
    path = GridTrial()
    assert (path.next(), path.next(), path.next()) == (True, False, False)


def test_a_grid_trial_reaches_both_ends_of_a_range() -> None:
    for low, high, step, expected in (
        (1, 4, 1, [1, 2, 3, 4]),
        (3, 3, 1, [3]),
        (1, 6, 2, [1, 3, 5]),
        (8, 16, 8, [8, 16]),
    ):
        path, found = GridTrial(), []
        while path.next():
            found.append(path.suggest_int("n", low, high, step=step))
        assert found == expected
    path, found = GridTrial(), []
    while path.next():
        found.append(path.suggest_float("x", 0.5, 1.4, step=0.2))
    assert found == pytest.approx([0.5, 0.7, 0.9, 1.1, 1.3])


def counted(question: tuple[Any, ...], draws: int = 4000) -> Counter[Any]:
    trial = RandomTrial(5)
    return Counter(ask(trial, question) for _ in range(draws))


def test_random_numbers_without_log_are_even_and_reach_both_ends() -> None:
    assert set(counted(("int", "a", 3, 6, 1, False))) == {3, 4, 5, 6}
    assert set(counted(("int", "a", 3, 10, 3, False))) == {3, 6, 9}
    assert set(counted(("categorical", "a", ["x", "y", "z"]))) == {"x", "y", "z"}
    steps = counted(("float", "a", 0.5, 1.1, 0.2, False))
    assert sorted(steps) == pytest.approx([0.5, 0.7, 0.9, 1.1])
    for counts in (counted(("int", "a", 3, 6, 1, False)), steps):
        assert all(count == pytest.approx(1000, abs=120) for count in counts.values())
    drawn = list(counted(("float", "a", 2.0, 6.0, None, False)))
    assert 2 <= min(drawn) < 2.01 < 5.99 < max(drawn) <= 6
    assert sum(drawn) / len(drawn) == pytest.approx(4, abs=0.08)


def test_random_numbers_with_log_are_even_in_the_logarithm() -> None:
    found = counted(("int", "a", 1, 4, 1, True))
    assert set(found) == {1, 2, 3, 4}
    for number in range(1, 5):  # a whole number stands for what is rounded to it
        share = math.log((number + 0.5) / (number - 0.5)) / math.log(4.5 / 0.5)
        assert found[number] == pytest.approx(4000 * share, abs=100)
    drawn = list(counted(("float", "a", 0.01, 100.0, None, True)))
    assert 0.01 <= min(drawn) < 0.011 < 90 < max(drawn) <= 100
    assert sum(number < 1 for number in drawn) == pytest.approx(2000, abs=120)


def test_random_numbers_ask_for_neither_step_nor_log_unless_told() -> None:
    trial = RandomTrial(0)
    assert {trial.suggest_int("a", 1, 3) for _ in range(60)} == {1, 2, 3}
    assert len({trial.suggest_float("a", -1.0, 1.0) for _ in range(60)}) == 60
    counts = Counter(trial.suggest_int("a", 1, 4) for _ in range(2000))
    assert counts[1] == pytest.approx(500, abs=90)


def test_a_random_trial_is_the_seeds() -> None:
    drawn = [[RandomTrial(seed).suggest_int("a", 0, 10**9) for _ in range(2)] for seed in (1, 2)]
    assert drawn[0][0] == drawn[0][1] == random.Random(1).randint(0, 10**9)
    assert drawn[1][0] != drawn[0][0]


def test_a_grid_trial_takes_steps_of_one_unless_told() -> None:
    path, found = GridTrial(), []
    while path.next():
        found.append(path.suggest_int("n", 2, 4))
    assert found == [2, 3, 4]
