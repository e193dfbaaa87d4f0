"""What the report says of the importance of axes, on tables whose answer is known."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from made_tables import claimed, search

import ressearch
from ressearch.reporting.claims import Claim
from ressearch.reporting.claims.importance import classes_of
from ressearch.statistics.importance import divergence, importances


def important(table: pd.DataFrame) -> list[Claim]:
    return [one for one in claimed("axes", table) if one.kind == "axis_importance"]


def test_the_only_axis_that_matters_has_nearly_all_importance() -> None:
    whole, half = important(search(400, seeds=1, of_depth=0.0))
    found = whole.more["importances"]
    assert whole.subject == {"axis": "skip", "among": "all networks"}
    assert whole.estimate > 0.8
    assert found["depth"]["high"] < 0.2
    assert found["width"]["high"] < 0.2
    assert sum(one["share"] for one in found.values()) == pytest.approx(1)
    assert whole.low <= whole.estimate <= whole.high
    assert whole.sentence.startswith("What sets the best quarter of all 400 networks apart is above all skip (9")
    assert "; width and depth do so no more than chance. " in whole.sentence or (
        "; depth and width do so no more than chance. " in whole.sentence
    )
    assert whole.sentence.endswith(
        " This is of the networks as they were drawn, and a sampler that learns draws unevenly."
    )
    assert half.more["importances"]["skip"]["share"] == 0  # the better half has skips, all of it
    assert half.n == 200


def test_what_only_tells_failures_from_others_matters_less_within_the_better_half() -> None:
    whole, half = important(search(1000, seeds=1))
    assert whole.more["importances"]["skip"]["share"] > 0.4
    assert half.subject == {"axis": "depth", "among": "the better half"}
    assert half.more["importances"]["skip"]["share"] < 0.2


def test_where_no_axis_matters_none_is_named() -> None:
    rng = np.random.default_rng(1)
    table = search(60, seeds=1).assign(val_accuracy=rng.normal(0.8, 0.01, 60))
    whole, _ = important(table)
    assert whole.sentence == "No axis sets the best quarter of all 60 networks apart by more than chance would."
    assert whole.p is not None
    assert whole.p > 0.05


def test_networks_that_are_all_alike_have_no_best_quarter() -> None:
    whole, _ = important(search(60, seeds=1).assign(val_accuracy=0.8))
    assert whole.sentence == "Of all 60 networks no quarter stands out: their accuracies are alike."
    assert whole.estimate is None


def test_few_networks_are_refused_once() -> None:
    (refused,) = important(search(19))
    assert refused.sentence == (
        "Which axes set the best networks apart is not said: that takes 20 fully trained networks, and there are 19."
    )
    assert (refused.estimate, refused.low, refused.high) == (None, None, None)
    whole, half = important(search(39))
    assert whole.estimate is not None
    assert half.sentence == (
        "Which axes set the best networks apart within the better half is not said: that takes 40 fully trained "
        "networks, and there are 39."
    )


def test_an_axis_that_another_determines_is_named_with_it() -> None:
    table = search(100, seeds=1, of_depth=0.0).rename(columns={"skip": "block"})
    table["block"] = np.where(table["block"] == "identity", "bottleneck", "basic")
    table["bottleneck_ratio"] = np.where(table["block"] == "basic", 1.0, 0.25)
    whole, _ = important(table)
    assert set(whole.more["importances"]) == {"block", "depth", "width"}
    assert "above all block with bottleneck ratio (" in whole.sentence


def test_divergence_by_hand() -> None:
    """Of 8 networks 4 have skips; of the best 2 both have: the densities of Optuna's estimator, worked out by hand.

    The kernel of a value seen is (1/m + [same]) / (C/m + 1), m being the values seen and one; the prior is one network.
    All: m = 3, each value (8/3 + 4) / (5/3) = 4 and 1/2, over 9: 1/2 each.
    Best: m = 2, with skips (2/2 + 2) / (2/2 + 1) = 3/2 and 1/2, over 3: 2/3; without (2/2) / 2 = 1/2 and 1/2: 1/3.
    """
    by_hand = 0.5 * ((2 / 3) / 0.5 - 1) ** 2 + 0.5 * ((1 / 3) / 0.5 - 1) ** 2
    assert by_hand == pytest.approx(1 / 9)
    assert divergence(np.array([0.0, 2.0]), np.array([4.0, 4.0])) == pytest.approx(by_hand)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_shares_are_those_of_optunas_evaluator() -> None:
    rng = np.random.default_rng(0)
    axes = {"a": rng.integers(2, size=80), "b": rng.integers(3, size=80), "c": rng.integers(5, size=80)}
    score = axes["a"] + 0.4 * axes["c"] + rng.normal(size=80)
    known: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(range(int(one.max()) + 1)) for name, one in axes.items()
    }
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: int(one[at]) for name, one in axes.items()}, distributions=known, value=float(score[at])
            )
            for at in range(80)
        ]
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator
    quantile = (
        "target_quantile" if "target_quantile" in inspect.signature(evaluator).parameters else "baseline_quantile"
    )
    options: dict[str, Any] = {quantile: 0.25}
    theirs = evaluator(**options).evaluate(study)
    total = sum(theirs.values())
    ours = importances(list(axes.values()), score)
    assert dict(zip(axes, ours.share, strict=True)) == pytest.approx(
        {name: one / total for name, one in theirs.items()}
    )


def test_an_axis_without_effect_is_seldom_said_to_matter() -> None:
    rng = np.random.default_rng(0)
    found = [
        importances([rng.integers(2, size=40), rng.integers(4, size=40)], rng.normal(size=40)).p.min() <= 0.05
        for _ in range(100)
    ]
    assert np.mean(found) < 0.1


def test_numbers_of_many_values_count_by_quarters_and_choices_by_value() -> None:
    assert classes_of(pd.Series([8, 8, 16, 64])).tolist() == [0, 0, 1, 2]
    assert np.bincount(classes_of(pd.Series(range(100)))).tolist() == [25, 25, 25, 25]
    assert classes_of(pd.Series(["b", "a", None, "b"])).tolist() == [1, 0, 2, 1]
    assert classes_of(pd.Series([True, False])).tolist() == [1, 0]


def test_ten_thousand_networks_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    axes = [rng.integers(4, size=10_000) for _ in range(8)]
    start = time.process_time()
    importances(axes, rng.normal(size=10_000))
    assert time.process_time() - start < 2  # two threads count twice


def test_a_table_has_importance_and_path_in_its_claims(tmp_path: Path) -> None:
    ressearch.reporting.report(search(40, seeds=1), tmp_path / "report")
    kinds = [one["kind"] for one in json.loads((tmp_path / "report" / "claims.json").read_text())]
    assert kinds.count("axis_importance") == 2
    assert kinds.count("ablation_path") == 1
