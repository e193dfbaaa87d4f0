"""Grouping and layout: what there is to choose from, when it is worth measuring, and what a warm-up makes of its times.

Clocks are fake and so are the machines; the numbers expected are worked out by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ressearch import Architecture
from ressearch.training import Recipe, choose
from ressearch.training.choose import Choice, Probe

CPU = torch.device("cpu")
TINY = Architecture(depths=(1, 1), widths=(4, 8))
GROUPED, GROUPED_PLAIN, ALONE, ALONE_PLAIN = (Choice(*one) for one in ((1, 1), (1, 0), (0, 1), (0, 0)))
ALL = (GROUPED, GROUPED_PLAIN, ALONE, ALONE_PLAIN)
IMAGE, VECTOR, SEQUENCE = (1, 8, 8), (5,), (6, 4)


@pytest.mark.parametrize(
    ("shape", "recipe", "expected"),
    [
        (IMAGE, {"seeds": 2}, ["TT", "TF", "FT", "FF"]),
        (IMAGE, {"seeds": 1}, ["FT", "FF"]),
        (IMAGE, {"seeds": 1, "replicates": "grouped"}, ["FT", "FF"]),
        (IMAGE, {"seeds": 3, "precision": "float16"}, ["FT", "FF"]),
        (IMAGE, {"seeds": 3, "precision": "bfloat16"}, ["TT", "TF", "FT", "FF"]),
        (IMAGE, {"seeds": 2, "replicates": "grouped"}, ["TT", "TF"]),
        (IMAGE, {"seeds": 2, "replicates": "separate"}, ["FT", "FF"]),
        (IMAGE, {"seeds": 2, "channels_last": True}, ["TT", "FT"]),
        (IMAGE, {"seeds": 2, "channels_last": False}, ["TF", "FF"]),
        (IMAGE, {"seeds": 2, "channels_last": False, "replicates": "grouped"}, ["TF"]),
        (IMAGE, {"seeds": 1, "channels_last": True}, ["FT"]),
        (VECTOR, {"seeds": 2}, ["TT", "FT"]),
        (SEQUENCE, {"seeds": 2}, ["TT", "FT"]),
        (SEQUENCE, {"seeds": 2, "channels_last": False}, ["TF", "FF"]),
        (VECTOR, {"seeds": 1}, ["FT"]),
    ],
)
def test_a_recipe_leaves_these_choices_the_usual_one_first(
    shape: tuple[int, ...], recipe: dict[str, Any], expected: list[str]
) -> None:
    found = choose.usual(shape, Recipe(**recipe))
    assert ["".join("T" if one else "F" for one in choice) for choice in found] == expected


def test_a_warm_up_is_reckoned_as_four_steps_per_choice_and_four_for_building() -> None:
    assert [choose.warm_up_steps(choices) for choices in (2, 3, 4)] == [12, 16, 20]


def asked(work: float = 1e6, replicates: int = 3, choices: tuple[Choice, ...] = ALL) -> Probe:
    return Probe(TINY, IMAGE, 10, 64, "float32", replicates, CPU, choices, work)


@pytest.mark.parametrize(
    ("choices", "work", "is_worthwhile"),
    [(ALL, 400, True), (ALL, 399, False), (ALL[:2], 240, True), (ALL[:2], 239, False), (ALL, 1e9, True)],
)
def test_a_warm_up_is_worthwhile_where_it_is_a_twentieth_of_the_trial(
    choices: tuple[Choice, ...], work: float, is_worthwhile: bool
) -> None:
    assert asked(work, choices=choices).is_worthwhile == is_worthwhile


def test_a_shape_names_what_networks_have_in_common_and_neither_device_nor_work() -> None:
    expected = {
        "architecture": TINY.name,
        "batch_size": 64,
        "choices": [[True, True], [False, True]],
        "classes": 10,
        "input_shape": [1, 8, 8],
        "precision": "float32",
        "replicates": 3,
    }
    one, other = (asked(work, choices=(GROUPED, ALONE))._replace(device=torch.device(where)) for work, where in PLACES)
    assert json.loads(one.shape) == expected
    assert list(json.loads(one.shape)) == sorted(expected)
    assert one.shape == other.shape


PLACES = ((1.0, "cpu"), (2.0, "meta"))


@pytest.mark.parametrize(
    ("recipe", "examples", "batch_size", "replicates", "steps"),
    [
        ({"seeds": 2, "epochs": 5, "batch_size": 30}, 100, 30, 2, 15),  # 3 steps an epoch; 10 examples are left out
        ({"seeds": 4, "epochs": 2, "batch_size": 10}, 100, 10, 4, 20),
        ({"seeds": 6, "epochs": 2, "batch_size": 10}, 100, 10, 4, 30),  # 4 of 6 are timed: half as much again
        ({"seeds": 2, "epochs": 7, "batch_size": 64}, 20, 20, 2, 7),  # fewer examples than a batch
    ],
)
def test_a_probe_is_one_block_per_stage_and_its_work_is_the_trials(
    recipe: dict[str, Any], examples: int, batch_size: int, replicates: int, steps: int
) -> None:
    deep = Architecture("mlp", (3,), (6,))
    question = choose.probe(deep, VECTOR, 3, Recipe(precision="bfloat16", **recipe), CPU, examples)
    # An mlp of width 6 on 5 features and 3 classes has 57 + 162 n multiply-adds with n blocks.
    expected = Probe(
        Architecture("mlp", (1,), (6,)), VECTOR, 3, batch_size, "bfloat16", replicates, CPU, (GROUPED, ALONE), 0
    )
    assert question is not None
    assert question._replace(work=0) == expected
    assert question.work == pytest.approx(steps * 543 / 219)


def test_a_probe_of_several_stages_keeps_their_widths() -> None:
    network = Architecture("mlp", (3, 1, 2), (6, 8, 12))
    question = choose.probe(network, VECTOR, 3, Recipe(seeds=2), CPU, 100)
    assert question is not None
    assert (question.architecture.depths, question.architecture.widths) == ((1, 1, 1), (6, 8, 12))


def test_a_probe_of_a_dense_network_that_grows_takes_the_widths_that_follow() -> None:
    dense = Architecture(
        depths=(3, 2), skip="dense", stem_width=4, widths=None, skip_options={"growth_rate": 4, "compression": 0.5}
    )
    question = choose.probe(dense, IMAGE, 3, Recipe(seeds=2), CPU, 100)
    assert question is not None
    assert dense.widths == (16, 16)
    assert question.architecture.widths == (8, 8)  # 4 + 1 x 4; half of it, and 4


@pytest.mark.parametrize(
    ("architecture", "shape", "recipe"),
    [
        (TINY, IMAGE, {"seeds": 1, "channels_last": True}),  # no choice
        (TINY, IMAGE, {"seeds": 2, "channels_last": False, "replicates": "grouped"}),
        (TINY, VECTOR, {"seeds": 2}),  # no such network: whoever builds it says so
    ],
)
def test_there_is_nothing_to_time_without_a_choice_or_a_network(
    architecture: Architecture, shape: tuple[int, ...], recipe: dict[str, Any]
) -> None:
    assert choose.probe(architecture, shape, 3, Recipe(**recipe), CPU, 1000) is None


LONG = Recipe(epochs=50, batch_size=10, seeds=2)


class Measuring:
    """Stands in for the warm-up: gives these answers in turn and knows what it was asked."""

    def __init__(self, *answers: Choice | None) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, question: Probe) -> Choice | None:
        self.asked.append(question)
        return self.answers.pop(0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path))
    return tmp_path


def chosen(**changes: Any) -> Choice:
    arguments = {"architecture": TINY, "input_shape": IMAGE, "classes": 3, "recipe": LONG, "device": CPU}
    return choose.choose(**{**arguments, "examples": 1000, **changes})


def expected(**changes: Any) -> Choice:
    arguments = {"architecture": TINY, "input_shape": IMAGE, "classes": 3, "recipe": LONG, "device": CPU}
    return choose.expect(**{**arguments, "examples": 1000, **changes})


def test_a_choice_is_measured_once_and_then_known(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Measuring(ALONE_PLAIN)
    monkeypatch.setattr(choose, "_fastest", measure)
    assert expected() == GROUPED  # not measured yet
    assert measure.asked == []
    for _ in range(2):
        found = chosen()
        assert (found, type(found)) == (ALONE_PLAIN, Choice)
    (question,) = measure.asked
    assert question == choose.probe(TINY, IMAGE, 3, LONG, CPU, 1000)
    known = expected()
    assert (known, type(known)) == (ALONE_PLAIN, Choice)
    short = {"recipe": Recipe(epochs=1, batch_size=10, seeds=2), "examples": 100}
    assert chosen(**short) == expected(**short) == GROUPED
    only = Recipe(epochs=50, batch_size=10, seeds=1, channels_last=False)
    assert chosen(recipe=only) == expected(recipe=only) == ALONE_PLAIN


def test_a_warm_up_that_took_too_long_leaves_the_usual_choice_and_nothing_remembered(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "_fastest", Measuring(None, ALONE))
    assert chosen() == GROUPED
    assert expected() == GROUPED
    assert chosen() == ALONE


def test_a_study_settles_what_is_chosen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Measuring(ALONE)
    monkeypatch.setattr(choose, "_fastest", measure)
    question = choose.probe(TINY, IMAGE, 3, LONG, CPU, 1000)
    assert question is not None
    settled: list[Any] = []

    def on_record(shape: str, make: Any) -> Choice:
        settled.append(shape)
        return GROUPED_PLAIN

    def measured(shape: str, make: Any) -> Choice:
        settled.append(shape)
        return make()

    assert chosen(settle=on_record) == GROUPED_PLAIN
    assert measure.asked == []
    assert chosen(settle=measured) == ALONE
    assert settled == [question.shape] * 2
    only = Recipe(epochs=50, seeds=1, channels_last=True)
    assert chosen(recipe=only, settle=on_record) == ALONE  # nothing to settle
    assert len(settled) == 2


def test_another_shape_another_device_and_another_number_of_threads_are_measured_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "_fastest", Measuring(GROUPED, ALONE, GROUPED_PLAIN, ALONE_PLAIN))
    assert chosen() == GROUPED
    assert chosen(architecture=TINY.replace(widths=(8, 16))) == ALONE
    assert chosen(device=torch.device("meta")) == GROUPED_PLAIN
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert chosen() == ALONE_PLAIN


def test_a_gpu_is_remembered_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device}")
    question = asked()
    assert choose._key(question) == {"shape": question.shape, "threads": 5, "device": "cpu"}
    there = question._replace(device=torch.device("cuda:1"))
    assert choose._key(there) == {"shape": question.shape, "threads": 5, "device": "card cuda:1"}


class FakeMachine:
    """A clock that only steps move; each round gives each choice its next time, the last one from then on."""

    def __init__(self, times: dict[Choice, list[float]], costs: float = 1.0) -> None:
        self.now, self.times, self.costs = 100.0, {choice: list(some) for choice, some in times.items()}, costs
        self.timed: list[Choice] = []

    def clock(self) -> float:
        return self.now

    def time(self, question: Probe, choice: Choice) -> float:
        assert (question.architecture, question.choices) == (TINY, ALL)
        self.timed.append(choice)
        self.now += self.costs
        left = self.times[choice]
        return left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(
    ("times", "timed", "fastest"),
    [
        ([[1], [1], [1], [1]], [0, 1, 2, 3], 0),  # none is faster: one round is enough
        ([[1], [0.76], [0.8], [0.9]], [0, 1, 2, 3], 0),  # and not clearly
        ([[1], [0.75], [1], [1]], [0, 1, 2, 3], 0),
        ([[1], [0.74], [1], [1]], [0, 1, 2, 3, 0, 1], 1),
        ([[1], [0.7], [0.5], [0.6]], [0, 1, 2, 3, 0, 1, 2, 3], 2),
        ([[1], [0.7], [1], [0.6]], [0, 1, 2, 3, 0, 1, 3], 3),
        ([[1], [0.7, 0.3], [0.5], [1]], [0, 1, 2, 3, 0, 1, 2], 1),  # the second round may tell otherwise
        ([[1, 0.5], [0.7], [1], [1]], [0, 1, 2, 3, 0, 1], 0),  # the first time was a slow one
        ([[1], [0.5, 2], [1], [1]], [0, 1, 2, 3, 0, 1], 1),  # the least time counts
        ([[float("inf")], [float("inf")], [3], [2]], [0, 1, 2, 3, 0, 2, 3], 3),  # memory does not hold the usual one
    ],
)
def test_a_warm_up_times_in_turns_and_leaves_the_usual_choice_for_a_clearly_faster_one_alone(
    times: list[list[float]], timed: list[int], fastest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(dict(zip(ALL, times, strict=True)))
    monkeypatch.setattr(choose, "clock", machine.clock)
    monkeypatch.setattr(choose, "_time", machine.time)
    assert choose._fastest(asked()) == ALL[fastest]
    assert machine.timed == [ALL[one] for one in timed]


@pytest.mark.parametrize(("work", "timed"), [(100, 4), (99.9, 4), (79, 4), (80, 4), (59, 3), (19, 1), (39, 2)])
def test_a_warm_up_ends_where_it_takes_more_than_a_twentieth_of_the_trial(
    work: float, timed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial of `work` steps of 3 replicates that take half a second each; each timing takes 1.5 seconds."""
    machine = FakeMachine({choice: [0.5] for choice in ALL}, costs=1.5)
    monkeypatch.setattr(choose, "clock", machine.clock)
    monkeypatch.setattr(choose, "_time", machine.time)
    found = choose._fastest(asked(work))
    assert len(machine.timed) == timed
    assert found == (GROUPED if work >= 80 else None)


def test_what_memory_does_not_hold_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    for problem in (torch.OutOfMemoryError("no"), MemoryError()):

        def step_seconds(*arguments: Any, problem: Exception = problem) -> float:
            raise problem

        monkeypatch.setattr(choose, "step_seconds", step_seconds)
        assert choose._time(asked(), GROUPED) == float("inf")
    seen: list[Any] = []
    monkeypatch.setattr(choose, "step_seconds", lambda *arguments: seen.append(arguments) or 0.5)
    assert choose._time(asked(), ALONE) == 0.5
    assert seen == [(TINY, IMAGE, 10, 64, "float32", 3, CPU, ALONE, 2)]
