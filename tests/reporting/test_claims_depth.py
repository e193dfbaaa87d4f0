"""What the report says of depth, on tables made by hand whose answer is known."""

from __future__ import annotations

import pytest
from made_tables import PLAIN, claimed, evidence, line, plain_and_residual

from ressearch.reporting.claims import Claim, claims_of
from ressearch.reporting.claims.headline import headline
from ressearch.reporting.claims.lines import depth_lines


def kinds(claims: list[Claim]) -> dict[str, Claim]:
    return {one.kind: one for one in claims}


def test_plain_networks_that_get_worse_on_training_data_too_degrade() -> None:
    found = kinds([one for one in claimed("depth", *plain_and_residual()) if one.subject["skip"] == "none"])
    best, saturation, onset = (found[key] for key in ("best_depth", "saturation_depth", "degradation_onset"))
    assert best.sentence == "Plain networks: accuracy is highest at depth 14 (0.840); every other depth is lower."
    assert (best.estimate, best.low, best.high, best.more["tied"], best.n) == (14, 14, 14, [14], 12)
    assert best.p is not None
    assert best.p < 1e-6
    assert saturation.sentence == (
        "Plain networks: depth helps up to 14; that still more of it helps was not shown (a difference of 0.007 "
        "would have "
        "been seen in 80 % of cases)."
    )
    assert (saturation.estimate, saturation.low, saturation.high) == (14, 14, 14)
    assert saturation.more["is_within_depths"]
    assert onset.sentence == (
        "Plain networks: depth hurts from 20 on. Depth 20 (0.820) is 0.020 below depth 14 (95 % interval +0.015 to "
        "+0.025, "
        "held together with every depth), and no deeper one recovers (depth 32: 0.760). Training accuracy falls as "
        "well: the deeper network is harder to train, which He et al. (2015) call degradation, not overfitting."
    )
    assert (onset.estimate, onset.low, onset.high, onset.more["cause"]) == (20, 20, 20, "degradation")
    assert onset.more["fall"]["below_depths"] == [14, 14]
    assert onset.more["fall"]["estimate"] == pytest.approx(0.02)
    assert onset.subject == {"skip": "none", "depths": [8, 14, 20, 32], "held": "width"}


def test_residual_networks_that_rise_throughout_saturate_beyond_the_depths_studied() -> None:
    found = kinds([one for one in claimed("depth", *plain_and_residual()) if one.subject["skip"] == "identity"])
    assert found["best_depth"].estimate == 32
    saturation, onset = found["saturation_depth"], found["degradation_onset"]
    assert saturation.sentence == (
        "Identity skips: accuracy still rises up to depth 32, the deepest studied; where more depth stops helping is "
        "not within the depths studied."
    )
    assert (saturation.estimate, saturation.low, saturation.high) == (None, 32, 32)
    assert not saturation.more["is_within_depths"]
    assert onset.sentence == (
        "Identity skips: no depth up to 32 was shown to hurt; a difference of 0.007 would have been seen in 80 % of "
        "cases."
    )
    assert (onset.estimate, onset.low, onset.high, onset.more["cause"]) == (None, None, None, None)


_OVERFIT = "Training accuracy does not fall but rises: this is overfitting, not the degradation of He et al. (2015)."


@pytest.mark.parametrize(
    ("train", "cause", "ending"),
    [
        ({8: 0.90, 14: 0.95, 20: 0.99}, "overfitting", _OVERFIT),
        ({8: 0.95, 14: 0.92, 20: 0.90}, "degradation", "call degradation, not overfitting."),
        ({8: 0.95, 14: 0.95, 20: 0.95}, "cannot tell", "so neither degradation nor overfitting is shown."),
        (None, "not recorded", "Training accuracy is not on record, so degradation cannot be told from overfitting."),
    ],
)
def test_training_accuracy_tells_degradation_from_overfitting(
    train: dict[int, float] | None, cause: str, ending: str
) -> None:
    onset = kinds(claimed("depth", line({8: 0.84, 14: 0.80, 20: 0.76}, train=train)))["degradation_onset"]
    assert onset.estimate == 14
    assert onset.more["cause"] == cause
    assert onset.sentence.endswith(ending)


def test_depths_that_seeds_cannot_tell_apart_are_tied() -> None:
    found = kinds(claimed("depth", line({8: 0.80, 14: 0.85, 20: 0.8505, 32: 0.80})))
    best = found["best_depth"]
    assert best.sentence == (
        "These networks: accuracy is highest at depth 20 (0.850), which these seeds cannot tell from depth 14; the "
        "other depths are lower."
    )
    assert (best.estimate, best.low, best.high, best.more["tied"]) == (20, 14, 20, [14, 20])
    onset = found["degradation_onset"]
    assert onset.sentence.startswith(
        "These networks: depth hurts from 32 on. Depth 32 (0.800) is 0.050 below the mean of depths 14 to 20 (95 % "
        "interval"
    )
    assert "no deeper one recovers" not in onset.sentence
    assert (onset.low, onset.high, onset.more["fall"]["below_depths"]) == (20, 32, [14, 20])


