"""Which networks `check` times, on how many examples and how, and the mean that it makes of them; nothing is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from clocks import Clock

from ressearch import Architecture, SearchSpace, Study, cost
from ressearch.networks.cost import Cost
from ressearch.search import estimate
from ressearch.training.choose import Choice

SHALLOW = Architecture(depths=(1, 1), widths=(4, 8))


def study(batch_size: int = 64, seeds: int = 1, data: str = "synthetic", **recipe: Any) -> Study:
    return Study.from_dict(
        {
            "space": {"grid": {"depth": [8, 14], "width": 4}},
            "data": {"name": data},
            "recipe": {"batch_size": batch_size, "seeds": seeds, **recipe},
        }
    )


def priced(*macs: int) -> list[tuple[Cost, Architecture]]:
    """Networks of these MACs, each with another width."""
    return [(Cost(1, one, 1), SHALLOW.replace(widths=(4 + at, 8))) for at, one in enumerate(macs)]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of `step_seconds`, which says a hundredth of a second."""
    asked: list[tuple[Any, ...]] = []

    def step_seconds(*given: Any, steps: int) -> float:
        asked.append((*given, steps))
        return 0.01

    monkeypatch.setattr(estimate, "step_seconds", step_seconds)
    monkeypatch.setattr(estimate, "expect", lambda *given: Choice(True, given[2] == 3))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return asked


@pytest.mark.parametrize(
    ("count", "places"),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 2]),
        (5, [0, 1, 2, 3, 4]),
        (9, [0, 2, 4, 6, 8]),
        (99, [0, 24, 49, 74, 98]),
    ],
)
def test_five_networks_across_the_space_are_timed_the_cheapest_and_the_dearest_among_them(
    steps: list[Any], count: int, places: list[int]
) -> None:
    networks = priced(*range(100, 100 + count))
    assert estimate._timed(study(), networks) == [(networks[place], 0.01) for place in places]
    assert [step[0] for step in steps] == [networks[place][1] for place in places]


def test_a_step_is_timed_as_a_trial_would_run_it(steps: list[Any]) -> None:
    asked = study(batch_size=100, seeds=6, precision="bfloat16")
    assert estimate._step_seconds(asked, SHALLOW, 100) == 0.01
    assert estimate._step_seconds(asked, SHALLOW, 25) == pytest.approx(0.04)  # said for a whole batch
    whole = (SHALLOW, (1, 8, 8), 3, 100, "bfloat16", 4, torch.device("cpu"), Choice(True, True), 2)
    assert steps == [whole, (*whole[:3], 25, "bfloat16", 1, *whole[6:])]
    steps.clear()
    few = study(batch_size=1000, seeds=2)  # of 360 examples there are
    assert estimate._step_seconds(few, SHALLOW, 360) == 0.01
    assert estimate._step_seconds(few, SHALLOW, 36) == pytest.approx(0.1)
    assert [step[3:6] for step in steps] == [(360, "float32", 2), (36, "float32", 1)]


