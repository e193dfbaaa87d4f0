"""What a report says of depth and accuracy, for results made by hand whose right sentence is in the test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from ressearch.reporting.plots import _deepest_comparison, _depth_sentence

#  trial, skip, depth, accuracies of the seeds
FALLS = [(0, "none", 8, [0.90, 0.91, 0.92]), (1, "none", 20, [0.50, 0.52, 0.51])]
RISES = [(2, "identity", 8, [0.80, 0.81, 0.82]), (3, "identity", 20, [0.95, 0.96, 0.97])]
GOES = [(4, "scaled", 8, [0.70, 0.90]), (5, "scaled", 20, [0.75, 0.95])]
SINGLE = [(6, "rezero", 8, [0.70]), (7, "rezero", 20, [0.90])]
ONE_DEPTH = [(8, "gated", 8, [0.70, 0.71])]


def made(rows: list[tuple[int, str, int, list[float]]]) -> tuple[Any, pd.DataFrame]:
    """Results, and their table of depths in an order of its own."""
    trials = pd.DataFrame({"trial": [row[0] for row in rows], "seed_val_accuracies": [row[3] for row in rows]})
    table = pd.DataFrame(
        [
            {"trial": trial, "skip": skip, "depth": depth, "mean": sum(values) / len(values)}
            for trial, skip, depth, values in reversed(rows)
        ]
    )
    return SimpleNamespace(trials=trials, run={"num_classes": 8}), table


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (FALLS, "With skip none (plain) accuracy falls from 0.910 at depth 8 to 0.510 at depth 20."),
        (RISES, "With skip identity (residual) accuracy rises from 0.810 at depth 8 to 0.960 at depth 20."),
        (
            GOES,
            "With skip scaled accuracy goes from 0.800 at depth 8 to 0.850 at depth 20, a change its seeds cannot tell "
            "from none.",
        ),
        (SINGLE, "With skip rezero accuracy goes from 0.700 at depth 8 to 0.900 at depth 20, one seed."),
        (ONE_DEPTH, "Each skip style was trained at one depth only."),
    ],
)
def test_accuracy_falls_rises_or_goes_as_its_interval_says(rows: Any, said: str) -> None:
    assert _depth_sentence(*made(rows)) == f"{said} Chance is 0.125."


def test_the_plain_network_comes_first_and_the_deepest_pair_is_compared() -> None:
    gap = stats.ttest_ind(RISES[1][3], FALLS[1][3], equal_var=False).confidence_interval(0.95)
    assert _depth_sentence(*made([*RISES, *FALLS, *ONE_DEPTH])) == (
        "With skip none (plain) accuracy falls from 0.910 at depth 8 to 0.510 at depth 20; "
        "with skip identity (residual) accuracy rises from 0.810 at depth 8 to 0.960 at depth 20. Chance is 0.125. "
        f"At depth 20 the difference between identity and plain is +0.450 (95 % interval {gap.low:+.3f} to "
        f"{gap.high:+.3f}, Welch)."
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*FALLS, *GOES[:1]], "At depth 8 the difference between scaled and plain is -0.110 (95 % interval"),
        (
            [*FALLS, *SINGLE],
            "At depth 20 the difference between rezero and plain is +0.390 (one seed each, no interval).",
        ),
        ([FALLS[0], RISES[1]], ""),
        (FALLS, ""),
        (RISES, ""),
    ],
)
def test_networks_are_compared_at_the_greatest_depth_that_both_have(rows: Any, said: str) -> None:
    found = _deepest_comparison(*made(rows))
    assert found.startswith(said) if said else found == ""
