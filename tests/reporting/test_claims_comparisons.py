"""What the report says of networks that differ in one choice alone."""

from __future__ import annotations

import numpy as np
import pytest
from made_tables import claimed, evidence, line, plain_and_residual

from ressearch.reporting.claims.comparisons import compared, control_of


def test_skips_are_compared_with_plain_networks_at_each_depth() -> None:
    found = claimed("comparisons", *plain_and_residual())
    assert [one.subject for one in found] == [
        {"skip": "identity", "against": "none", "depth": depth} for depth in (8, 14, 20, 32)
    ]
    assert [one.estimate for one in found] == pytest.approx([0, 0.01, 0.06, 0.14])
    assert found[0].sentence == (
        "At depth 8, identity skips reach 0.800 and plain networks 0.800: a difference that cannot be told from none, "
        "+0.000 (95 % interval -0.005 to +0.005)."
    )
    assert found[3].sentence == (
        "At depth 32, identity skips reach 0.900 and plain networks 0.760: a difference of +0.140 (95 % interval "
        "+0.135 to "
        "+0.145)."
    )
    assert found[3].more["networks"] == ["skip identity, depth 32", "skip none, depth 32"]
    assert found[3].more["covers"] == ["seeds"]
    assert found[3].more["examples_share"] is None
    assert found[0].p == pytest.approx(1)
    assert found[3].p is not None
    assert found[3].p < 1e-5
    assert found[3].n == 3


def test_the_interval_is_welchs_or_the_shared_variance_one() -> None:
    """Means 0.81 and 0.80, deviations 0.002, three seeds each: 0.01 ± 2.776 · 0.002 · sqrt(2/3) (t of 4 degrees)."""
    (only,) = claimed("comparisons", line({8: 0.80}, skip="none"), line({8: 0.81}, skip="identity"))
    reach = 2.7764451 * 0.002 * np.sqrt(2 / 3)
    assert (only.low, only.high) == (pytest.approx(0.01 - reach), pytest.approx(0.01 + reach))
    assert only.p == pytest.approx(0.0036022326)


def test_several_comparisons_at_a_depth_are_held_together() -> None:
    parts = [line({8: mean}, skip=skip) for skip, mean in (("none", 0.80), ("identity", 0.81), ("dense", 0.83))]
    first, second = claimed("comparisons", *parts)
    assert [first.subject["skip"], second.subject["skip"]] == ["identity", "dense"]
    assert "held together over the 2 comparisons at this depth" in first.sentence
    assert first.more["comparisons"] == 2
    assert first.low < first.more["low_alone"] < first.more["high_alone"] < first.high


def test_pairs_agree_in_width() -> None:
    parts = [
        line({8: 0.80 + width / 1000 + 0.01 * (skip != "none")}, skip=skip, width=width)
        for skip in ("none", "identity")
        for width in (16, 32)
    ]
    found = claimed("comparisons", *parts)
    assert [one.more["networks"] for one in found] == [
        [f"skip identity, width {width}", f"skip none, width {width}"] for width in (16, 32)
    ]
    assert found[0].sentence.startswith("At depth 8, width 16, identity skips reach 0.826 and plain networks 0.816:")


def test_blocks_are_many_and_an_activation_is_one() -> None:
    (blocks,) = claimed("comparisons", line({8: 0.80}, block="basic"), line({8: 0.81}, block="bottleneck"))
    assert blocks.sentence.startswith("At depth 8, bottleneck blocks reach 0.810 and basic blocks 0.800:")
    (one,) = claimed("comparisons", line({8: 0.80}, activation="relu"), line({8: 0.81}, activation="gelu"))
    assert one.sentence.startswith("At depth 8, activation gelu reaches 0.810 and activation relu 0.800:")


def test_without_depth_all_else_is_equal() -> None:
    parts = [line({8: mean}, skip=skip).drop(columns="depth") for skip, mean in (("none", 0.8), ("identity", 0.81))]
    (only,) = claimed("comparisons", *parts)
    assert only.sentence.startswith("All else equal, identity skips reach 0.810 and plain networks 0.800:")
    assert only.subject == {"skip": "identity", "against": "none"}


def test_a_seed_each_is_no_comparison_and_one_seed_beside_several_no_interval() -> None:
    plain = line({8: 0.80}, seeds=1, spread=0, skip="none")
    assert claimed("comparisons", plain, line({8: 0.81}, seeds=1, skip="identity")) == []
    (only,) = claimed("comparisons", plain, line({8: 0.81}, seeds=2, skip="identity"))
    assert only.sentence == (
        "At depth 8, identity skips reach 0.810 and plain networks 0.800: a difference of +0.010, of which one seed "
        "each cannot say whether it is more than chance."
    )
    assert (only.low, only.high, only.p) == (None, None, None)
    assert only.estimate == pytest.approx(0.01)


def test_what_nothing_is_compared_with_is_left_out() -> None:
    found = claimed("comparisons", line({8: 0.80, 14: 0.8}, skip="none"), line({14: 0.81, 20: 0.8}, skip="identity"))
    assert [one.subject["depth"] for one in found] == [14]
    assert claimed("comparisons", line({8: 0.8, 14: 0.8})) == []


def test_the_choice_compared_is_the_skip_style_first_and_its_control_the_plain_one() -> None:
    parts = [line({8: 0.8}, mine=one, skip=skip) for one in "xy" for skip in ("dense", "identity")]
    made = evidence(*parts)
    assert compared(made) == "skip"
    assert control_of(made.networks["skip"]) == "identity"
    other = evidence(*[line({8: 0.8}, mine=one) for one in "xy"])
    assert compared(other) == "mine"
    assert compared(evidence(line({8: 0.8, 14: 0.8}))) is None
