"""What a key of a study file is read as, how many points that has, and what is asked of a trial for it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ressearch.networks.families import Match
from ressearch.spaces.domains import KEYS, Choice, Matched, Range, is_per_stage, label, read

READ = [
    ("depth", 8, Choice((8,))),
    ("depth", [8, 14], Choice((8, 14))),
    ("depth", (8, 14), Choice((8, 14))),
    ("depth", [8, 14, 8], Choice((8, 14))),
    ("depths", [1, 2], Choice(((1, 2),))),
    ("depths", (1, 2), Choice(((1, 2),))),
    ("depths", [[1, 2], (3, 4)], Choice(((1, 2), (3, 4)))),
    ("widths", [8, 16], Choice(((8, 16),))),
    ("strides", [1, 2], Choice(((1, 2),))),
    ("strides", [[1, 2]], Choice(((1, 2),))),
    ("depths", [1] * 16, Choice(((1,) * 16,))),
    ("group_width", [8, None, [8, 16]], Choice((8, None, (8, 16)))),
    ("group_width", None, Choice((None,))),
    ("head_width", [None, 32], Choice((None, 32))),
    ("kernel_size", [3, [5, 3]], Choice((3, (5, 3)))),
    ("bottleneck_ratio", [0.25, [0.5, 1]], Choice((0.25, (0.5, 1)))),
    ("se_ratio", [0, 0.25], Choice((0, 0.25))),
    ("dropout", 0.5, Choice((0.5,))),
    ("wa", [8, 8.5], Choice((8, 8.5))),
    ("wm", 2.5, Choice((2.5,))),
    ("norm", "batch", Choice(("batch",))),
    ("norm", ["batch", "none"], Choice(("batch", "none"))),
    ("zero_gamma", [True, False], Choice((True, False))),
    ("depth", list(range(1, 1001)), Choice(tuple(range(1, 1001)))),
    ("depth", {"low": 8, "high": 20}, Range(8, 20)),
    ("depth", {"low": 8, "high": 8}, Range(8, 8)),
    ("depth", {"low": 8, "high": 20, "step": 6}, Range(8, 20, 6)),
    ("depth", {"low": 8, "high": 20, "step": None}, Range(8, 20, None)),
    ("depth", {"low": 8, "high": 20, "step": 1000000}, Range(8, 20, 1000000)),
    ("depth", {"low": 8, "high": 20, "log": True}, Range(8, 20, None, True)),
    ("depth", {"low": 8, "high": 20, "log": True, "step": 1}, Range(8, 20, 1, True)),
    ("depth", {"low": 8, "high": 20, "log": False, "step": 2}, Range(8, 20, 2, False)),
    ("se_ratio", {"low": 0, "high": 1}, Range(0.0, 1.0)),
    ("se_ratio", {"low": 0.25, "high": 1, "log": True}, Range(0.25, 1.0, None, True)),
    ("dropout", {"low": 0, "high": 0.5, "step": 1e-9}, Range(0.0, 0.5, 1e-9)),
    ("dropout", {"low": 0, "high": 1}, Range(0.0, 1.0)),
    ("bottleneck_ratio", {"low": 1, "high": 4}, Range(1.0, 4.0)),
    ("wa", {"low": 0, "high": 4}, Range(0.0, 4.0)),
    ("wm", {"low": 1, "high": 4}, Range(1.0, 4.0)),
    ("width", {"match": "macs", "target": "2k"}, Matched(Match("macs", 2000, 0.02))),
    ("width", {"match": "params", "target": 7, "tolerance": 0.5}, Matched(Match("params", 7, 0.5))),
    ("width", {"match": "activations", "target": 7}, Matched(Match("activations", 7, 0.02))),
    ("skip", "identity", Choice(("identity",))),
    ("skip", {"scaled": {}}, Choice(("scaled",), {"scaled": {}})),
    ("skip", ["none", {"scaled": {"alpha": 0.5}}], Choice(("none", "scaled"), {"scaled": {"alpha": Choice((0.5,))}})),
    (
        "skip",
        [{"scaled": {"alpha": [0.5, 1], "beta": (1.0,)}}, {"dense": {"growth_rate": 4}}],
        Choice(
            ("scaled", "dense"),
            {"scaled": {"alpha": Choice((0.5, 1)), "beta": Choice((1.0,))}, "dense": {"growth_rate": Choice((4,))}},
        ),
    ),
    (
        "skip",
        {"scaled": {"alpha": [0.5] * 1000}},
        Choice(("scaled",), {"scaled": {"alpha": Choice((0.5,) * 1000)}}),
    ),
]

OPTION_RANGES = [
    ({"low": 1, "high": 3, "step": 1}, Range(1, 3, 1)),  # all whole: whole numbers only
    ({"low": 1, "high": 3, "step": 1, "log": True}, Range(1, 3, 1, True)),
    ({"low": 1, "high": 3}, Range(1.0, 3.0)),
    ({"low": 1, "high": 3, "step": None}, Range(1.0, 3.0, None)),
    ({"low": 1.0, "high": 3, "step": 1}, Range(1.0, 3.0, 1)),
    ({"low": 1, "high": 3.0, "step": 1}, Range(1.0, 3.0, 1)),
    ({"low": 1, "high": 3, "step": 0.5}, Range(1.0, 3.0, 0.5)),
    ({"low": -1e6, "high": 1e6}, Range(-1e6, 1e6)),
]


def kinds(domain: Any) -> list[type]:
    numbers = (domain.low, domain.high, domain.step) if isinstance(domain, Range) else domain.values
    return [type(number) for number in numbers]


@pytest.mark.parametrize(("key", "value", "domain"), READ, ids=lambda value: str(value)[:35])
def test_a_key_of_a_study_file_is_read_as_its_domain(key: str, value: Any, domain: Any) -> None:
    found = read(key, value)
    assert found == domain
    assert kinds(found) == kinds(domain)
    assert read(key, found) is found  # a domain stays what it is


@pytest.mark.parametrize(("value", "domain"), OPTION_RANGES, ids=lambda value: str(value)[:40])
def test_a_range_of_an_option_is_whole_only_if_all_its_numbers_are(value: Any, domain: Range) -> None:
    found = read("skip", {"scaled": {"alpha": value}})
    assert found == Choice(("scaled",), {"scaled": {"alpha": domain}})
    assert kinds(found.options["scaled"]["alpha"]) == kinds(domain)


def test_the_bounds_of_an_option_are_those_of_its_field() -> None:
    growth = read("skip", {"dense": {"growth_rate": {"low": 0, "high": 4096, "step": 4}}})
    assert growth.options["dense"]["growth_rate"] == Range(0, 4096, 4)


@pytest.mark.parametrize(
    ("domain", "size"),
    [
        (Choice((1, 2, 3)), 3),
        (Choice(("a", "b"), {"b": {"x": Choice((1, 2)), "y": Choice((1, 2, 3))}}), 1 + 2 * 3),
        (Choice(("a",), {"a": {"x": Range(0.0, 1.0)}}), math.inf),
        (Range(1, 4), 4),
        (Range(5, 5), 1),
        (Range(1, 6, 2), 3),
        (Range(1, 7, 2), 4),
        (Range(8, 64, 8), 8),
        (Range(1, 64, None, True), 64),
        (Range(0.0, 1.0), math.inf),
        (Range(0.0, 0.3, 0.1), 4),
        (Range(0.5, 1.4, 0.2), 5),
        (Range(0.0, 4.0, 1), 5),
        (Range(0, 4.0), math.inf),
        (Matched(Match("macs", 9)), 1),
    ],
    ids=str,
)
def test_a_domain_counts_its_points(domain: Any, size: float) -> None:
    assert domain.size == size


def test_a_range_names_its_whole_numbers() -> None:
    assert Range(1, 4).values == (1, 2, 3, 4)
    assert Range(1, 6, 2).values == (1, 3, 5)
    assert Range(8, 24, 8).values == (8, 16, 24)
    assert Matched(Match("macs", 9)).values == (Match("macs", 9),)


@pytest.mark.parametrize(
    ("domain", "is_integer"),
    [
        (Range(1, 4), True),
        (Range(1, 4, 2), True),
        (Range(1.0, 4), False),
        (Range(1, 4.0), False),
        (Range(1, 4, 0.5), False),
    ],
)
def test_a_range_is_whole_if_its_numbers_are(domain: Range, is_integer: bool) -> None:
    assert domain.is_integer is is_integer


class Asked:
    """A trial that takes the high end, or the last choice, and writes down the one question."""

    question: Any = None

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.question = (name, choices)
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, **others: Any) -> int:
        self.question = ("int", name, low, high, others)
        return high

    def suggest_float(self, name: str, low: float, high: float, **others: Any) -> float:
        self.question = ("float", name, low, high, others)
        return high


@pytest.mark.parametrize(
    ("domain", "question", "answer"),
    [
        (Choice((8,)), None, 8),
        (Choice((8, 14)), ("k", [8, 14]), 14),
        (Choice(((1, 2), (3, 4, 5))), ("k", ["1.2", "3.4.5"]), (3, 4, 5)),
        (Choice((None, (8, 16))), ("k", [None, "8.16"]), (8, 16)),
        (Range(4, 4), None, 4),
        (Range(0.5, 0.5), None, 0.5),
        (Range(4, 8), ("int", "k", 4, 8, {"step": 1, "log": False}), 8),
        (Range(4, 8, 2), ("int", "k", 4, 8, {"step": 2, "log": False}), 8),
        (Range(4, 8, None, True), ("int", "k", 4, 8, {"step": 1, "log": True}), 8),
        (Range(0.5, 2.0), ("float", "k", 0.5, 2.0, {"step": None, "log": False}), 2.0),
        (Range(0.5, 2.0, 0.5), ("float", "k", 0.5, 2.0, {"step": 0.5, "log": False}), 2.0),
        (Range(0.5, 2.0, None, True), ("float", "k", 0.5, 2.0, {"step": None, "log": True}), 2.0),
        (Matched(Match("macs", 9)), None, Match("macs", 9)),
    ],
    ids=str,
)
def test_a_domain_asks_a_trial_what_optuna_can_answer(domain: Any, question: Any, answer: Any) -> None:
    asked = Asked()
    assert domain.suggest(asked, "k") == answer
    assert asked.question == question


def test_lists_have_dotted_labels() -> None:
    assert (label((1, 2)), label([0.5, 1]), label("a"), label(3), label(None)) == ("1.2", "0.5.1", "a", 3, None)


def test_ranges_of_depths_and_widths_alone_are_drawn_for_each_stage() -> None:
    assert [key for key in KEYS if is_per_stage(key, Range(1, 2))] == ["depths", "widths"]
    assert not any(is_per_stage(key, Choice((1,))) for key in KEYS)