def test_flat_lines_are_said_to_be_flat_with_what_would_have_been_seen() -> None:
    best, saturation, onset = claimed("depth", line({8: 0.80, 14: 0.80, 20: 0.80}))
    seen = "a difference of 0.007 would have been seen in 80 % of cases."
    assert best.sentence == (
        "These networks: no depth from 8 to 20 was shown to be better than another (the highest mean is at depth 8 "
        f"(0.800)); {seen}"
    )
    assert (best.estimate, best.low, best.high, best.p) == (None, 8, 20, 1.0)
    assert saturation.sentence == f"These networks: more depth than 8 was not shown to help; {seen}"
    assert onset.sentence == f"These networks: no depth up to 20 was shown to hurt; {seen}"


@pytest.mark.parametrize("value", [0.0, 0.8, 1.0])
def test_seeds_that_do_not_differ_promise_no_resolution(value: float) -> None:
    for one in claimed("depth", line({8: value, 14: value, 20: value}, spread=0)):
        assert one.sentence.endswith(
            "; the seeds of a network do not differ, so nothing says what chance alone would do."
        )
        assert one.estimate in (None, 8)


def test_one_seed_shows_the_highest_and_claims_nothing_of_it() -> None:
    (only,) = claimed("depth", line(PLAIN, seeds=1, spread=0))
    assert only.kind == "best_depth"
    assert only.sentence == (
        "These networks: the highest accuracy is at depth 14 (0.840); with one seed per network nothing says whether "
        "another depth is as good."
    )
    assert (only.estimate, only.low, only.high, only.p, only.method, only.n) == (
        None,
        8,
        32,
        None,
        "one seed: not tested",
        4,
    )
    assert only.more == {"tied": [8, 14, 20, 32], "highest_mean_at": 14, "highest_mean": 0.84}


def test_no_line_joins_different_networks() -> None:
    found = depth_lines(evidence(*[line({8: 0.8, 14: 0.8}, skip=skip, width=w) for skip in "ab" for w in (16, 32)]))
    assert [(one.subject, one.networks, one.depths, one.held) for one in found] == [
        ({"skip": "a", "width": 16}, (0, 1), (8, 14), "width"),
        ({"skip": "a", "width": 32}, (2, 3), (8, 14), "width"),
        ({"skip": "b", "width": 16}, (4, 5), (8, 14), "width"),
        ({"skip": "b", "width": 32}, (6, 7), (8, 14), "width"),
    ]
    assert [one.label for one in found][:2] == ["a skips, width 16", "a skips, width 32"]
    halves = depth_lines(evidence(*[line({8: 0.8, 14: 0.8}, width=width) for width in (0.5, 2.0)]))
    assert [one.label for one in halves] == ["width 0.5", "width 2"]


def test_plain_networks_come_first_and_depths_in_order() -> None:
    found = depth_lines(evidence(line({20: 0.8, 8: 0.8}, skip="identity"), line({14: 0.8, 8: 0.8}, skip="none")))
    assert [(one.label, one.depths, one.networks) for one in found] == [
        ("plain networks", (8, 14), (3, 2)),
        ("identity skips", (8, 20), (1, 0)),
    ]


def test_networks_matched_by_a_cost_are_lines_at_equal_cost() -> None:
    sizes = ((8, 32, 100), (14, 24, 101), (20, 20, 102))
    parts = [line({depth: 0.8 + depth / 200}, width=width, params=params) for depth, width, params in sizes]
    (only,) = depth_lines(evidence(*parts))
    assert (only.depths, only.held, only.subject) == ((8, 14, 20), "params", {})
    assert claimed("depth", *parts)[0].sentence == (
        "These networks, at equal parameters: accuracy is highest at depth 20 (0.900); every other depth is lower."
    )


def test_plain_networks_in_pre_activation_order_are_not_counted_again() -> None:
    orders = (("none", "post"), ("none", "pre"), ("identity", "pre"))
    found = depth_lines(evidence(*[line({8: 0.8, 14: 0.8}, skip=one, norm_order=order) for one, order in orders]))
    assert [one.label for one in found] == ["plain networks", "identity skips, pre-activation"]


def test_one_depth_or_none_is_no_depth_study() -> None:
    assert claimed("depth", line({8: 0.8}, skip="none"), line({8: 0.8}, skip="identity")) == []
    assert claimed("depth", line({8: 0.8}, name="a").drop(columns="depth")) == []


def test_the_headline_is_both_kinds_of_networks_and_their_difference_at_the_greatest_depth() -> None:
    made = evidence(*plain_and_residual())
    first, second, third = headline(made, claims_of(made))
    assert (first.kind, first.subject["skip"]) == ("degradation_onset", "none")
    assert (second.kind, second.subject["skip"]) == ("degradation_onset", "identity")
    assert (third.kind, third.subject["depth"]) == ("difference", 32)


def test_the_headline_of_one_seed_is_the_highest_and_its_caveat() -> None:
    made = evidence(line(PLAIN, seeds=1))
    (only,) = headline(made, claims_of(made))
    assert only.sentence.startswith("depth 14 has the highest accuracy of 4 networks, 0.838. With one seed per network")


def test_the_headline_of_one_network_is_its_accuracy() -> None:
    made = evidence(line({8: 0.8}))
    (only,) = headline(made, claims_of(made))
    assert only.sentence == "One network has trained every epoch, depth 8: it reaches an accuracy of 0.800."
    assert (only.kind, only.n, only.subject) == ("only_network", 3, {"name": "depth 8"})
    assert only.estimate == pytest.approx(0.8)
