"""How the error of the best tenth, and of half, of many networks goes with their sizes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from made_tables import claimed, evidence
from scipy import stats

from ressearch.reporting.claims import Claim, claims_of
from ressearch.statistics.quantiles import harrell_davis, quantile_difference


def drawn(count: int, effect: float, seed: int = 0) -> pd.DataFrame:
    """Return single-seed networks of many depths, widths and MACs; only MACs matter, by `effect` for each doubling."""
    rng = np.random.default_rng(seed)
    macs = 2.0 ** rng.uniform(20, 26, count)
    return pd.DataFrame(
        {
            "name": [f"n{one}" for one in range(count)],
            "depth": rng.integers(8, 100, count),
            "width": rng.integers(4, 400, count),
            "macs": macs.astype(int),
            "val_accuracy": 0.8 + effect * np.log2(macs / 2.0**23) + rng.normal(0, 0.01, count),
        }
    )


def by(found: list[Claim]) -> dict[tuple[str, float], Claim]:
    return {(one.subject["axis"], one.subject["share"]): one for one in found}


def test_what_matters_is_found_and_what_does_not_is_not() -> None:
    table = drawn(300, 0.02)
    found = by(claimed("trends", table))
    assert set(found) == {(axis, share) for axis in ("depth", "width", "macs") for share in (0.1, 0.5)}
    error, macs = 1 - table["val_accuracy"], table["macs"]
    ordered = sorted(macs)
    low, high = ordered[99], ordered[200]
    for share in (0.1, 0.5):
        one = found["macs", share]
        assert (one.subject["from"], one.subject["to"], one.n) == (low, high, 200)
        plain = error[macs >= high].quantile(share) - error[macs <= low].quantile(share)
        assert one.estimate == pytest.approx(plain, abs=0.006)
        assert one.low < one.estimate < one.high < 0
        assert one.p == pytest.approx(6 / 600)
    assert found["macs", 0.1].sentence.startswith("Among the networks as drawn, the best tenth of those with ")
    assert " MACs or more errs less than 0.1" in found["macs", 0.1].sentence
    assert f": {-found['macs', 0.5].estimate:.3f} less (95 % interval -0.0" in found["macs", 0.5].sentence
    for axis in ("depth", "width"):
        one = found[axis, 0.5]
        assert one.low < 0 < one.high
        assert one.p > 0.05
        assert ", which cannot be told from no difference (95 % interval -0.0" in one.sentence
    assert found["depth", 0.5].sentence.startswith("Among the networks as drawn, half of those of depth ")
    assert " or more err less than 0.19" in found["depth", 0.5].sentence
    assert " or less less than 0.19" in found["depth", 0.5].sentence


def test_more_error_is_said_to_be_more() -> None:
    one = by(claimed("trends", drawn(150, -0.02)))["macs", 0.5]
    assert one.low > 0
    assert f": {one.estimate:.3f} more (95 % interval +0.0" in one.sentence


def test_thirds_have_33_networks_at_least() -> None:
    assert claimed("trends", drawn(96, 0.02)) == []
    assert {one.subject["axis"] for one in claimed("trends", drawn(99, 0.02))} >= {"macs"}


def test_a_study_that_trained_nothing_yet_has_no_trend() -> None:
    made = evidence(drawn(150, 0.02))
    empty = dataclasses.replace(made, networks=made.networks[:0], replicates=made.replicates[:0])
    assert claims_of(empty)["trends"] == []


def test_sizes_that_are_all_alike_have_no_trend() -> None:
    table = drawn(150, 0.02).assign(width=16)
    table["depth"] = np.where(np.arange(150) < 20, 8, 14)  # the least third is the greatest too
    assert {one.subject["axis"] for one in claimed("trends", table)} == {"macs"}


def test_harrell_davis_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(3, 41))
    for share in (0.1, 0.5, 0.9):
        expected = [float(stats.mstats.hdquantiles(row, [share])[0]) for row in values]
        assert harrell_davis(values, share) == pytest.approx(expected)


def test_the_interval_of_a_difference_is_that_of_scipys_bootstrap() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.3, 0.1, 60), rng.normal(0.1, 0.1, 80)
    estimate, low, high, p = quantile_difference(one, other, 0.5, draws=4000)
    theirs = stats.bootstrap(
        (one, other),
        lambda a, b, axis: harrell_davis(np.moveaxis(a, axis, -1), 0.5) - harrell_davis(np.moveaxis(b, axis, -1), 0.5),
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert estimate == pytest.approx(harrell_davis(one, 0.5) - harrell_davis(other, 0.5))
    assert (low, high) == (pytest.approx(theirs.low, abs=0.004), pytest.approx(theirs.high, abs=0.004))
    assert p == 1 / 4000
    assert quantile_difference(one, one.copy(), 0.5)[3] > 0.5


def test_intervals_hold_as_often_as_they_say() -> None:
    """Of 300 pairs of equal populations of 33, the tenth's interval holds zero in 95 %, give or take chance."""
    rng = np.random.default_rng(3)
    found = [quantile_difference(*np.exp(rng.normal(-2, 0.5, (2, 33))), 0.1, draws=300, seed=one) for one in range(300)]
    assert 0.91 <= np.mean([low <= 0 <= high for _, low, high, _ in found]) <= 0.985


def test_equal_accuracies_have_no_trend() -> None:
    """Quantiles of equal values differ by rounding, which is no finding."""
    table = drawn(300, 0.0).assign(val_accuracy=0.7)
    (only,) = claimed("trends", table)
    assert (only.estimate, only.low, only.p) == (None, None, None)
    assert only.sentence == "How error goes with size is not said: all networks are equally accurate."
    for ones, others in ((101, 103), (100, 300)):
        assert quantile_difference(np.full(ones, 0.3), np.full(others, 0.3), 0.1)[3] == 1.0
    table.loc[0, "val_accuracy"] = 0.1
    assert all("which cannot be told from no difference" in one.sentence for one in claimed("trends", table))
