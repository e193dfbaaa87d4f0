"""What next? What the seeds could see, and what the next hour of training would buy most."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ressearch.reporting.claims.claim import Claim, analysis, number
from ressearch.reporting.claims.depth import known_lines
from ressearch.reporting.evidence import Evidence
from ressearch.statistics.means import moderated_variances
from ressearch.statistics.power import detectable
from ressearch.statistics.winner import shrink

METHOD = "two networks of the typical variance over seeds, two-sided t-test at 0.05 with 80 % power (noncentral t)"


_NONE = 1e-9
"""A standard deviation below this is what rounding leaves of none."""


@analysis("power")
def power(evidence: Evidence) -> list[Claim]:
    """The difference that the seeds could see, and what to spend the next hour on."""
    networks, mean, seeds, own = evidence.numbers, evidence.mean, evidence.seeds, evidence.own_variance
    if not networks:
        return []
    typical = int(np.median(seeds))
    if typical < 2:
        sentence = (
            "With one seed per network no difference between two networks can be told from chance: train each on at "
            "least three seeds to see any."
        )
        subject = {"seeds": typical}
        return [Claim("detectable_difference", subject, None, None, None, METHOD, len(networks), sentence)]
    upper = mean >= np.median(mean)
    deviation = float(np.sqrt(np.nanmedian(own[upper])) if len(networks) < 3 else np.sqrt(np.nanmean(own[upper])))
    if deviation < _NONE:
        deviation = 0.5 / evidence.examples if evidence.examples else 0.0
    if deviation < _NONE:
        return []
    freedom = 2.0 * (typical - 1)
    size = detectable(deviation, typical, freedom)
    claims = [
        Claim(
            "detectable_difference",
            {"seeds": typical},
            size,
            None,
            None,
            METHOD,
            int(seeds.sum()),
            f"With {typical} seeds per network, whose accuracies differ by a standard deviation of "
            f"{number(deviation, 4)}, a "
            f"difference of {number(size)} between two networks is found in 80 % of cases; smaller ones are mostly "
            "missed.",
            more={
                "standard_deviation": deviation,
                "with_twice_the_seeds": detectable(deviation, 2 * typical, 2.0 * (2 * typical - 1)),
            },
        )
    ]
    return [*claims, *_next_hour(evidence, networks, mean, own, seeds)]


def _next_hour(
    evidence: Evidence, networks: list[int], mean: np.ndarray, own: np.ndarray, seeds: np.ndarray
) -> list[Claim]:
    """Say what buys most: more depth, more seeds, more networks, or nothing."""
    method = (
        "what each would add to the accuracy expected of the network chosen, by the fitted distribution of networks"
    )
    if len(networks) < 3:
        return []
    variance, freedom = moderated_variances(mean, np.where(own == 0, 1e-12, own), seeds - 1)
    if np.isnan(variance).any() or (variance <= 0).any():
        return []
    found = shrink(mean, variance / seeds, float(np.median(freedom)))
    sharper = shrink(mean, variance / (2 * seeds), float(np.median(freedom)), draws=1000)
    seeds_gain = max(found.regret - sharper.regret, 0.0)
    count = len(networks)
    spread = found.spread
    more = _highest(2 * count) - _highest(count)
    networks_gain = (
        more * spread * float(np.sqrt(spread**2 / (spread**2 + np.median(variance / seeds)))) if spread else 0.0
    )
    gains = {"seeds": seeds_gain, "networks": networks_gain if evidence.is_search else 0.0}
    if _still_rises(evidence):
        choice, value = "depth", None
        sentence = (
            "What next: more depth. Along at least one line accuracy still rises at the deepest network, so where "
            "depth stops helping lies beyond it."
        )
    else:
        choice = max(gains, key=lambda name: gains[name])
        value = gains[choice]
        if value < 0.0005:
            choice = "nothing"
            sentence = (
                "What next: nothing. Twice the seeds would be expected to improve the choice by less than 0.0005"
                + (", and so would twice the networks." if evidence.is_search else ".")
            )
        elif choice == "seeds":
            sentence = (
                f"What next: more seeds. Twice as many would be expected to improve the choice among these networks by "
                f"{value:.4f}"
                + (f", twice as many networks by {gains['networks']:.4f}." if evidence.is_search else ".")
            )
        else:
            sentence = (
                f"What next: more networks. Twice as many would be expected to improve the best by {value:.4f}, "
                f"twice as many seeds by {gains['seeds']:.4f}."
            )
    return [Claim("next_hour", {"choice": choice}, value, None, None, method, count, sentence, more={"gains": gains})]


def _highest(count: int) -> float:
    """Return the expected highest of so many standard normal values (Blom 1958)."""
    return float(stats.norm.ppf((count - 0.375) / (count + 0.25)))


def _still_rises(evidence: Evidence) -> bool:
    return any(line.saturation == len(line.depths) - 1 and len(line.depths) > 2 for line in known_lines(evidence))
