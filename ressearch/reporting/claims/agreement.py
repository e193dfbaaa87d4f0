"""What several studies say of the same networks: how far apart, in the same order, and led by the same network."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, stats

from ressearch.reporting.claims.claim import Claim, analysis, number, span
from ressearch.reporting.claims.comparisons import comparisons, covers, order_of, verdict
from ressearch.reporting.claims.depth import depth
from ressearch.reporting.claims.lines import label
from ressearch.reporting.evidence import Evidence
from ressearch.reporting.side_by_side import settings_that_differ, share_examples
from ressearch.statistics.means import Family, Floats, Means, differences, means_of

METHOD = (
    "difference of the means over seeds of networks that both studies have, Welch 1947 or, where variances are alike "
    "(Bartlett 1937), one shared variance; held together by the simulated least p-value (Westfall and Young 1993)"
)
_OVER_NETWORKS = "paired t-interval over the networks that both studies have, taken as a sample of such networks"
_RANKS = "Spearman 1904's rank correlation of mean accuracies; interval of Bonett and Wright 2000"

_MOST = 200
"""Networks above which their differences are not listed one by one, and the mean is taken over a sample."""

_FEWEST = 5
"""Networks that a rank correlation needs."""

_TELLING = 4
"""Different accuracies that two studies do not have alike, seed by seed, unless one is a copy."""

_HELD = ("width", "block", "recipe")

_SAID = 6
"""Settings that a sentence lists."""


@functools.lru_cache(maxsize=4)
def shared(evidence: Evidence) -> dict[str, list[tuple[int, int]]]:
    """Return, for each study but the first, its networks that the first has too: (its own, the first's), by depth."""
    first, *others = evidence.studies
    table = evidence.networks
    found = {}
    for other in others:
        part = table[table["study"] == other]
        part = part.sort_values("depth", kind="stable") if "depth" in part else part
        keys = [key for key in evidence.axes if all(key in evidence.studies[one].networks for one in (first, other))]
        theirs: list[Any] = table[table["study"] == first].to_dict("records")
        base = {_identity(row, keys): int(row["network"]) for row in theirs}
        ours: list[Any] = part.to_dict("records")
        found[other] = [(int(row["network"]), base[is_]) for row in ours if (is_ := _identity(row, keys)) in base]
    return found


def _identity(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[Any, ...]:
    """Return what makes a network the same one elsewhere: its name, and what both studies tell of it."""
    values = ["" if pd.isna(row[key]) else row[key] for key in keys]
    plain = [str(one).split(" ")[0] if key == "skip" else one for key, one in zip(keys, values, strict=True)]
    return (str(row["name"]), *plain)  # a skip's options stand beside it where they vary in a study; the name has them


@analysis("agreement", of_studies=True)
def agreement(evidence: Evidence) -> list[Claim]:
    """How far apart the studies are on the networks that they share, and whether they rank them alike."""
    first = next(iter(evidence.studies))
    claims: list[Claim] = []
    for other, pairs in shared(evidence).items():
        if not pairs:
            sentence = f"{other} and {first} have no network in common, so their accuracies are not compared."
            method = "networks of the same name, and of the same values where both tell them"
            claims.append(
                Claim("shared_networks", {"study": other, "against": first}, 0, None, None, method, 0, sentence)
            )
            continue
        if _is_copy(evidence, pairs):
            claims.append(_copy(evidence, other, first, pairs))
            continue
        claims.append(_mean_difference(evidence, other, first, pairs))
        if len(pairs) > 1:
            claims += [_order(evidence, other, first, pairs), _leader(evidence, other, first, pairs)]
    return [*claims, *_settings(evidence)]


@analysis("network_by_network", of_studies=True)
def network_by_network(evidence: Evidence) -> list[Claim]:
    """The difference between the studies of each network that they share."""
    first = next(iter(evidence.studies))
    claims: list[Claim] = []
    for other, pairs in shared(evidence).items():
        if not 1 < len(pairs) <= _MOST or not _has_seeds(evidence, pairs) or _is_copy(evidence, pairs):
            continue
        means = means_of_studies(evidence, other)
        contrasts = means.contrasts(differences(2 * len(pairs), [(at, at + len(pairs)) for at in range(len(pairs))]))
        family = Family.of(contrasts)
        low, high = np.maximum(family.low, -1.0), np.minimum(family.high, 1.0)
        for at, (one, base) in enumerate(pairs):
            if np.isnan(low[at]):
                continue
            value, share = float(contrasts.estimate[at]), float(contrasts.examples_share[at])
            name = str(evidence.rows[one]["name"])
            scores = [number(float(evidence.scores[network].mean())) for network in (one, base)]
            sentence = (
                f"{name} reaches {scores[0]} in {other} and {scores[1]} in {first}: {verdict(low[at], high[at])} "
                f"{value:+.3f} ({span(low[at], high[at])}, held together over {len(pairs)} networks)."
            )
            claims.append(
                Claim(
                    "difference",
                    {"study": other, "against": first, "name": name},
                    value,
                    float(low[at]),
                    float(high[at]),
                    METHOD,
                    min(len(evidence.scores[one]), len(evidence.scores[base])),
                    sentence,
                    p=float(family.p[at]),
                    more=covers(means, share),
                )
            )
    return claims


@analysis("choices", of_studies=True)
def choices(evidence: Evidence) -> list[Claim]:
    """Whether what a choice changes, all else equal, differs between the studies: all networks of it shared."""
    first = next(iter(evidence.studies))
    named = {tuple(one.more["networks"]): one for one in comparisons(evidence.studies[first])}
    claims: list[Claim] = []
    for other, pairs in shared(evidence).items():
        place = {str(evidence.rows[one]["name"]): at for at, (one, _) in enumerate(pairs)}
        asked = [names for names in named if set(names) <= set(place)]
        if not asked or _is_copy(evidence, pairs):
            continue
        means, count = means_of_studies(evidence, other), len(pairs)
        rows = np.zeros((len(asked), 2 * count))
        for row, (one, control) in zip(rows, asked, strict=True):
            row[[place[one], place[control] + count]] += 1.0
            row[[place[control], place[one] + count]] -= 1.0
        contrasts = means.contrasts(rows)
        family = Family.of(contrasts)
        for at, names in enumerate(asked):
            value, low, high = float(contrasts.estimate[at]), float(family.low[at]), float(family.high[at])
            if np.isnan(low):
                continue
            there, here = _gain(means, place, names, 0), _gain(means, place, names, count)
            low, high = max(low, -2.0), min(high, 2.0)
            together = f", held together over {len(asked)} such choices" if len(asked) > 1 else ""
            sentence = (
                f"{_choice(evidence.studies[first], named[names])} changes accuracy by {there:+.3f} in {other} and by "
                f"{here:+.3f} in {first}: {verdict(low, high)} {value:+.3f} ({span(low, high)}{together})."
            )
            subject = {**named[names].subject, "study": other, "against_study": first}
            share = float(contrasts.examples_share[at])
            more = {"networks": list(names), **covers(means, share)}
            method = METHOD.replace("difference of the means", "difference of differences of the means")
            seeds = named[names].n
            p = float(family.p[at])
            claims.append(
                Claim("difference_of_differences", subject, value, low, high, method, seeds, sentence, p=p, more=more)
            )
    claims.sort(key=lambda one: -float(one.subject.get("depth") or 0))
    return claims


def _choice(evidence: Evidence, difference: Claim) -> str:
    """Say, of a study's own claim on a choice, what is chosen instead of what."""
    subject = difference.subject
    choice = next(iter(subject))
    row = next(one for one in evidence.rows.values() if one["name"] == difference.more["networks"][0])
    begin = f"At depth {subject['depth']}, " if "depth" in subject else ""
    fixed: dict[str, object] = {key: subject[key] for key in _HELD if key in subject and key != choice}
    held = f" ({label(fixed)})" if fixed else ""
    chosen, control = label({choice: subject[choice]} | order_of(evidence, row)), label({choice: subject["against"]})
    text = f"{begin}{chosen} instead of {control}{held}"
    return text[:1].upper() + text[1:]


def _gain(means: Means, place: Mapping[str, int], names: tuple[str, ...], first: int) -> float:
    return float(means.mean[place[names[0]] + first] - means.mean[place[names[1]] + first])


@analysis("depth_in_each", of_studies=True)
def depth_in_each(evidence: Evidence) -> list[Claim]:
    """What depth does in each study: the statements of its own report, those on what hurts first."""
    said = [
        dataclasses.replace(one, subject={"study": study, **one.subject}, sentence=f"{study}: {one.sentence}")
        for study, part in evidence.studies.items()
        for one in depth(part)
    ]
    return sorted(said, key=lambda one: one.kind != "degradation_onset")


@functools.lru_cache(maxsize=16)
def means_of_studies(evidence: Evidence, other: str) -> Means:
    """Return the means of the networks that a study shares with the first: its own, and then the first's.

    Networks of studies that scored the same examples are compared on each of them. Those of studies that scored other
    examples vary with the choice of examples apart from each other.
    """
    pairs = shared(evidence)[other]
    ours, theirs = [one for one, _ in pairs], [base for _, base in pairs]
    if share_examples(evidence.studies):
        return evidence.means([*ours, *theirs])
    whole = means_of([evidence.scores[one] for one in [*ours, *theirs]])
    parts = [_in_its_study(evidence, networks) for networks in (ours, theirs)]
    if not all(part.covers_examples for part in parts):
        return whole
    joined = linalg.block_diag(*(part.examples for part in parts))
    return dataclasses.replace(whole, examples=joined, examples_freedom=min(part.examples_freedom for part in parts))


def _in_its_study(evidence: Evidence, networks: Sequence[int]) -> Means:
    part = evidence.studies[str(evidence.rows[networks[0]]["study"])]
    return part.means([int(evidence.rows[one]["number_in_study"]) for one in networks])


def _has_seeds(evidence: Evidence, pairs: Sequence[tuple[int, int]]) -> bool:
    return any(len(evidence.scores[one]) > 1 for pair in pairs for one in pair)


def _is_copy(evidence: Evidence, pairs: Sequence[tuple[int, int]]) -> bool:
    return all(np.array_equal(evidence.scores[one], evidence.scores[base]) for one, base in pairs)


def _copy(evidence: Evidence, other: str, first: str, pairs: Sequence[tuple[int, int]]) -> Claim:
    """Say that two studies hold the same results, which says nothing of whether others would agree."""
    count = len(pairs)
    values = {float(score) for one, _ in pairs for score in evidence.scores[one]}
    why = "one is a copy of the other, or the same runs made again"
    if len(values) < _TELLING:  # all at chance, all without an error, or one seed: chance can do that too
        why = "one may be a copy of the other, but so few different accuracies can be alike by chance"
    sentence = f"Every seed of {_that_both_have(count)} reached the same in {other} as in {first}: {why}."
    method = "accuracies compared seed by seed"
    return Claim("same_results", {"study": other, "against": first}, count, None, None, method, count, sentence)


def _that_both_have(count: int) -> str:
    return f"the {count} networks that both have" if count > 1 else "the network that both have"


def _mean_difference(evidence: Evidence, other: str, first: str, pairs: Sequence[tuple[int, int]]) -> Claim:
    """Return the mean over shared networks of the difference between two studies."""
    gaps = np.array([evidence.scores[one].mean() - evidence.scores[base].mean() for one, base in pairs])
    value, count = float(gaps.mean()), len(pairs)
    low, high, p, method = np.nan, np.nan, None, _OVER_NETWORKS
    more: dict[str, object] = {"covers": ["networks"]}
    if count <= _MOST and _has_seeds(evidence, pairs):
        means = means_of_studies(evidence, other)
        contrast = means.contrasts(np.concatenate([np.full(count, 1 / count), np.full(count, -1 / count)])[None])
        reach, method = float(contrast.reach()[0]), METHOD.partition(";")[0] + "; the mean over networks"
        low, high, p = value - reach, value + reach, float(contrast.p()[0])
        more = covers(means, float(contrast.examples_share[0]))
    elif count >= 10:
        reach = float(stats.t.isf(0.025, count - 1) * gaps.std(ddof=1) / np.sqrt(count))
        low, high = value - reach, value + reach
        p = float(stats.ttest_1samp(gaps, 0.0).pvalue) if np.ptp(gaps) > 0 else None
    known = not np.isnan(low)
    by = f"{abs(value):.3f} {'more' if value > 0 else 'less'} accurate than"
    by = by if round(abs(value), 3) > 0 else "to 0.001 as accurate as"
    begin = f"On {_that_both_have(count)}, {other} is {by} {first}"
    begin += " on average" if count > 1 else ""
    if not known:
        seeds = "so few seeds" if _has_seeds(evidence, pairs) else "one seed per network"
        sentence = f"{begin}; {seeds} cannot say whether that is more than chance."
        if round(abs(value), 3) == 0:
            sentence = f"{begin}; {seeds} cannot say by how much chance moves that."
    elif low > 0 or high < 0:
        sentence = f"{begin} (difference {value:+.3f}, {span(max(low, -1.0), min(high, 1.0))})."
    else:
        sentence = (
            f"{begin}, which cannot be told from none (difference {value:+.3f}, "
            f"{span(max(low, -1.0), min(high, 1.0))})."
        )
    return Claim(
        "mean_difference",
        {"study": other, "against": first},
        value,
        max(low, -1.0) if known else None,
        min(high, 1.0) if known else None,
        method,
        count,
        sentence,
        p=p,
        more=more,
    )


def _order(evidence: Evidence, other: str, first: str, pairs: Sequence[tuple[int, int]]) -> Claim:
    """Return how alike two studies rank the networks that they share."""
    ours, theirs = _both(evidence, pairs)
    subject, count = {"study": other, "against": first}, len(pairs)
    if count < _FEWEST or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        why = f"{count} shared networks are too few"
        if count >= _FEWEST:
            why = "all networks of one study are equally accurate, which is no order"
        sentence = f"Whether {other} and {first} rank networks alike cannot be said: {why}" + (
            f" (of {_FEWEST})." if count < _FEWEST else "."
        )
        return Claim("rank_correlation", subject, None, None, None, _RANKS, count, sentence)
    rho, tau = float(stats.spearmanr(ours, theirs).statistic), float(stats.kendalltau(ours, theirs).statistic)
    bounded = min(max(rho, -1 + 1e-9), 1 - 1e-9)
    reach = stats.norm.isf(0.025) * np.sqrt((1 + rho**2 / 2) / (count - 3))
    low, high = (float(np.tanh(np.arctanh(bounded) + sign * reach)) for sign in (-1, 1))
    p = float(stats.spearmanr(ours, theirs).pvalue)
    told = "rank them alike" if low > 0 else "rank them in opposite order" if high < 0 else ""
    said = f"rank correlation {rho:+.2f}, {span(low, high, 2)}"
    sentence = (
        f"{other} and {first} {told} ({said})."
        if told
        else f"Whether {other} and {first} rank them alike cannot be told ({said})."
    )
    if told and _has_seeds(evidence, pairs):
        sentence = sentence[:-1] + "; networks that differ by less than their seeds do lower it."
    return Claim("rank_correlation", subject, rho, low, high, _RANKS, count, sentence, p=p, more={"kendall_tau": tau})


def _leader(evidence: Evidence, other: str, first: str, pairs: Sequence[tuple[int, int]]) -> Claim:
    """Say what became, in one study, of the network of the highest mean in the other."""
    ours, theirs = _both(evidence, pairs)
    best = int(theirs.argmax())
    place = 1 + int((ours > ours[best]).sum())
    name, count = str(evidence.rows[pairs[best][0]]["name"]), len(pairs)
    loss = float(ours.max() - ours[best])
    where = (
        f"has the highest mean in {other} too"
        if place == 1
        else f"is number {place} in {other}, {loss:.3f} below its best"
    )
    tied = int((theirs == theirs[best]).sum())
    which = f"the one of the highest mean in {first}, {name},"
    if tied > 1:
        which = f"{name}, one of the {tied} of the highest mean in {first},"
    sentence = f"Of the {count} shared networks, {which} {where}, by means that chance orders too."
    return Claim(
        "leader_elsewhere",
        {"study": other, "against": first, "name": name},
        place,
        None,
        None,
        "order of means over seeds; descriptive",
        count,
        sentence,
        more={"below_best": loss},
    )


def _both(evidence: Evidence, pairs: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
    ours, theirs = (np.array([evidence.scores[pair[at]].mean() for pair in pairs]) for at in (0, 1))
    return ours, theirs


def _settings(evidence: Evidence) -> list[Claim]:
    """Say what differs between the studies besides their networks."""
    if any(part.results is None for part in evidence.studies.values()):
        return []
    found = settings_that_differ(evidence.studies)
    labels = list(evidence.studies)
    listed = [
        f"{key} ({'; '.join(f'{label}: {_shown(value)}' for label, value in zip(labels, values, strict=True))})"
        for key, values in found.items()
    ]
    rest = f" and {len(listed) - _SAID} more" if len(listed) > _SAID else ""
    sentence = (
        f"The studies differ in {', '.join(listed[:_SAID])}{rest}; any of it may be behind a difference."
        if len(found) > 1
        else f"The studies differ in {listed[0]} alone, and in which networks they trained."
        if found
        else "The study files say the same of data, recipe and seeds."
    )
    method = "the study files, without their spaces and searches"
    return [
        Claim(
            "settings",
            {"studies": labels},
            len(found),
            None,
            None,
            method,
            len(labels),
            sentence,
            more={"differ": found},
        )
    ]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
