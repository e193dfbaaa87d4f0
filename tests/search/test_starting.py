"""What a search begins with: points to try first, earlier studies, a random baseline; and what `check` warns of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ressearch
from ressearch import Architecture, Study, load
from ressearch.errors import StudyError
from ressearch.networks.cost import cost
from ressearch.reporting.evidence import of_results
from ressearch.reporting.tables import page_tables
from ressearch.results.schema import macs_trained
from ressearch.search.advice import warnings_of
from ressearch.search.phases import _drawn
from ressearch.search.proposer import Proposer

SPACE = {"skip": ["none", "identity"], "depth": [8, 14], "width": {"low": 4, "high": 8}}
RECIPE = {"epochs": 3, "seeds": 2, "gradient_clip": 1.0}


def study(space: dict[str, Any] = SPACE, **search: Any) -> Study:
    """A search on the data of `small_run`."""
    recipe = {**RECIPE, **search.pop("recipe", {})}
    data = search.pop("data", {"name": "digits"})
    section = {"trials": 10, "sampler": "tpe", **search}
    return Study.from_dict({"space": {"search": space}, "data": data, "recipe": recipe, "search": section})


def proposed(proposer: Proposer, trials: int) -> list[Architecture]:
    configs = [proposer.suggest(str(number)) for number in range(trials)]
    return [Architecture.from_dict(config["architecture"]) for config in configs]


def told(proposer: Proposer) -> dict[Architecture, float]:
    """What the sampler was told of other studies: values by network."""
    assert proposer.sampling is not None
    from ressearch.spaces.trials import FixedTrial

    trials = [one for one in proposer.sampling.optuna_study.get_trials() if "trial" not in one.user_attrs]
    space = proposer._study.search_space
    return {space.suggest(FixedTrial(one.params)): one.value for one in trials}


def test_points_come_in_their_order_and_the_sampler_learns_what_they_reach() -> None:
    inside = Architecture(depths=(1, 1, 1), widths=(5, 10, 20), skip="none")
    points = [
        {"depth": 14, "skip": "identity"},
        inside.name,
        "resnet20-cifar",
        {"width": 7, "depth": 8, "skip": "none"},
    ]
    proposer = Proposer(study(points=points))
    first, second, third, fourth = proposed(proposer, 4)
    assert (first.depth, first.skip) == (14, "identity")
    assert (second, third) == (inside, Architecture.preset("resnet20-cifar"))
    assert (fourth.widths[0], fourth.depth, fourth.skip) == (7, 8, "none")
    for number in range(4):
        proposer.on_trial_complete(str(number), {"val_accuracy": 0.1 * number, "epoch": 3})
    assert proposer.sampling is not None
    known = {one.user_attrs["trial"]: one.value for one in proposer.sampling.optuna_study.get_trials()}
    assert known == {0: 0.0, 1: 0.1, 3: pytest.approx(0.3)}  # the preset lies outside the space
    assert ["is not of this space" in one for one in warnings_of(study(points=points))] == [True]


def test_points_are_found_again_by_a_resumed_study() -> None:
    points = [{"depth": 14}, {"width": 7}]
    assert proposed(Proposer(study(points=points)), 2) == proposed(Proposer(study(points=points)), 2)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"depth": 14, "skip": "identity"}, "is beyond the constraints"),
        ("resnet56-cifar", "resnet56-cifar is beyond the constraints"),
        ({"depth": 8, "width": 9}, "width: 9 is not in the space; expected 4 to 8"),
        ({"depth": 8, "widht": 8}, "widht: no question of this space; did you mean 'width'?"),
    ],
)
def test_a_point_beyond_the_constraints_is_refused(point: Any, said: str) -> None:
    macs = cost(Architecture(depths=(1, 1, 1), widths=(5, 10, 20)), (1, 8, 8), 10).macs
    with pytest.raises(StudyError, match=r"^study:\d+: search\.points\.1: ") as caught:
        study(points=[{"depth": 8}, point], constraints={"max_macs": macs})
    assert said in str(caught.value)


def test_a_grid_warms_a_search_up_with_its_values(small_run: Path) -> None:
    again = study(warm_start=str(small_run))
    proposer = Proposer(again)
    trials = load(small_run).trials
    by_name = dict(zip(trials["name"], trials["val_accuracy"], strict=True))
    assert {network.name: value for network, value in told(proposer).items()} == by_name
    networks = proposed(proposer, 10)
    assert len(set(networks)) == 10
    assert not {one.name for one in networks} & set(by_name)  # same seeds too: trained before
    assert warnings_of(again) == []
    other_seeds = Proposer(study(warm_start=str(small_run), recipe={"seeds": 1}))
    assert len(told(other_seeds)) == 4


@pytest.mark.parametrize(
    "changes", [{"recipe": {"epochs": 4}}, {"data": {"name": "digits", "validation": 0.3}}], ids=["recipe", "split"]
)
def test_values_that_are_not_comparable_are_not_told_and_the_best_networks_come_first(
    small_run: Path, changes: dict[str, Any]
) -> None:
    trials = load(small_run).trials.sort_values("val_accuracy", ascending=False, kind="stable")
    other = study(warm_start=str(small_run), trials=20, **changes)
    proposer = Proposer(other)
    assert told(proposer) == {}
    assert [one.name for one in proposed(proposer, 2)] == trials["name"].tolist()[:2]
    (warning,) = warnings_of(other)
    assert warning.startswith("study:")
    assert "search.warm_start.0: " in warning
    assert "not comparable" in warning


def test_an_earlier_study_of_another_space_is_said_to_tell_nothing(small_run: Path) -> None:
    elsewhere = study({"block": "bottleneck", "depth": [29], "width": [4, 8]}, warm_start=str(small_run), trials=2)
    assert told(Proposer(elsewhere)) == {}
    (warning,) = warnings_of(elsewhere)
    assert "none of its 4 fully trained networks lies in this space" in warning


def test_a_random_baseline_repeats_no_network_and_is_drawn_the_same_again() -> None:
    searched = study(baseline="random", trials=20)
    space = searched.search_space
    examples = len(searched.splits().train)

    def macs(network: Architecture) -> float:
        row = {"macs": cost(network, space.input_shape, space.num_classes).macs, "seeds": searched.recipe.seeds}
        return macs_trained(row, examples, 3)

    every = list(space.enumerate())
    for share in (0.05, 0.3, 0.9):
        wanted = share * sum(map(macs, every))
        drawn = [network for network, _ in _drawn(searched, wanted, examples)]
        assert drawn == [network for network, _ in _drawn(searched, wanted, examples)]
        assert len(set(drawn)) == len(drawn)
        assert sum(map(macs, drawn)) == pytest.approx(wanted, abs=max(map(macs, every)))
    assert len(_drawn(searched, 9 * sum(map(macs, every)), examples)) == len(every)


@pytest.mark.parametrize("epochs", [3, 5])
def test_the_winners_curse_is_counted_where_finalists_train_as_long_as_the_search(small_run: Path, epochs: int) -> None:
    results = load(small_run)
    final = results.trials.head(2).copy()
    final["of_trial"], final["trial"] = final["trial"], final["trial"] + 10
    final["phase"], final["epochs"] = "final", epochs
    final["seed_val_accuracies"] = [[0.5, 0.5], [0.5, 0.5]]
    final["seed_test_accuracies"] = [[0.4, 0.6], [0.4, 0.6]]
    trials = pd.concat([results.trials, final], ignore_index=True)
    object.__setattr__(results, "trials", trials)
    note = page_tables(of_results(results))["finalists"].note
    gap = results.trials["val_accuracy"].head(2).mean() - 0.5
    if epochs == 3:
        assert f"is {abs(gap):.3f} {'lower' if gap > 0 else 'higher'} on average than in the search" in note
    else:
        assert "trained for 5 epochs and not for 3 as in the search" in note
        assert "lower" not in note
        assert "higher" not in note


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median", "fifo"])
def test_check_warns_of_a_scheduler_that_judges_one_cycle_by_its_early_epochs(scheduler: str) -> None:
    for schedule, is_warned in (("one_cycle", scheduler != "fifo"), ("cosine", False)):
        found = ressearch.check(study(scheduler=scheduler, recipe={"schedule": schedule}))
        assert [f"{scheduler} judges networks by early epochs" in one for one in found["warnings"]] == [
            True
        ] * is_warned


def test_check_prints_a_warning_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ressearch.cli import main

    file = tmp_path / "late.yaml"
    file.write_text(
        f"space: {{search: {json.dumps(SPACE)}}}\ndata: {{name: synthetic}}\nrecipe: {{epochs: 2}}\n"
        "search:\n  trials: 4\n  scheduler: asha\n"
    )
    main(["check", str(file)])
    said = capsys.readouterr().out
    assert f"warning    {file}:6: search.scheduler: asha judges networks by early epochs" in " ".join(said.split("\n"))


def test_a_search_with_several_objectives_is_warned_that_stopped_trials_teach_some_samplers_nothing() -> None:
    for sampler, is_warned in (("nsga2", True), ("gp", True), ("tpe", False)):
        several = study(
            sampler=sampler,
            scheduler="asha",
            objective=["val_accuracy", "macs"],
            recipe={"schedule": "cosine"},
        )
        assert [f"{sampler} learns nothing from trials that asha stops" in one for one in warnings_of(several)] == [
            True
        ] * is_warned


def test_lists_in_a_space_mean_choices_as_the_page_says() -> None:
    from ressearch import SearchSpace

    def values(key: str, value: Any) -> set[Any]:
        space = SearchSpace({"width": 8, "blocks_per_stage": 1, key: value} if key != "depths" else {key: value})
        return {getattr(one, key) for one in space.enumerate()}

    assert values("depths", [3, 4, 6]) == {(3, 4, 6)}
    assert values("depths", [[3, 4, 6], [2, 2, 2]]) == {(3, 4, 6), (2, 2, 2)}
    assert values("kernel_size", [3, 5]) == {3, 5}
    assert values("kernel_size", [[3, 5, 3]]) == {(3, 5, 3)}


def test_the_seed_of_a_study_decides_its_split_and_its_draws() -> None:
    one, same, other = (study(sampler="random").model_copy(update={"seed": seed}) for seed in (1, 1, 2))
    assert one.splits().fingerprint == same.splits().fingerprint != other.splits().fingerprint
    assert proposed(Proposer(one), 8) == proposed(Proposer(same), 8) != proposed(Proposer(other), 8)


def test_the_page_says_how_large_a_space_is_searched_to_its_end() -> None:
    from ressearch.limits import LISTED_POINTS

    text = (Path(__file__).parents[2] / "docs/search.md").read_text()
    assert f"up to {LISTED_POINTS:,} points is searched until nothing is left" in " ".join(text.split())
