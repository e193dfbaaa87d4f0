"""What the report says of populations of networks: how often one of a kind beats one of another."""

from __future__ import annotations

import pytest
from made_tables import claimed, evidence, line, search

from ressearch.reporting.claims.lines import depth_lines


def test_a_population_that_is_better_throughout_wins_nearly_every_pair() -> None:
    (only,) = claimed("populations", search(of_depth=0, of_skips=0.1))
    assert only.subject == {"skip": "identity", "against": "none", "at_equal_cost": True}
    assert only.sentence.startswith(
        "A network with identity skips beats a plain network with like MACs in 100% of pairs ("
    )
    assert only.estimate == pytest.approx(1)
    assert only.more["over_all"] == pytest.approx(1)
    assert 0.8 < only.low < 1
    assert only.high == 1
    assert only.n == 60


def test_a_population_that_is_no_better_has_even_chances() -> None:
    (only,) = claimed("populations", search(of_depth=0, of_skips=0))
    assert only.low < 0.5 < only.high
    assert only.sentence.endswith(", which cannot be told from even chances.")
    assert only.p is not None
    assert only.p > 0.05


def test_without_costs_no_cost_is_claimed_to_be_held() -> None:
    (only,) = claimed("populations", search(of_skips=0.1).drop(columns="macs"))
    assert only.subject["at_equal_cost"] is False
    assert "with like" not in only.sentence
    assert only.more["over_all"] == only.estimate


def test_parameters_stand_in_for_macs() -> None:
    (only,) = claimed("populations", search(of_skips=0.1).rename(columns={"macs": "params"}))
    assert "beats a plain network with like parameters in" in only.sentence


def test_few_networks_and_depth_studies_are_no_populations() -> None:
    assert claimed("populations", search(14)) == []
    assert len(claimed("populations", search(16))) == 1
    means = dict.fromkeys(range(8, 24, 2), 0.8)
    assert claimed("populations", line(means, skip="none"), line(means, skip="identity")) == []
    assert claimed("populations", search().drop(columns="skip")) == []


def test_pairs_that_happen_to_be_equal_but_for_depth_make_no_depth_study_of_a_search() -> None:
    table = search()
    table["width"] = table["name"].str[1:].astype(int) // 4 * 8 + 8  # each skip style has two networks at each width
    made = evidence(table)
    assert made.is_search
    assert depth_lines(made) == ()
