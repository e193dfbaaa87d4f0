"""Populations: how the networks of one choice fare against those of another, plain and at equal cost."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ressearch.reporting.claims.claim import Claim, analysis
from ressearch.reporting.claims.comparisons import compared, control_of
from ressearch.reporting.claims.lines import depth_lines
from ressearch.reporting.evidence import Evidence
from ressearch.statistics.populations import chance_to_beat, interval, strata_of

METHOD = (
    "probability that a network of one kind beats one of the other, ties half (Brunner and Munzel 2000), within "
    "quarters "
    "of MACs (van Elteren 1960); p-values by Bonferroni; cf. the error distribution functions of Radosavovic et al. "
    "2019, 2020"
)
_FEWEST = 8
"""Networks that a population has at least."""


@analysis("populations")
def populations(evidence: Evidence) -> list[Claim]:
    """How often a network of each kind beats one of the control's, over all and at equal cost."""
    choice = compared(evidence)
    if choice is None or depth_lines(evidence):
        return []
    table = evidence.networks
    score = evidence.mean
    control = control_of(table[choice])
    values = [one for one in sorted(table[choice].unique(), key=str) if one != control]
    places = {value: (table[choice] == value).to_numpy() for value in [control, *values]}
    kept = [value for value in values if places[value].sum() >= _FEWEST]
    if places[control].sum() < _FEWEST or not kept:
        return []
    cost = next((key for key in ("macs", "params") if key in table and table[key].notna().all()), None)
    strata = None if cost is None else strata_of(table[cost].to_numpy(dtype=float))
    claims = []
    for value in kept:
        ours, theirs = places[value], places[control]
        plain = chance_to_beat(score[ours], score[theirs])
        fair = plain if strata is None else chance_to_beat(score[ours], score[theirs], (strata[ours], strata[theirs]))
        estimate, error, freedom = fair if not np.isnan(fair[0]) else plain
        is_fair = strata is not None and not np.isnan(fair[0])
        low, high = interval(estimate, error, freedom, int(min(ours.sum(), theirs.sum())))
        p = float(2 * stats.t.sf(abs(estimate - 0.5) / error, freedom)) if error > 0 else float(estimate == 0.5)
        p = min(p * len(kept), 1.0)
        names = [_one(choice, str(one)) for one in (value, control)]
        verdict = "" if p <= 0.05 else ", which cannot be told from even chances"
        held = f" with like {'MACs' if cost == 'macs' else 'parameters'}" if is_fair else ""
        claims.append(
            Claim(
                "population_difference",
                {choice: value, "against": control, "at_equal_cost": is_fair},
                estimate,
                low,
                high,
                METHOD,
                int(ours.sum() + theirs.sum()),
                f"{names[0]} beats {names[1][:1].lower()}{names[1][1:]}{held} in "
                f"{estimate:.0%} of pairs (95 % interval {low:.0%} to {high:.0%}){verdict}.",
                p=p,
                more={"over_all": plain[0]},
            )
        )
    return claims


def _one(choice: str, value: str) -> str:
    """Return what one network of a population is called."""
    words = value.replace("_", " ")
    if choice == "skip":
        return "A plain network" if value == "none" else f"A network with {words} skips"
    return f"A network with {choice.replace('_', ' ')} {words}"
