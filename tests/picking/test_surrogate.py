"""Predictions of networks that were not trained: right where the truth is known, and refused where nothing is."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from surrogate import CLASSES, EPOCHS, EXAMPLES, SHAPE, SPACE, Truth, fresh, held, row_of, study

import ressearch.picking.surrogate
from ressearch import Architecture, SearchSpace
from ressearch.errors import StudyError
from ressearch.picking.surrogate import Prediction, Surrogate, _quantile
from ressearch.results.store import Results
from ressearch.spaces.columns import columns


@pytest.fixture(scope="module")
def random_study() -> Results:
    return study(Truth(), trials=60, seeds=3, seed=3)


@pytest.fixture(scope="module")
def surrogate(random_study: Results) -> Surrogate:
    return Surrogate.of(random_study)


def with_run(results: Results, **search: Any) -> Results:
    """A study whose file says something else about its search."""
    told = {**results.run["study"], "search": {**results.run["study"]["search"], **search}}
    return dataclasses.replace(results, run={**results.run, "study": told})


def test_intervals_hold_for_nine_in_ten_fresh_networks_of_fresh_studies() -> None:
    inside, refused = [], []
    for seed in range(6):
        networks, obtained = fresh(Truth(), 2, 60, seed)
        prediction = Surrogate.of(study(Truth(), trials=40, seeds=2, seed=seed)).predict(networks)
        inside.append(held(prediction, obtained).mean())
        refused.append(prediction.beyond.mean())
    assert 0.85 <= np.mean(inside) <= 0.96
    assert np.mean(refused) < 0.06


def test_predictions_are_near_the_truth_and_in_its_order(surrogate: Surrogate) -> None:
    networks, _ = fresh(Truth(), 3, 80, 5)
    truth = np.array([1 - np.exp(Truth().log_error(one)) for one in networks])
    prediction = surrogate.predict(networks)
    assert np.corrcoef(prediction.mean, truth)[0, 1] > 0.95
    assert np.abs(prediction.mean - truth).mean() < 0.04
    assert (prediction.low < prediction.mean).all()
    assert (prediction.mean < prediction.high).all()


def test_noise_of_single_seeds_is_not_taken_for_signal() -> None:
    truth = Truth(is_noise=True, seeds=0.2)
    spreads, inside = [], []
    for seed in range(3):
        prediction = Surrogate.of(study(truth, trials=40, seeds=1, seed=seed)).predict(fresh(truth, 1, 60, seed)[0])
        spreads.append(np.std(prediction.mean))
        inside.append(held(prediction, fresh(truth, 1, 60, seed)[1]).mean())
    assert np.mean(spreads) < 0.01  # of accuracies that scatter by 0.04
    assert 0.8 <= np.mean(inside) <= 0.99


def test_networks_stopped_early_tell_of_full_training() -> None:
    results = study(Truth(), trials=50, seeds=2, seed=1, share_stopped=0.6)
    surrogate = Surrogate.of(results)
    networks, obtained = fresh(Truth(), 2, 60, 1)
    prediction = surrogate.predict(networks)
    assert np.abs(prediction.mean - obtained).mean() < 0.05  # the stopped ones themselves are lower by 0.1 and more
    assert held(prediction, obtained).mean() >= 0.8
    facts = surrogate.facts
    assert facts["trials"] == 50
    assert facts["stopped_early"] == (results.trials["status"] == "stopped").sum()
    assert facts["fully_trained"] == 50 - facts["stopped_early"]
    assert facts["observations"] > 50  # completed ones are seen at earlier epochs too
    assert facts["held_out"]["n"] == facts["fully_trained"]


def test_more_seeds_and_less_noise_give_narrower_intervals() -> None:
    networks, _ = fresh(Truth(), 1, 40, 1)

    def width(prediction: Prediction) -> float:
        return float((prediction.high - prediction.low).mean())

    quiet, loud = (Surrogate.of(study(Truth(seeds=one), 60, 2, 0)).predict(networks) for one in (0.02, 0.3))
    assert 2 * width(quiet) < width(loud)


def test_networks_unlike_all_that_were_trained_are_beyond(surrogate: Surrogate, random_study: Results) -> None:
    trained = Architecture(depths=(3, 3, 3), widths=(16, 16, 16))
    far = Architecture(depths=(90, 90, 90), widths=(16, 16, 16))
    wide = Architecture(depths=(3, 3, 3), widths=(900, 900, 900))
    foreign = Architecture(depths=(3, 3, 3), widths=(16, 16, 16), skip="rezero")
    two_stages = Architecture(depths=(3, 3), widths=(16, 16))
    four_stages = Architecture(depths=(3, 3, 3, 3), widths=(16, 16, 16, 16))
    told = surrogate.predict([trained, far, wide, foreign, two_stages, four_stages])
    assert told.beyond.tolist() == [False, True, True, True, True, True]
    assert told.refused == 5
    again = surrogate.predict([ressearch.picking.surrogate.observe(random_study).networks[0]])
    assert again.refused == 0


def test_columns_and_architectures_are_predicted_alike(surrogate: Surrogate) -> None:
    space = SearchSpace({**SPACE, "dropout": [0.0, 0.1]}, input_shape=SHAPE, num_classes=CLASSES)
    found = columns(space, 300, 9)
    together = surrogate.predict(found)
    alone = surrogate.predict([found.architecture(row) for row in range(len(found))])
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one, other, atol=1e-5)
    assert len(surrogate.predict(found[np.zeros(len(found), bool)]).mean) == 0
    assert len(surrogate.predict([]).mean) == 0


def test_of_many_networks_the_best_have_their_full_figures(
    surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SearchSpace(SPACE, input_shape=SHAPE, num_classes=CLASSES)
    found = columns(space, 3000, 4)
    full = surrogate.predict(found)
    monkeypatch.setattr(ressearch.picking.surrogate, "_FULL", 150)
    monkeypatch.setattr(ressearch.picking.surrogate, "_BEST", 40)
    some = surrogate.predict(found)
    assert np.array_equal(some.beyond, full.beyond)
    assert np.allclose(some.mean, full.mean, atol=1e-6)
    usable = np.flatnonzero(~full.beyond)
    best = usable[np.argsort(-full.low[usable])[:40]]
    assert np.allclose(some.low[best], full.low[best], atol=1e-6)
    assert (some.low <= full.low + 1e-6).all()
    assert (some.high >= full.high - 1e-6).all()
    assert (some.low < full.low - 1e-3).sum() > 500  # most had no need of it


def test_networks_are_left_out_of_what_predicts_them(random_study: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[set[tuple[float, ...]]] = []
    held_out: list[tuple[float, ...]] = []

    class Watched(ressearch.picking.surrogate.Process):
        def __init__(self, inputs: np.ndarray, *arguments: Any) -> None:
            learned.append({tuple(one) for one in inputs.tolist()})
            super().__init__(inputs, *arguments)

        def predict(self, inputs: np.ndarray) -> Any:
            asked = [tuple(one) for one in inputs.tolist()]
            assert learned[-1].isdisjoint(asked)
            assert len(learned[-1]) + len(asked) == 60
            held_out.extend(asked)
            return super().predict(inputs)

    monkeypatch.setattr(ressearch.picking.surrogate, "Process", Watched)
    Surrogate.of(random_study)
    assert len(held_out) == len(set(held_out)) == 60
    assert len(learned) == 11


def test_the_same_study_gives_the_same_predictions(surrogate: Surrogate, random_study: Results) -> None:
    networks, _ = fresh(Truth(), 1, 20, 2)
    again = Surrogate.of(random_study)
    assert again.facts == surrogate.facts
    assert np.array_equal(again.predict(networks).low, surrogate.predict(networks).low)


def test_facts_are_json_and_say_what_was_seen(surrogate: Surrogate) -> None:
    facts = json.loads(json.dumps(surrogate.facts))
    assert facts["trials"] == facts["networks"] == facts["fully_trained"] == facts["observations"] == 60
    assert {"log macs", "log params", "skip none", "log blocks of stage 2", "log width of stage 3"} <= set(
        facts["columns"]
    )
    assert facts["calibration"]["on"] == "drawn at random"
    assert facts["calibration"]["n"] == facts["calibration"]["drawn_at_random"] == 60
    assert 0.8 <= facts["calibration"]["coverage"]["drawn at random"] <= 1
    assert facts["calibration"]["coverage"]["chosen by the search"] is None
    assert facts["held_out"]["r2"] > 0.8
    assert facts["held_out"]["spearman"] > 0.9
    assert 0 < facts["held_out"]["mean_absolute_error"] < 0.06
    assert str(surrogate).splitlines()[0] == "predicted from 60 trials of 60 networks (0 stopped early)"
    assert "90 % intervals scaled on 60 trials drawn at random or on fresh seeds" in str(surrogate)
    assert "they held for" in str(surrogate)


def test_intervals_are_scaled_on_what_was_drawn_at_random_alone() -> None:
    results = study(Truth(), trials=60, seeds=2, seed=2, sampler="tpe")
    calibration = Surrogate.of(results).facts["calibration"]
    assert (calibration["on"], calibration["n"]) == ("drawn at random", 10)
    assert calibration["coverage"]["chosen by the search"] is not None
    few = Surrogate.of(with_run(results, sampler={"name": "tpe", "n_startup_trials": 9}))
    calibration = few.facts["calibration"]
    assert (calibration["on"], calibration["n"], calibration["drawn_at_random"]) == ("all", 60, 9)
    assert "9 trials were drawn at random or had fresh seeds, too few to scale the 90 % intervals on" in str(few)


def test_too_few_trials_are_refused() -> None:
    results = study(Truth(), trials=31, seeds=1, seed=0)
    trials = results.trials
    trials.loc[0, "status"] = "diverged"
    assert Surrogate.of(results).facts["diverged"] == 1
    trials.loc[1, "status"] = "failed"
    with pytest.raises(
        StudyError, match=r"^made: 29 trials trained an epoch or more; .* that were not trained needs 30$"
    ):
        Surrogate.of(results)


def test_equal_networks_are_refused() -> None:
    results = study(Truth(), trials=30, seeds=1, seed=0)
    network = Architecture(depths=(1, 1, 1), widths=(4, 8, 8))
    for trial in range(30):
        for key, value in row_of(trial, network, [0.5], EPOCHS, "completed").items():
            results.trials.at[trial, key] = value
    with pytest.raises(StudyError, match="every trained network is the same"):
        Surrogate.of(results)


def test_networks_for_other_inputs_are_refused(surrogate: Surrogate) -> None:
    found = columns(SearchSpace(SPACE, input_shape=(3, 32, 32)), 10)
    with pytest.raises(StudyError, match=r"for inputs of shape \(3, 32, 32\); the study's have \(1, 8, 8\)"):
        surrogate.predict(found)


def test_perfect_networks_are_predicted_no_better_than_the_data_can_tell() -> None:
    results = study(Truth(of_macs=2.0, seeds=0.01), trials=40, seeds=1, seed=0)
    assert (results.trials["val_accuracy"] == 1).any()
    prediction = Surrogate.of(results).predict(fresh(Truth(), 1, 30, 0)[0])
    assert np.isfinite(prediction.mean).all()
    assert (prediction.high <= 1).all()
    assert (prediction.low >= 0).all()
    assert prediction.mean.max() < 1 - 0.01 / EXAMPLES


@pytest.mark.parametrize(
    ("misses", "factor"),
    [(range(1, 11), 10), (range(1, 20), 18), (range(1, 101), 91), (range(1, 5), 4)],
)
def test_the_scale_is_the_conformal_quantile(misses: range, factor: float) -> None:
    assert _quantile(np.array(misses[::-1], float)) == factor


def test_without_any_misses_the_scale_is_the_normal_one() -> None:
    assert _quantile(np.zeros(0)) == pytest.approx(1.6449, abs=1e-4)
