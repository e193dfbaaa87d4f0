"""The answers by which a space describes a network, and answers completed from a few."""

from __future__ import annotations

from typing import Any

import pytest

import ressearch.spaces.answers
from ressearch import Architecture, SearchSpace, cost
from ressearch.errors import ArchitectureError, BudgetError, SpaceError
from ressearch.spaces.answers import answers_of, complete
from ressearch.spaces.trials import FixedTrial

SMALL = Architecture(depths=(1, 1, 1), widths=(6, 12, 24))

KNOWN: list[tuple[dict[str, Any], Architecture, dict[str, Any] | None]] = [
    ({"depth": [8, 14], "width": [4, 6]}, SMALL, {"depth": 8, "width": 6}),
    ({"depth": [8, 14], "width": {"low": 4, "high": 8}}, SMALL, {"depth": 8, "width": 6}),
    ({"depth": [8, 14], "width": 6}, SMALL, {"depth": 8}),  # what is one value is not asked for
    ({"depth": 8, "width": 6}, SMALL, {}),
    ({"depth": [14, 20], "width": 6}, SMALL, None),
    ({"depth": 8, "width": {"low": 8, "high": 16}}, SMALL, None),
    ({"depth": 8, "width": {"low": 4, "high": 16, "step": 4}}, SMALL, None),
    ({"depth": 8, "width": 6, "skip": "none"}, SMALL, None),
    ({"blocks_per_stage": [1, 2], "width": [4, 6]}, SMALL, {"blocks_per_stage": 1, "width": 6}),
    ({"blocks_per_stage": {"low": 1, "high": 3}, "width": 6}, SMALL, {"blocks_per_stage": 1}),
    ({"stages": [2, 3], "blocks_per_stage": 1, "width": 6}, SMALL, {"stages": 3}),
    ({"stages": {"low": 2, "high": 4}, "blocks_per_stage": 1, "width": 6}, SMALL, {"stages": 3}),
    ({"depths": [[1, 1, 1], [2, 2, 2]], "width": 6}, SMALL, {"depths": "1.1.1"}),
    ({"depths": {"low": 1, "high": 2}, "width": 6}, SMALL, {"depths[0]": 1, "depths[1]": 1, "depths[2]": 1}),
    (
        {"blocks_per_stage": 1, "widths": {"low": 6, "high": 24, "step": 6}, "norm": ["none", "batch"]},
        SMALL,
        {"norm": "batch", "widths[0]": 6, "widths[1]": 12, "widths[2]": 24},
    ),
    ({"depth": 8, "width": 6, "se_ratio": {"low": 0.0, "high": 1.0}}, SMALL, {"se_ratio": 0.0}),
    (
        {"depth": 8, "width": 6, "group_width": [3, None], "zero_gamma": [True, False]},
        SMALL,
        {"group_width": None, "zero_gamma": False},
    ),
    (
        {
            "depth": 8,
            "width": 6,
            "skip": ["none", {"scaled": {"alpha": [0.2, 0.5], "beta": {"low": 0.5, "high": 2.0}}}],
        },
        SMALL.replace(skip="scaled", skip_options={"alpha": 0.5, "beta": 1.0}),
        {"skip": "scaled", "scaled.alpha": 0.5, "scaled.beta": 1.0},
    ),
    (
        {"depth": 8, "width": 6, "skip": ["identity", {"scaled": {"alpha": [0.2, 0.5]}}]},
        SMALL,
        {"skip": "identity"},
    ),
    (
        {"blocks_per_stage": 2, "width": [8, 12], "skip": [{"dense": {"growth_rate": [4, 8]}}, "none"]},
        Architecture(depths=(2, 2, 2), skip="dense", skip_options={"growth_rate": 8.0}, stem_width=12),
        {"width": 12, "skip": "dense", "dense.growth_rate": 8},
    ),
    ({"depth": {"low": 8, "high": 14, "step": 6}, "width": 6}, SMALL, {"depth": 8}),
    (
        {"stages": [1, 2], "blocks_per_stage": {"low": 1, "high": 3}, "width": 6},
        Architecture(depths=(2,), widths=(6,)),
        {"stages": 1, "blocks_per_stage": 2},
    ),
    ({"depth": 9, "width": 6, "head_width": {"low": 8, "high": 16}}, SMALL, None),
    (
        {"w0": {"low": 16, "high": 24, "step": 8}, "wa": {"low": 1.0, "high": 40.0}, "wm": 2.54, "depth": 22},
        SMALL,
        None,
    ),
    (
        {"blocks_per_stage": 2, "width": {"low": 8, "high": 16}, "skip": [{"dense": {"growth_rate": [4, 8]}}, "none"]},
        Architecture(depths=(2, 2, 2), skip="dense", skip_options={"growth_rate": 8.0}, stem_width=12),
        {"width": 12, "skip": "dense", "dense.growth_rate": 8},
    ),
    (
        {"blocks_per_stage": 2, "width": {"low": 4, "high": 16}, "skip": "dense"},
        Architecture(depths=(2, 2, 2), widths=(8, 16, 32), stem_width=4, skip="dense"),
        None,
    ),
    (
        {"depth": 8, "width": {"low": 4, "high": 16}, "stem_width": [8, 5]},
        SMALL.replace(stem_width=5),
        {"width": 6, "stem_width": 5},
    ),
    # with 128 x 64 values a network's own are found at once; all together are too many to try
    (
        {"blocks_per_stage": list(range(1, 129)), "width": list(range(1, 65))},
        Architecture(depths=(2, 2, 2), widths=(60, 120, 240)),
        {"blocks_per_stage": 2, "width": 60},
    ),
    (
        {"w0": [16, 24], "wa": 24.48, "wm": [2.0, 2.54], "depth": 22, "group_width": 16},
        Architecture("bottleneck", (1, 2, 7, 12), (32, 64, 160, 384), bottleneck_ratio=1.0, group_width=16).replace(
            stem="simple", stem_width=32
        ),
        None,
    ),
]


