"""What is claimed of tables made by hand, whose right answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ressearch.reporting.any_table import of_table
from ressearch.reporting.claims import Claim, claims_of
from ressearch.reporting.claims.headline import headline
from ressearch.reporting.claims.lines import depth_lines

NOISE = (-0.004, 0.001, 0.003)
"""Three seeds around their mean: standard deviation 0.0036."""


def table_of(lines: dict[str, dict[int, float]], train: dict[str, dict[int, float]] | None = None) -> pd.DataFrame:
    rows = []
    for skip, scores in lines.items():
        for depth, score in scores.items():
            for seed, noise in enumerate(NOISE):
                row: dict[str, Any] = {"skip": skip, "depth": depth, "seed": seed, "val_accuracy": score + noise}
                if train is not None:
                    row["train_accuracy"] = train[skip][depth] + noise / 10
                rows.append(row)
    return pd.DataFrame(rows)


def claims(table: pd.DataFrame, kind: str) -> list[Claim]:
    return [one for made in claims_of(of_table(table)).values() for one in made if one.kind == kind]


PEAK = {8: 0.80, 14: 0.86, 20: 0.90, 32: 0.90, 56: 0.86, 110: 0.80}


def test_the_best_depth_is_that_of_the_highest_mean_with_those_that_are_as_good() -> None:
    (found,) = claims(table_of({"identity": PEAK}), "best_depth")
    assert found.estimate in (20, 32)
    assert (found.low, found.high, found.more["tied"]) == (20, 32, [20, 32])
    assert "which these seeds cannot tell from depth" in found.sentence


def test_depth_helps_up_to_where_no_deeper_network_is_better() -> None:
    (found,) = claims(table_of({"identity": PEAK}), "saturation_depth")
    assert (found.estimate, found.low, found.high) == (20, 20, 32)
    assert "depth helps up to 20" in found.sentence


@pytest.mark.parametrize(
    ("training", "cause", "said"),
    [
        (-0.1, "degradation", "harder to train"),
        (+0.05, "overfitting", "this is overfitting"),
        (0.0, "cannot tell", "cannot tell whether training accuracy falls too"),
    ],
)
def test_degradation_is_told_from_overfitting_by_training_accuracy(training: float, cause: str, said: str) -> None:
    train = {depth: 0.9 + (training if depth == 110 else 0.0) for depth in PEAK}
    (found,) = claims(table_of({"identity": PEAK}, {"identity": train}), "degradation_onset")
    assert (found.estimate, found.more["cause"]) == (56, cause)
    assert said in found.sentence
    assert found.more["fall"]["low"] > 0


def test_without_training_accuracy_the_cause_is_not_on_record() -> None:
    (found,) = claims(table_of({"identity": PEAK}), "degradation_onset")
    assert found.more["cause"] == "not recorded"


def test_of_equal_networks_nothing_is_claimed() -> None:
    flat = table_of({"identity": dict.fromkeys((8, 20, 56, 110), 0.9)})
    (best,) = claims(flat, "best_depth")
    (onset,) = claims(flat, "degradation_onset")
    assert best.estimate is None
    assert onset.estimate is None
    assert best.more["tied"] == [8, 20, 56, 110]
    assert "no depth from 8 to 110 was shown to be better than another" in best.sentence
    assert "no depth up to 110 was shown to hurt" in onset.sentence


def test_accuracy_that_rises_to_the_deepest_network_has_no_saturation() -> None:
    rising = table_of({"identity": {8: 0.70, 20: 0.76, 56: 0.82, 110: 0.88}})
    (found,) = claims(rising, "saturation_depth")
    assert found.estimate is None
    assert found.sentence == (
        "These networks: accuracy still rises up to depth 110, the deepest studied; where more depth stops helping "
        "is not within the depths studied."
    )
    (onward,) = claims(rising, "next_hour")
    assert onward.subject == {"choice": "depth"}


def test_the_difference_at_a_depth_is_welchs_of_the_two_networks() -> None:
    rng = np.random.default_rng(3)
    plain, residual = rng.normal(0.5, 0.05, 3), rng.normal(0.9, 0.004, 4)
    rows = [{"skip": "none", "depth": 56, "seed": seed, "val_accuracy": one} for seed, one in enumerate(plain)]
    rows += [{"skip": "identity", "depth": 56, "seed": seed, "val_accuracy": one} for seed, one in enumerate(residual)]
    (found,) = claims(pd.DataFrame(rows), "difference")
    welch = stats.ttest_ind(residual, plain, equal_var=False)
    ends = welch.confidence_interval(0.95)
    assert found.estimate == pytest.approx(residual.mean() - plain.mean())
    assert (found.low, found.high) == (pytest.approx(ends.low), pytest.approx(ends.high))
    assert found.p == pytest.approx(welch.pvalue)
    assert found.subject == {"skip": "identity", "against": "none", "depth": 56}
    assert found.more["covers"] == ["seeds"]


def test_styles_are_compared_with_the_plain_network_at_every_depth_and_the_deepest_comes_first_on_the_page() -> None:
    table = table_of({"none": {8: 0.9, 56: 0.5}, "identity": {8: 0.9, 56: 0.9}, "rezero": {8: 0.9, 56: 0.91}})
    found = claims(table, "difference")
    assert [(one.subject["depth"], one.subject["skip"]) for one in found] == [
        (8, "identity"),
        (8, "rezero"),
        (56, "identity"),
        (56, "rezero"),
    ]
    assert {one.more["comparisons"] for one in found} == {2}
    evidence = of_table(table)
    said = headline(evidence, claims_of(evidence))
    assert [one.kind for one in said] == ["degradation_onset", "degradation_onset", "difference"]
    assert said[0].subject["skip"] == "none"
    assert said[-1].subject["depth"] == 56


def test_no_line_joins_networks_that_differ_in_more_than_depth() -> None:
    table = pd.DataFrame(
        {
            "depth": [8, 20, 32, 20, 56, 110],
            "width": [8, 8, 8, 16, 16, 16],
            "block": ["basic"] * 3 + ["bottleneck"] * 3,
            "val_accuracy": [0.8, 0.85, 0.9, 0.92, 0.94, 0.95],
        }
    )
    found = depth_lines(of_table(table))
    assert [(line.subject, line.depths) for line in found] == [
        ({"block": "basic", "width": 8}, (8, 20, 32)),
        ({"block": "bottleneck", "width": 16}, (20, 56, 110)),
    ]


def test_networks_matched_in_cost_are_a_line_at_equal_cost() -> None:
    table = pd.DataFrame(
        {
            "depth": [8, 20, 56],
            "width": [30, 18, 10],
            "params": [100_000, 101_000, 99_500],
            "val_accuracy": [0.8, 0.85, 0.9],
        }
    )
    (line,) = depth_lines(of_table(table))
    assert (line.held, line.depths) == ("params", (8, 20, 56))


def test_one_seed_says_so_and_calls_no_depth_best() -> None:
    table = table_of({"identity": PEAK}).query("seed == 0")
    (found,) = claims(table, "best_depth")
    assert found.estimate is None
    assert "with one seed per network nothing says whether another depth is as good" in found.sentence
    assert claims(table, "degradation_onset") == []
    assert claims(table, "difference") == []
    (seen,) = claims(table, "detectable_difference")
    assert seen.estimate is None


def test_the_detectable_difference_is_that_of_a_t_test_with_four_fifths_power() -> None:
    (found,) = claims(table_of({"identity": {8: 0.9, 20: 0.91}}), "detectable_difference")
    sd = float(np.std(NOISE, ddof=1))
    shift = found.estimate / (sd * np.sqrt(2 / 3))
    assert stats.nct.sf(stats.t.isf(0.025, 4), 4, shift) == pytest.approx(0.8, abs=1e-6)


def search(count: int, confounded: bool = False) -> pd.DataFrame:
    """0.01 for each doubling of depth, 0.02 of width, 0.03 for identity skips, noise of 0.002."""
    rng = np.random.default_rng(1)
    depth = rng.choice([8, 14, 20, 32, 56, 110], count)
    width = depth * 2 if confounded else rng.choice([8, 16, 24, 32, 64], count)
    skip = rng.choice(["none", "identity"], count)
    score = 0.7 + 0.01 * np.log2(depth) + 0.02 * np.log2(width) + 0.03 * (skip == "identity")
    rows = pd.DataFrame({"name": [f"n{at}" for at in range(count)], "depth": depth, "width": width, "skip": skip})
    return pd.concat(
        [rows.assign(seed=seed, val_accuracy=score + rng.normal(0, 0.002, count)) for seed in (0, 1)], ignore_index=True
    )


def test_the_effect_of_each_axis_is_found_with_the_others_held_fixed() -> None:
    found = {one.subject["axis"]: one for one in claims(search(60), "axis_effect")}
    for axis, truth in (("depth", 0.01), ("width", 0.02), ("skip", 0.03)):
        one = found[axis]
        assert one.estimate == pytest.approx(truth, abs=0.002)
        assert one.low < one.estimate < one.high
        assert one.high - one.low < 0.005
    assert (found["skip"].subject["value"], found["skip"].subject["against"]) == ("identity", "none")


def test_axes_that_went_together_are_not_told_apart() -> None:
    found = {one.subject["axis"]: one for one in claims(search(60, confounded=True), "axis_effect")}
    assert found["depth"].estimate is None
    assert found["width"].estimate is None
    assert "this search cannot tell its effect from that of width" in found["depth"].sentence
    assert found["skip"].estimate == pytest.approx(0.03, abs=0.002)


def test_the_winner_is_shrunk_and_the_lucky_networks_are_tied_with_it() -> None:
    rng = np.random.default_rng(0)
    scores = 0.9 + rng.normal(0, 0.01, (40, 3))
    rows = [
        {"name": f"n{at}", "macs": 1000 * (at + 1), "seed": seed, "val_accuracy": score}
        for at, one in enumerate(scores)
        for seed, score in enumerate(one)
    ]
    (found,) = claims(pd.DataFrame(rows), "shrunk_winner")
    assert found.estimate == pytest.approx(0.9, abs=0.004)
    assert found.more["mean"] == pytest.approx(scores.mean(axis=1).max())
    assert found.low < 0.9 < found.high
    (tied,) = claims(pd.DataFrame(rows), "tied_with_best")
    assert tied.estimate >= 38
    assert tied.more["cheapest"] == "n0"


def test_one_network_far_above_the_others_is_not_shrunk_and_alone() -> None:
    rows = [
        {"name": f"n{at}", "seed": seed, "val_accuracy": (0.95 if at == 7 else 0.80) + noise + 0.0005 * at}
        for at in range(12)
        for seed, noise in enumerate(NOISE)
    ]
    (found,) = claims(pd.DataFrame(rows), "shrunk_winner")
    assert found.subject["name"] == "n7"
    assert found.estimate == pytest.approx(0.9535, abs=0.003)
    assert found.more["probability_of_best"] > 0.99
    (tied,) = claims(pd.DataFrame(rows), "tied_with_best")
    assert (tied.estimate, tied.more["members"]) == (1, ["n7"])


def test_a_power_law_is_found_and_flat_or_short_data_are_refused() -> None:
    depths = (8, 14, 20, 32, 56, 110)
    law = {depth: 1 - (0.05 + 0.2 * (depth / 20) ** -0.8) for depth in depths}
    (found, *_) = claims(table_of({"identity": law}), "scaling_fit")
    assert found.estimate == pytest.approx(0.8, abs=0.1)
    assert found.low < 0.8 < found.high
    assert found.more["floor_low"] <= 0.05 <= found.more["floor_high"]
    (flat, *_) = claims(table_of({"identity": dict.fromkeys(depths, 0.9)}), "scaling_fit")
    assert flat.estimate is None
    assert "no scaling law over depth is given, because" in flat.sentence
    (short,) = claims(table_of({"identity": {8: 0.8, 20: 0.9}}), "scaling_fit")
    assert (
        short.sentence == "No scaling law is given: 2 depths are too few for a curve of three parameters; 5 are needed."
    )


def test_networks_scored_on_the_same_examples_are_compared_in_pairs() -> None:
    """Where every seed errs alike, what is left of the uncertainty is that of a paired t-test over the examples."""
    rng = np.random.default_rng(5)
    ease = rng.random(400)
    right = {0: ease < 0.7, 1: ease < 0.8}
    rows = [
        {"skip": skip, "depth": 20, "seed": seed, "val_accuracy": float(right[network].mean())}
        for network, skip in enumerate(("none", "identity"))
        for seed in range(3)
    ]
    evidence = of_table(pd.DataFrame(rows), examples=400)
    evidence = dataclasses.replace(evidence, correct=lambda network: np.stack([right[network]] * 3))
    (found,) = [one for one in claims_of(evidence)["comparisons"] if one.kind == "difference"]
    paired = stats.ttest_rel(right[1].astype(float), right[0].astype(float)).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(paired.low, rel=0.02), pytest.approx(paired.high, rel=0.02))
    assert found.more["covers"] == ["seeds", "examples"]
    assert found.more["examples_share"] == pytest.approx(1.0, abs=0.01)
    assert "the choice of examples makes up 100% of its variance" in found.sentence