def test_the_choice_that_is_expected_is_the_trials(steps: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(estimate, "expect", lambda *given: asked.append(given) or Choice(False, False))
    one = study()
    estimate._step_seconds(one, SHALLOW, 64)
    assert asked == [(SHALLOW, (1, 8, 8), 3, one.recipe, torch.device("cpu"), 360)]
    assert steps[0][7] == Choice(False, False)


@pytest.mark.parametrize(
    ("macs", "batch_size", "examples"),
    [
        (1, 64, 64),
        (1, 1000, 360),
        (10**8, 64, 64),  # 2e10 MACs are about 66 examples, a backward pass counted as two forward ones
        (2 * 10**8, 64, 33),
        (10**9, 64, 6),
        (10**10, 64, 2),
        (10**12, 64, 2),
    ],
)
def test_as_many_examples_are_timed_as_a_second_is_enough_for_two_at_the_least(
    macs: int, batch_size: int, examples: int
) -> None:
    assert estimate._examples(study(batch_size), Cost(1, macs, 1)) == examples


def test_a_gpu_is_given_a_hundred_times_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert estimate._device(study()).type == "cuda"
    assert estimate._examples(study(), Cost(1, 10**11, 1)) == 6


def test_from_the_first_network_on_that_is_too_dear_none_is_timed(steps: list[Any]) -> None:
    # Two examples of more than 10 x 2e10 MACs, three times: 33.3 G are the most.
    least = priced(1, 10, 33_333_333_333, 33_333_333_334, 5 * 10**10)
    assert [pair for pair, _ in estimate._timed(study(), least)] == least[:3]


def test_where_even_the_first_is_too_dear_a_resnet_20_on_two_examples_stands_in(steps: list[Any]) -> None:
    ((price, network), seconds), *others = estimate._timed(study(seeds=3, precision="bfloat16"), priced(10**12))
    assert not others
    assert network == Architecture.preset("resnet20-cifar")
    assert price == cost(network, (3, 32, 32), 10)
    assert seconds == pytest.approx(0.01 * 64 / 2)
    assert steps == [(network, (3, 32, 32), 10, 2, "bfloat16", 1, torch.device("cpu"), Choice(False, True), 2)]


def test_a_very_deep_network_is_timed_by_a_shallower_one_of_its_widths(steps: list[Any]) -> None:
    deep = SHALLOW.replace(depths=(300, 100))
    (((price, network), _),) = estimate._timed(study(), [(Cost(1, 1, 1), deep)])
    assert network == SHALLOW.replace(depths=(150, 50))
    assert price == cost(network, (1, 8, 8), 3)


@pytest.mark.parametrize(
    ("depths", "shallower"),
    [
        ((100, 100), (100, 100)),
        ((101, 100), (100, 99)),
        ((1, 399), (1, 199)),
        ((600, 200), (150, 50)),
    ],
)
def test_two_hundred_blocks_are_the_most_that_are_timed(depths: tuple[int, int], shallower: tuple[int, int]) -> None:
    found = estimate._shallow(SHALLOW.replace(depths=depths))
    assert found is not None
    assert (found.depths, found.widths) == (shallower, (4, 8))


def test_a_network_of_which_there_is_no_shallower_one_is_left_to_the_fit(
    steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = priced(1, 2, 3)
    monkeypatch.setattr(estimate, "_shallow", lambda network: None if network == networks[1][1] else network)
    assert [pair for pair, _ in estimate._timed(study(), networks)] == [networks[0], networks[2]]


@pytest.mark.parametrize(("took", "timed"), [(2.0, 5), (2.6, 4), (10.0, 2), (10.1, 1), (60.0, 1)])
def test_after_ten_seconds_no_further_network_is_timed(
    monkeypatch: pytest.MonkeyPatch, took: float, timed: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(estimate, "time", clock)

    def slow(study: Study, network: Architecture, examples: int) -> float:
        clock.now += took
        return 1.0

    monkeypatch.setattr(estimate, "_step_seconds", slow)
    assert len(estimate._timed(study(), priced(1, 2, 3, 4, 5))) == timed


def mean_of(timed: list[tuple[int, int, float]], networks: list[tuple[int, int]], **recipe: Any) -> float:
    """The seconds of an epoch of networks of (depth, MACs), a step of some of them timed as (depth, MACs, seconds)."""

    def made(blocks: int, macs: int) -> tuple[Cost, Architecture]:
        return Cost(1, macs, 1), SHALLOW.replace(depths=(blocks, blocks))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "_timed", lambda *given: [(made(*one), seconds) for *one, seconds in timed])
        return estimate.epoch_seconds(study(**recipe), [made(*one) for one in networks], 1)


def test_one_timed_network_says_the_seconds_of_a_mac() -> None:
    # 10 ns a MAC; the mean is of 2 M; 360 examples are 5 batches of 64, or one where a batch is larger.
    assert mean_of([(1, 10**6, 0.01)], [(1, 10**6), (9, 3 * 10**6)]) == pytest.approx(5 * 0.02)
    assert mean_of([(1, 10**6, 0.01)], [(1, 10**6)], batch_size=360) == pytest.approx(0.01)
    assert mean_of([(1, 10**6, 0.01)], [(1, 10**6)], batch_size=1000) == pytest.approx(0.01)
    assert mean_of([(1, 10**6, 0.01)], [(1, 10**6)], batch_size=181) == pytest.approx(0.01)


def test_several_say_what_a_step_a_layer_and_a_mac_take() -> None:
    def seconds(blocks: int, macs: int) -> float:
        depth = SHALLOW.replace(depths=(blocks, blocks)).depth
        return 0.003 + 0.0005 * depth + 2e-9 * macs

    timed = [(blocks, macs, seconds(blocks, macs)) for blocks, macs in ((1, 10**6), (5, 10**6), (2, 9 * 10**6))]
    networks = [(1, 10**6), (7, 4 * 10**6), (3, 10**7)]
    expected = 5 * sum(seconds(*one) for one in networks) / 3
    assert mean_of(timed, networks) == pytest.approx(expected)


def test_nothing_makes_a_step_shorter() -> None:
    # The deeper network was faster: depth is taken to cost nothing, so that no network takes less than none.
    timed = [(1, 10**6, 0.02), (9, 10**6, 0.01), (1, 2 * 10**6, 0.03)]
    assert mean_of(timed, [(500, 1)]) > 0


def test_the_threads_of_a_trial_are_used_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, used = torch.get_num_threads(), []

    def timed(*given: Any) -> Any:
        used.append(torch.get_num_threads())
        raise ZeroDivisionError

    monkeypatch.setattr(estimate, "_timed", timed)
    with pytest.raises(ZeroDivisionError):
        estimate.epoch_seconds(study(), priced(1), before + 1)
    assert used == [before + 1]
    assert torch.get_num_threads() == before


def test_a_space_is_listed_whole_up_to_five_thousand_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {"search": {"depth": [8, 14, 20], "width": [4, 6]}}
    asked = Study.from_dict({"space": space, "data": {"name": "synthetic"}, "search": {"trials": 2}, "seed": 3})
    networks = list(asked.search_space.enumerate())
    for listed, points, is_whole in ((6, 6, True), (5, 6, False), (6, 5, False), (9, 9, True)):
        monkeypatch.setattr(estimate, "_LISTED", listed)
        monkeypatch.setattr(estimate, "LISTED_POINTS", points)
        found, is_complete = estimate.known_networks(asked)
        assert is_complete is is_whole
        if is_whole:
            assert found == networks
        else:
            assert len(found) == 1000
            assert set(found) == set(networks)


def test_drawing_stops_after_five_seconds_with_one_network_at_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(estimate, "time", clock)
    monkeypatch.setattr(estimate, "LISTED_POINTS", 1)
    asked = study()
    (one,) = {network for network in asked.search_space.enumerate() if network.depth == 8}
    for took, drawn in ((1.0, 5), (5.0, 1), (2.5, 2), (9.0, 1)):

        def slow(space: Any, chance: Any, took: float = took) -> Architecture:
            clock.now += took
            return one

        monkeypatch.setattr(SearchSpace, "sample_one", slow)
        clock.now += 1
        found = estimate.known_networks(asked)
        assert found == ([one] * drawn, False)