@pytest.mark.parametrize(("parameters", "network", "answers"), KNOWN, ids=lambda value: str(value)[:40])
def test_the_answers_of_a_network_are_those_that_lead_to_it(
    parameters: dict[str, Any], network: Architecture, answers: dict[str, Any] | None
) -> None:
    space = SearchSpace(parameters, input_shape=(1, 8, 8))
    found = answers_of(space, network)
    assert found == answers
    if found is not None:
        assert list(found.items()) == list(answers.items())
        assert [type(one) for one in found.values()] == [type(one) for one in answers.values()]
        assert space.suggest(FixedTrial(found)) == network


def test_a_field_that_a_choice_left_open_is_found_by_trying() -> None:
    space = SearchSpace({"depth": 8, "width": 8, "group_width": [1, [8, 8, 8], [8, 16, 32]]})
    network = Architecture(depths=(1, 1, 1), widths=(8, 16, 32), group_width=(8, 16, 32))
    assert answers_of(space, network) == {"group_width": "8.16.32"}
    space = SearchSpace({"depth": 8, "width": 8, "group_width": [2, [4, 4, 4]]})
    assert answers_of(space, network.replace(group_width=4)) == {"group_width": "4.4.4"}


def test_a_combination_that_is_refused_is_passed_over() -> None:
    space = SearchSpace({"depth": 8, "width": [8, 12], "group_width": [[3, 3, 3], [4, 4, 4], [2, 2, 2]]})
    network = Architecture(depths=(1, 1, 1), widths=(8, 16, 32), group_width=4)  # 3 divides no width of it
    assert answers_of(space, network) == {"width": 8, "group_width": "4.4.4"}


@pytest.mark.parametrize(("most", "answers"), [(2, {"group_width": "4.4.4"}), (1, None)])
def test_more_combinations_than_the_most_are_not_tried(
    most: int, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ressearch.spaces.answers, "_MOST", most)
    space = SearchSpace({"depth": 8, "width": 8, "group_width": [[2, 2, 2], [4, 4, 4]]})
    network = Architecture(depths=(1, 1, 1), widths=(8, 16, 32), group_width=4)
    assert answers_of(space, network) == answers


def test_a_matched_width_is_no_question() -> None:
    width = {"match": "params", "target": 1000, "tolerance": 0.2}
    space = SearchSpace({"depth": 8, "width": width, "skip": ["none", "identity"]})
    for network in space.enumerate():
        assert answers_of(space, network) == {"skip": network.skip}
    assert answers_of(space, Architecture(depths=(1, 1, 1), widths=(64, 128, 256))) is None


def test_a_network_beyond_the_budget_has_no_answers() -> None:
    space = SearchSpace({"depth": [8, 14], "width": 6}, input_shape=(1, 8, 8))
    assert answers_of(space, SMALL.replace(depths=(2, 2, 2))) == {"depth": 14}
    less = space.filter(max_macs=cost(SMALL, (1, 8, 8)).macs)
    assert answers_of(less, SMALL.replace(depths=(2, 2, 2))) is None
    assert answers_of(less, SMALL) == {"depth": 8}


