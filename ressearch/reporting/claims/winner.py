"""The honest winner: the best network without the optimism of the choice, and the networks tied with it."""

from __future__ import annotations

import functools

import numpy as np
from scipy import stats

from ressearch.reporting.claims.claim import Claim, analysis, number
from ressearch.reporting.evidence import COST_WORDS, COSTS, Evidence
from ressearch.reporting.statistics.means import Floats, moderated_variances
from ressearch.reporting.statistics.winner import shrink

METHOD = (
    "empirical Bayes: expectation given the network's own mean, its true value drawn from the distribution of all "
    "networks, estimated from them (Robbins 1956; Kiefer and Wolfowitz 1956; Efron 2011)"
)
TIED = (
    "networks that no other was shown to beat: one-sided t-tests of differences, held together over all others (Hsu "
    "1981; Sidak 1967), with variances drawn towards those of networks of like accuracy (Smyth 2004)"
)


@analysis("winner")
@functools.lru_cache(maxsize=4)  # the path of `ablation` ends at it
def winner(evidence: Evidence) -> list[Claim]:
    """The shrunk winner, and the set of networks tied with it."""
    table = evidence.networks
    if len(table) < 2:
        return []
    networks, mean, seeds, own = evidence.numbers, evidence.mean, evidence.seeds, evidence.own_variance
    resolution = 0.0 if evidence.examples is None else 1 / evidence.examples
    own = np.where(np.isnan(own), np.nan, np.maximum(own, resolution**2 / 12))
    variance, freedom = moderated_variances(mean, own, seeds - 1)
    if np.isnan(variance).any():
        return _unknown(evidence, networks, mean)
    claims = [_tied(evidence, networks, mean, variance / seeds, freedom)]
    if len(networks) >= 3 and (variance > 0).all():
        claims.insert(0, _shrunk(evidence, networks, mean, variance, seeds, freedom))
    return claims


def _name(evidence: Evidence, network: int) -> str:
    return str(evidence.rows[network]["name"])


def _shrunk(
    evidence: Evidence, networks: list[int], mean: Floats, variance: Floats, seeds: Floats, freedom: Floats
) -> Claim:
    found = shrink(mean, variance / seeds, float(np.median(freedom)))
    best = found.best
    low, high = found.interval(best)
    low, high = max(low, 0.0), min(high, 1.0)
    chance = float(found.chance_of_best[best])
    optimism = float(mean.max() - found.estimate[best])
    name = _name(evidence, networks[best])
    return Claim(
        "shrunk_winner",
        {"name": name, "network": networks[best], "among": len(networks)},
        float(found.estimate[best]),
        low,
        high,
        METHOD,
        int(seeds[best]),
        f"The best network of {len(networks)} is most likely {name}, with an accuracy of "
        f"{number(found.estimate[best])} (95 % interval {number(low)} to {number(high)}) once the optimism of having "
        f"been chosen, {number(max(optimism, 0.0))}, is taken out of its mean of {number(mean[best])}. The probability "
        f"that it is the best is {chance:.0%}.",
        more={
            "mean": mean[best],
            "optimism": optimism,
            "probability_of_best": chance,
            "spread_of_networks": found.spread,
            "seed_sd": float(np.sqrt(variance[best])),
        },
    )


def _tied(evidence: Evidence, networks: list[int], mean: Floats, variance: Floats, freedom: Floats) -> Claim:
    """Return the networks that none was shown to beat, and the cheapest of them."""
    count = len(networks)
    level = 1 - 0.95 ** (1 / max(count - 1, 1))
    rivals = np.argsort(-mean)[:50]
    total = variance[:, None] + variance[None, rivals]
    gap = mean[None, rivals] - mean[:, None]
    square = variance**2 / np.maximum(freedom, 1e-9)
    squares = square[:, None] + square[None, rivals]
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = np.where(squares > 0, total**2 / squares, 1e9)
        ratio = np.where(total > 0, gap / np.sqrt(total), np.where(gap > 0, np.inf, 0.0))
    p = stats.t.sf(ratio, dof)
    p[gap <= 0] = 1.0
    least = p.min(axis=1)
    members = [one for one in range(count) if least[one] > level]
    members.sort(key=lambda one: -mean[one])
    names = [_name(evidence, networks[one]) for one in members]
    cost = next((key for key in ("macs", *COSTS, "depth") if key in evidence.networks), None)
    costs = evidence.networks[cost].to_numpy(dtype=float) if cost is not None else None
    cheapest = None
    if costs is not None and not np.isnan(costs).all():
        cheapest = min(members, key=lambda one: (costs[one] if not np.isnan(costs[one]) else np.inf, -mean[one]))
    best = members[0]
    if len(members) == 1:
        others = "the other network" if count == 2 else f"each of the other {count - 1} networks"
        sentence = f"{names[0]} ({number(mean[best])}) was shown to be better than {others}."
    else:
        sentence = (
            f"{len(members)} of {count} networks cannot be told from the best by these seeds"
            + (f": {', '.join(names)}" if len(members) <= 4 else "")
            + "."
        )
        if cheapest is not None and cost is not None and cheapest != best and costs is not None:
            share = costs[cheapest] / costs[best]
            sentence += (
                f" The cheapest of them is {_name(evidence, networks[cheapest])} ({number(mean[cheapest])}), with "
                f"{_share(share)} of the {COST_WORDS.get(cost, cost)} of {names[0]} ({number(mean[best])})."
            )
    return Claim(
        "tied_with_best",
        {"among": count},
        len(members),
        None,
        None,
        TIED,
        int(sum(len(evidence.scores[one]) for one in networks)),
        sentence,
        more={
            "members": names[:100],
            "networks": [networks[one] for one in members][:1000],
            "cheapest": None if cheapest is None else _name(evidence, networks[cheapest]),
            "highest_mean": _name(evidence, networks[best]),
        },
    )


def _unknown(evidence: Evidence, networks: list[int], mean: Floats) -> list[Claim]:
    best = int(np.argmax(mean))
    name = _name(evidence, networks[best])
    sentence = (
        f"{name} has the highest accuracy of {len(networks)} networks, {number(mean[best])}. With one seed per network "
        "nothing says how much of that is chance: it is flattered by the choice, by an unknown amount, and which "
        "networks are as good cannot be said."
    )
    subject = {"name": name, "network": networks[best], "among": len(networks)}
    return [Claim("shrunk_winner", subject, None, None, None, METHOD, 1, sentence, more={"mean": mean[best]})]


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.01 else "less than 1%"
