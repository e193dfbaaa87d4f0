"""What a report says first: the answer to the study's question, in as few statements as it takes."""

from __future__ import annotations

from ressearch.reporting.claims.claim import Claim
from ressearch.reporting.evidence import Evidence
from ressearch.results.ranking import Objective


def headline(evidence: Evidence, claims: dict[str, list[Claim]]) -> list[Claim]:
    """Return the statements that answer the question; a page does not repeat them below.

    Of several studies: how they agree. Of a depth study with seeds: what depth does to plain networks and to the first
    kind that has skips, and the difference between the two at the greatest depth that both have. Of one without seeds:
    the effect of depth over all lines. Else: the best network, and what it reached on fresh seeds.
    """
    if evidence.networks.empty:
        return [_nothing(evidence)]
    if evidence.studies:
        return claims["agreement"]
    onsets = [one for one in claims.get("depth", []) if one.kind == "degradation_onset"]
    if onsets:
        first = [one for one in onsets if one.subject.get("skip") == "none"][:1]
        second = [one for one in onsets if one.subject.get("skip") == "identity"][:1]
        chosen = [*first, *second] or onsets[:2]
        differences = claims.get("comparisons", [])
        ours = [one for one in differences if one.subject.get("skip") == "identity"] or differences
        deepest = max((one.subject.get("depth") or 0 for one in ours), default=None)
        return [*chosen, *[one for one in ours if (one.subject.get("depth") or 0) == deepest][:1]]
    of_depth = [
        one
        for one in claims.get("axes", [])
        if one.kind == "axis_effect" and one.subject["axis"] == "depth" and one.estimate is not None
    ]
    if claims.get("depth") and of_depth:
        return [*of_depth[:1], *claims.get("winner", [])[:1]]
    winners = claims.get("winner", [])[:1] or [_only(evidence)]
    return [*_by_objective(evidence), *winners, *claims.get("finalists", [])[:1]]


def _by_objective(evidence: Evidence) -> list[Claim]:
    """Name the best network by the study's first objective, where that is not accuracy: the one that `pick` takes."""
    if evidence.results is None or (objective := Objective.of(evidence.results.run)).column == "val_accuracy":
        return []
    first = evidence.networks.iloc[evidence.order[0]]
    value = float(first["objective"])
    return [
        Claim(
            "best_by_objective",
            {"name": str(first["name"]), "objective": objective.column},
            value,
            None,
            None,
            "mean over seeds; the optimism of having been chosen is not taken out",
            len(evidence.scores[int(first["network"])]),
            f"By {objective.words}, which the study optimised, the best of {len(evidence.networks)} fully "
            f"trained networks is {first['name']} ({value:.4g}). What follows is on accuracy.",
        )
    ]


def _nothing(evidence: Evidence) -> Claim:
    method = "the record of the study's trials"
    return Claim("nothing_yet", {}, None, None, None, method, 0, "No network has trained every epoch yet.")


def _only(evidence: Evidence) -> Claim:
    row = evidence.networks.iloc[0]
    scores = evidence.scores[int(row["network"])]
    sentence = f"One network has trained every epoch, {row['name']}: it reaches an accuracy of {scores.mean():.3f}."
    return Claim(
        "only_network",
        {"name": str(row["name"])},
        float(scores.mean()),
        None,
        None,
        "mean over seeds",
        len(scores),
        sentence,
    )