def test_a_combination_that_is_no_network_is_passed_over() -> None:
    space = SearchSpace({"depth": [8, 14], "width": [6, 8], "bottleneck_ratio": [[1.5, 1, 1], [1, 1, 1], 2]})
    network = Architecture(depths=(1, 1, 1), widths=(8, 16, 32), bottleneck_ratio=1)
    assert answers_of(space, network) == {"depth": 8, "width": 8, "bottleneck_ratio": "1.1.1"}


def test_completed_answers_keep_what_was_given_and_follow_the_seed() -> None:
    space = SearchSpace({"depth": [8, 14, 20], "width": {"low": 4, "high": 64}, "skip": ["none", "identity"]})
    found = complete(space, {"depth": 14}, "a")
    assert list(found) == ["depth", "width", "skip"]
    assert found["depth"] == 14
    assert complete(space, {"depth": 14}, "a") == found
    drawn = [complete(space, {"depth": 14}, seed)["width"] for seed in "abcdefgh"]
    assert len(set(drawn)) > 4
    assert all(4 <= width <= 64 for width in drawn)
    assert space.suggest(FixedTrial(found)).widths[0] == found["width"]


def test_completed_answers_take_values_as_a_study_file_writes_them() -> None:
    space = SearchSpace({"depths": [[1, 1], [2, 2]], "width": [4, 8]})
    assert complete(space, {"depths": [2, 2], "width": 4}, "s") == {"depths": "2.2", "width": 4}


def test_completed_answers_are_drawn_until_they_fit_the_budget_and_each_other() -> None:
    space = SearchSpace({"depth": [8, 110], "width": {"low": 4, "high": 64}}).filter(
        max_macs=cost(Architecture(depths=(1, 1, 1), widths=(8, 16, 32))).macs
    )
    for seed in "abcd":
        assert complete(space, {"depth": 8}, seed)["width"] <= 8
    wide = SearchSpace({"skip": ["identity", "fixup"], "norm": ["batch", "none"], "depth": 8, "width": 4})
    assert {complete(wide, {"skip": "fixup"}, seed)["norm"] for seed in "abcdef"} == {"none"}


SKIPS = ["identity", "fixup", {"scaled": {"alpha": [0.2, 0.5]}}, {"rezero": {"initial": [0.0, 0.1]}}]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"depht": 8}, SpaceError, "depht: no question of this space; did you mean 'depth'?"),
        (
            {"q": 8, "p": 1, "depth": 14},
            SpaceError,
            "p: no question of this space; known: depth, norm, rezero.initial, scaled.alpha, skip",
        ),
        (
            {"scaled.alpha": 0.2, "skip": "identity", "depth": 8},
            SpaceError,
            "scaled.alpha: no question of this space; known: depth, norm, skip",
        ),
        ({"depth": 20}, SpaceError, "depth: 20 is not in the space; known: 8, 14"),
        ({"skip": "fixup", "norm": "batch"}, ArchitectureError, None),
        ({"depth": 14}, BudgetError, None),
    ],
    ids=str,
)
def test_answers_that_cannot_be_completed_are_refused(given: dict[str, Any], kind: type, message: str | None) -> None:
    limit = cost(Architecture(depths=(1, 1, 1), widths=(4, 8, 16))).macs
    space = SearchSpace({"depth": [8, 14], "width": 4, "skip": SKIPS, "norm": ["batch", "none"]})
    with pytest.raises(kind) as caught:
        complete(space.filter(max_macs=limit), given, "seed")
    assert type(caught.value) is kind
    if message is not None:
        assert str(caught.value) == message


def test_an_answer_to_a_question_of_another_branch_is_asked_for_until_it_is_used() -> None:
    space = SearchSpace({"depth": 8, "width": 4, "skip": ["none", "identity", {"scaled": {"alpha": [0.2, 0.5]}}]})
    for seed in "abc":
        assert complete(space, {"scaled.alpha": 0.5}, seed) == {"skip": "scaled", "scaled.alpha": 0.5}


def test_answers_that_no_network_is_asked_together_are_named() -> None:
    space = SearchSpace(
        {"depth": 8, "width": 4, "skip": [{"scaled": {"alpha": [0, 1]}}, {"rezero": {"initial": [0, 1]}}]}
    )
    with pytest.raises(
        SpaceError, match=r"^(scaled\.alpha|rezero\.initial): no question of a network with the other answers$"
    ):
        complete(space, {"scaled.alpha": 1, "rezero.initial": 1}, "s")
