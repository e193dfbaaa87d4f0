"""What the report says of the axes of a search, whose effects are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_tables import claimed, evidence, line, search

from ressearch.reporting.claims import Claim
from ressearch.reporting.claims.axes import terms_of


def effects(table: pd.DataFrame, **told: Any) -> list[Claim]:
    return [one for one in claimed("axes", table, **told) if one.kind == "axis_effect"]


def test_known_effects_are_found_with_their_size() -> None:
    depth, width, skip, at_equal_macs = effects(search())
    assert depth.subject == {"axis": "depth", "held": "the other axes", "unit": "doubling"}
    assert depth.estimate == pytest.approx(0.02, abs=0.001)
    assert depth.low < 0.02 < depth.high
    assert depth.sentence.startswith(
        "Doubling depth, with the other axes held fixed, changes accuracy by +0.0200 (95 %"
    )
    assert depth.p is not None
    assert depth.p < 1e-10
    assert abs(width.estimate) < 0.001
    assert skip.subject["value"] == "identity"
    assert skip.subject["against"] == "none"
    assert skip.estimate == pytest.approx(0.03, abs=0.001)
    assert skip.sentence.startswith(
        "Skip identity instead of none, with the other axes held fixed, changes accuracy by"
    )
    assert at_equal_macs.subject["held"] == "the other axes and MACs (deeper is narrower)"
    assert at_equal_macs.estimate == pytest.approx(0.02, abs=0.001)
    assert [one.n for one in (depth, width, skip, at_equal_macs)] == [60] * 4


def test_where_no_axis_matters_every_effect_is_said_to_be_chance() -> None:
    found = effects(search(of_depth=0, of_skips=0))
    assert len(found) == 4
    for one in found:
        assert one.sentence.endswith(", which over 4 effects cannot be told from none.")


def test_axes_that_went_together_are_not_told_apart() -> None:
    depth, width, skip = effects(search(is_square=True))[:3]
    assert depth.sentence == (
        "Doubling depth: this search cannot tell its effect from that of width, with which it went together."
    )
    assert width.sentence == (
        "Doubling width: this search cannot tell its effect from that of depth, with which it went together."
    )
    assert (depth.estimate, depth.low, depth.high, depth.p) == (None, None, None, None)
    assert depth.to_dict()["variance_inflation"] is None
    assert skip.estimate == pytest.approx(0.03, abs=0.001)


def test_the_best_have_the_values_that_pay() -> None:
    depth, _, skip = [one for one in claimed("axes", search()) if one.kind == "best_values"]
    assert depth.subject == {"axis": "depth"}
    assert depth.low > 30
    assert depth.sentence == f"Among the best, depth is {depth.estimate:g} (95 % band {depth.low:g} to {depth.high:g})."
    assert skip.estimate == "identity"
    assert skip.sentence.startswith("Among the best, skip is most often identity (identity ")
    assert sum(skip.more["shares"].values()) == pytest.approx(1)


def test_few_networks_say_nothing_of_axes() -> None:
    assert [one.kind for one in claimed("axes", search(13))] == ["axis_importance", "ablation_path"]
    assert all(one.estimate is None for one in claimed("axes", search(13)))
    assert len(effects(search(14))) == 4


def test_the_overview_comes_first_and_refusals_last() -> None:
    kinds = ["axis_importance", "axis_importance", "ablation_path", *["axis_effect"] * 4, *["best_values"] * 3]
    assert [one.kind for one in claimed("axes", search())] == kinds
    few = claimed("axes", search(15))
    assert [one.kind for one in few] == ["ablation_path", *["axis_effect"] * 4, "axis_importance"]


def test_a_depth_study_with_seeds_leaves_depth_to_its_lines() -> None:
    means = {depth: 0.8 + depth / 1000 for depth in range(8, 22, 2)}
    assert claimed("axes", line(means, skip="none"), line(means, skip="identity")) == []


def test_numbers_are_doubled_choices_set_against_a_control_and_costs_left_out() -> None:
    table = search(8).assign(dropout=lambda one: one["depth"] / 100, params=lambda one: one["depth"] * 7)
    terms = terms_of(evidence(table))
    assert [(one.axis, one.value, one.against, one.unit) for one in terms] == [
        ("depth", None, None, "doubling"),
        ("width", None, None, "doubling"),
        ("skip", "identity", "none", "identity instead of none"),
        ("dropout", None, None, "unit"),
    ]


def test_equal_accuracies_are_no_effect_of_rounding() -> None:
    rng = np.random.default_rng(1)
    rows = [
        {
            "name": f"n{at}",
            "depth": int(rng.integers(8, 60)),
            "width": int(rng.choice([16, 32, 64])),
            "val_accuracy": 0.7,
        }
        for at in range(20)
    ]
    effects = [one for one in claimed("axes", pd.DataFrame(rows)) if one.kind == "axis_effect"]
    assert [(one.estimate, one.low, one.high, one.p) for one in effects] == [(0, 0, 0, 1)] * 2
    (path,) = [one for one in claimed("axes", pd.DataFrame(rows)) if one.kind == "ablation_path"]
    assert path.sentence.endswith("is not said: all networks are equally accurate.")


def test_one_effect_is_not_several() -> None:
    rng = np.random.default_rng(0)
    rows = [{"name": f"n{at}", "depth": 8 + at, "val_accuracy": float(rng.uniform(0.5, 0.9))} for at in range(30)]
    (only,) = [one for one in claimed("axes", pd.DataFrame(rows)) if one.kind == "axis_effect"]
    assert only.sentence.endswith("), which cannot be told from none.")
