"""The honest winner: the best network without the optimism of the choice, and the networks tied with it."""

from __future__ import annotations

import functools

import numpy as np

from ressearch.reporting.claims.claim import Claim, analysis, number
from ressearch.reporting.evidence import COST_WORDS, COSTS, Evidence
from ressearch.statistics.means import Floats
from ressearch.statistics.winner import Shrunk, Standing

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
    if len(evidence.networks) < 2:
        return []
    networks, found = evidence.numbers, evidence.standing
    if np.isnan(found.variance).any():
        return _unknown(evidence, networks, found.mean)
    claims = [_tied(evidence, networks, found)]
    if found.shrunk is not None:
        claims.insert(0, _shrunk(evidence, networks, found, found.shrunk))
    return claims


def _name(evidence: Evidence, network: int) -> str:
    return str(evidence.rows[network]["name"])


def _shrunk(evidence: Evidence, networks: list[int], found: Standing, shrunk: Shrunk) -> Claim:
    best = shrunk.best
    low, high = shrunk.interval(best)
    low, high = max(low, 0.0), min(high, 1.0)
    chance, mean = float(shrunk.chance_of_best[best]), float(found.mean[best])
    optimism = float(found.mean.max() - shrunk.estimate[best])
    name = _name(evidence, networks[best])
    fresh = len(evidence.fresh.get(networks[best], ()))
    counted = f", {fresh} fresh {'seed' if fresh == 1 else 'seeds'} of its own counted" if fresh else ""
    return Claim(
        "shrunk_winner",
        {"name": name, "network": networks[best], "among": len(networks)},
        float(shrunk.estimate[best]),
        low,
        high,
        METHOD,
        int(found.seeds[best]),
        f"The best network of {len(networks)} is most likely {name}, with an accuracy of "
        f"{number(shrunk.estimate[best])} (95 % interval {number(low)} to {number(high)}) once the optimism of having "
        f"been chosen, {number(max(optimism, 0.0))}, is taken out of its mean of {number(mean)}{counted}. The "
        f"probability that it is the best is {chance:.0%}.",
        more={
            "mean": mean,
            "optimism": optimism,
            "probability_of_best": chance,
            "spread_of_networks": shrunk.spread,
            "seed_sd": float(np.sqrt(found.variance[best])),
        },
    )


def _tied(evidence: Evidence, networks: list[int], found: Standing) -> Claim:
    """Return the networks that none was shown to beat, and the cheapest of them."""
    count, mean = len(networks), found.mean
    members = found.tied()
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
        int(found.seeds.sum()),
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
