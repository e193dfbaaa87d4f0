"""What a study observed, and which of its trials were drawn without looking at results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from results.made import RUN, point, results, row

from ressearch import Architecture
from ressearch.picking.fresh import append_line
from ressearch.picking.observations import drawn_evenly, observe
from ressearch.picking.presets import FILE, PresetTrained
from ressearch.picking.verified import VERIFIED, Verified
from ressearch.results.store import Results


def a_study(
    rows: list[dict[str, Any]],
    curves: list[dict[str, Any]] | None = None,
    epochs: int = 8,
    grid: bool = False,
    **search: Any,
) -> Results:
    space = {"grid": {"depth": [8]} if grid else None, "search": None}
    told = {"space": space, "recipe": {"epochs": epochs}, "search": {"sampler": None, "points": [], **search}}
    return results(rows, curves or [], {**RUN, "study": told, "examples": {"validation": 100}})


def trial(number: int, scores: tuple[float, ...] = (0.5, 0.6), epochs: int = 8, **values: Any) -> dict[str, Any]:
    told = {"epochs": epochs, "seed_val_accuracies": list(scores), "proposal": number}
    return row(number, float(np.mean(scores)), **{**told, **values})


SEARCHED = [trial(number) for number in range(30)]


@pytest.mark.parametrize(
    ("search", "even"),
    [
        ({"sampler": {"name": "random"}}, range(30)),
        ({"sampler": {"name": "qmc", "scramble": True}}, range(30)),
        ({"sampler": {"name": "grid"}}, range(30)),
        ({"grid": True}, range(30)),
        ({}, range(10)),
        ({"sampler": {"name": "tpe"}}, range(10)),
        ({"sampler": {"name": "tpe", "n_startup_trials": 4}}, range(4)),
        ({"sampler": {"name": "tpe", "options": {"n_startup_trials": 4}}}, range(4)),
        ({"sampler": {"name": "gp"}}, range(10)),
        ({"sampler": {"name": "cmaes"}}, range(1)),
        ({"sampler": {"name": "nsga2"}}, range(20)),
        ({"sampler": {"name": "nsga3", "population_size": 7}}, range(7)),
        ({"sampler": {"name": "a plugin's"}}, range(0)),
        ({"points": [{"depth": 8}, {"depth": 14}]}, range(2, 10)),
        ({"points": [{"depth": 8}, {"depth": 14}], "sampler": {"name": "random"}}, range(2, 30)),
        ({"warm_start": ["before"]}, range(0)),
    ],
    ids=str,
)
def test_trials_of_samplers_that_do_not_look_at_results_are_even(search: dict[str, Any], even: range) -> None:
    assert drawn_evenly(a_study(SEARCHED, **search)) == set(even)


def test_the_baseline_and_fresh_seeds_are_even_whatever_the_search_is() -> None:
    rows = [trial(0), trial(1, phase="baseline", proposal=None), trial(2, phase="final", of_trial=0, proposal=None)]
    assert drawn_evenly(a_study(rows, warm_start=["before"])) == {1, 2}
    assert drawn_evenly(a_study(rows, sampler={"name": "random"})) == {0, 1, 2}


def test_proposals_count_not_numbers_of_trials() -> None:
    rows = [trial(number, proposal=number + 5) for number in range(30)]
    assert drawn_evenly(a_study(rows)) == set(range(5))


def test_every_ended_trial_is_seen_at_its_last_epoch() -> None:
    rows = [
        trial(0, (0.5, 0.7)),
        trial(1, (0.2, 0.4), epochs=2, status="stopped"),
        trial(2, status="failed"),
        trial(3, status="diverged"),
        trial(4, status="interrupted"),
        trial(5, epochs=0, status="stopped"),
        trial(6, epochs=20, phase="final"),
        trial(7, epochs=4),
        trial(8, (0.9, float("nan"))),
    ]
    seen = observe(a_study(rows))
    assert seen.accuracy.tolist() == pytest.approx([0.6, 0.3])
    assert seen.share.tolist() == [1.0, 0.25]
    assert seen.is_full.tolist() == [True, False]
    assert seen.is_last.tolist() == [True, True]
    assert [one.widths for one in seen.networks] == [(2,), (3,)]
    assert seen.network.tolist() == [0, 1]
    assert seen.floor == 0.005
    assert seen.is_even.tolist() == [True, True]


def curve(number: int, epochs: int, seeds: int = 2) -> list[dict[str, Any]]:
    return [
        {"trial": number, **point(epoch, seed, 0.01 * epoch + 0.1 * seed)}
        for epoch in range(1, epochs + 1)
        for seed in range(seeds)
    ]


def test_completed_trials_are_seen_at_halved_epochs_where_others_were_stopped() -> None:
    curves = curve(0, 12) + curve(1, 3)
    curves[2]["val_accuracy"] = float("nan")  # of epoch 2, which is not looked at
    curves[4]["val_accuracy"] = float("nan")  # of epoch 3
    rows = [trial(0, epochs=12), trial(1, epochs=3, status="stopped")]
    seen = observe(a_study(rows, curves, epochs=12))
    assert (seen.share * 12).round(6).tolist() == [12, 1, 6, 3]  # a quarter is no number, an eighth is 1
    assert seen.accuracy.tolist() == pytest.approx([0.55, 0.06, 0.11, 0.55])
    assert seen.is_last.tolist() == [True, False, False, True]
    assert seen.network.tolist() == [0, 0, 0, 1]
    rows[1] = trial(1, epochs=12)
    assert observe(a_study(rows, curves, epochs=12)).share.tolist() == [1, 1]


def test_equal_networks_are_one() -> None:
    same = {key: trial(0)[key] for key in ("widths", "name", "stem_width")}
    seen = observe(a_study([trial(0), trial(1), {**trial(2), **same}]))
    assert seen.network.tolist() == [0, 1, 0]


def test_the_variance_of_a_mean_is_that_of_its_seeds_and_single_ones_say_nothing() -> None:
    seen = observe(a_study([trial(0, (0.5, 0.6)), trial(1, (0.5, 0.6))]))
    assert seen.variance.tolist() == pytest.approx([0.005 / 2] * 2)
    assert np.isnan(observe(a_study([trial(0, (0.5,)), trial(1, (0.6,))])).variance).all()
    rounded = observe(a_study([trial(0, (0.5, 0.5)), trial(1, (0.5, 0.5))])).variance
    assert rounded.tolist() == pytest.approx([0.01**2 / 12 / 2] * 2)


def test_a_study_without_its_file_trains_as_many_epochs_as_its_longest_trial() -> None:
    bare = dataclasses.replace(a_study([trial(0), trial(1, epochs=2, status="stopped")]), run=dict(RUN))
    assert observe(bare).share.tolist() == [1.0, 0.25]
    assert observe(bare).floor == 0.0005
    stopped = dataclasses.replace(a_study([trial(0, epochs=1, status="stopped")]), run=dict(RUN))
    assert observe(stopped).share.tolist() == [1.0]


def test_rows_may_be_chosen() -> None:
    seen = observe(a_study(SEARCHED[:5]))
    chosen = seen.rows(np.array([4, 1]))
    assert chosen.network.tolist() == [4, 1]
    assert chosen.networks == seen.networks
    assert [len(column) for column in chosen[1:7]] == [2] * 6
    assert isinstance(seen.share, np.ndarray)
    assert not isinstance(seen.share, pd.Series)


def test_what_was_trained_beside_a_study_is_seen_too(tmp_path: Path) -> None:
    told = a_study([trial(0, (0.5, 0.6)), trial(1)])
    own = told.trials["name"].iloc[0]
    made = dataclasses.replace(told, directory=tmp_path)
    verified = Verified("basic-d1.1-w4.8", (7, 8), (0.7, 0.8), 0.75, 0.7, 0.6, 0.8, 1.0)
    again = dataclasses.replace(verified, name=own, seed_val_accuracies=(0.9, 0.7), val_accuracy=0.8)
    for one in (verified, again):
        append_line(tmp_path / VERIFIED, dataclasses.asdict(one))
    name = Architecture.preset("resnet20-cifar").name
    for preset, epochs, scores, problem in (
        ("resnet20-cifar", 8, (0.3, 0.4), None),
        ("resnet32-cifar", 4, (0.3, 0.4), None),  # trained for another number of epochs
        ("resnet44-cifar", 8, (), "diverged"),
    ):
        line = PresetTrained(preset, name, epochs, (7, 8), scores, 1.0, 1.0, problem)
        append_line(tmp_path / FILE, dataclasses.asdict(line))
    found = observe(made)
    networks = [one.name for one in found.networks]
    assert [networks[at] for at in found.network] == [own, told.trials["name"].iloc[1], verified.name, own, name]
    np.testing.assert_allclose(found.accuracy, [0.55, 0.55, 0.75, 0.8, 0.35])
    assert found.share.tolist() == [1.0] * 5
    assert found.is_last.all()
    assert found.is_even.tolist() == [True, True, True, True, False]
    assert len(observe(told).share) == 2


def test_lines_of_networks_that_are_unknown_here_are_left_out(tmp_path: Path) -> None:
    made = dataclasses.replace(a_study([trial(0)]), directory=tmp_path)
    lost = Verified("nothing-of-the-kind", (7,), (0.7,), 0.7, 0.7, 0.6, 0.8, 1.0)
    append_line(tmp_path / VERIFIED, dataclasses.asdict(lost))
    assert len(observe(made).share) == 1
