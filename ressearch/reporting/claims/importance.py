"""How much each axis set the best networks of a search apart, among all networks and within the better half.

An effect says what a step along an axis changes; an importance says which axes the best networks owe their place to,
without a model of how accuracy depends on them. The second question, within the better half, leaves out what only
tells networks that fail from those that do not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ressearch.reporting.claims.claim import Claim
from ressearch.reporting.claims.terms import described_axes, is_number, leaders_of
from ressearch.reporting.evidence import Evidence
from ressearch.statistics.importance import TOP, Importances, importances
from ressearch.units import listed

METHOD = (
    "PED-ANOVA, the Pearson divergence of each axis' values among the best quarter from those among all, as a share of "
    "the sum over axes (Watanabe et al. 2023), of numbers in quarters; intervals by the spread over networks drawn "
    "again 100 times; p-values by permutation, adjusted for the number of axes (Bonferroni)"
)
_FEWEST = 20
"""Networks that it takes: five are then among the best quarter, which Optuna advises as the least."""

_CLASSES = 4
"""Classes that numbers of more values are put into: axes of many values come out higher by chance."""


def axis_importances(evidence: Evidence) -> list[Claim]:
    """Return the importance of the axes among all networks and among the better half; a refusal where few are."""
    leaders, score = leaders_of(evidence), evidence.mean
    axes = [axis for axis in described_axes(evidence) if axis not in leaders]
    if len(axes) < 2 or not evidence.is_search:
        return []
    if len(score) < _FEWEST:
        return [_refused("all networks", len(score), _FEWEST)]
    half = np.flatnonzero(score >= np.median(score))
    claims = [_claim(evidence, axes, np.arange(len(score)), "all networks")]
    if len(score) < 2 * _FEWEST:
        return [*claims, _refused("the better half", len(score), 2 * _FEWEST)]
    return [*claims, _claim(evidence, axes, half, "the better half")]


def classes_of(values: pd.Series) -> np.ndarray:
    """Return the class of each value as a number from 0: each value its own; of many numbers, their quarters."""
    if is_number(values) and values.nunique() > _CLASSES:
        values = pd.qcut(values.astype(float), _CLASSES, labels=False, duplicates="drop")
    elif not is_number(values):
        values = values.astype(str)
    return np.asarray(pd.factorize(values, sort=True, use_na_sentinel=False)[0])


def _refused(among: str, count: int, fewest: int) -> Claim:
    where = "" if among == "all networks" else " within the better half"
    sentence = (
        f"Which axes set the best networks apart{where} is not said: that takes {fewest} fully trained networks, and "
        f"there {'is' if count == 1 else 'are'} {count}."
    )
    return Claim("axis_importance", {"axis": None, "among": among}, None, None, None, METHOD, count, sentence)


def _claim(evidence: Evidence, axes: list[str], places: np.ndarray, among: str) -> Claim:
    table, score = evidence.networks.iloc[places], evidence.mean[places]
    found = importances([classes_of(table[axis]) for axis in axes], score)
    order = [int(one) for one in np.argsort(-found.share, kind="stable")]
    first, count = order[0], len(places)
    if found.share[first] == 0:
        sentence = f"Of {_whole(among, count)} no quarter stands out: their accuracies are alike."
        return Claim("axis_importance", {"axis": None, "among": among}, None, None, None, METHOD, count, sentence)
    names = [_words(evidence, axis) for axis in axes]
    told = [one for one in order if found.p[one] <= 0.05]
    return Claim(
        "axis_importance",
        {"axis": axes[first], "among": among},
        float(found.share[first]),
        float(found.low[first]),
        float(found.high[first]),
        METHOD,
        count,
        _sentence(names, found, told, [one for one in order if one not in told], _whole(among, count), among),
        p=float(found.p[first]),
        more={
            "top": TOP,
            "importances": {
                axes[one]: {
                    "share": float(found.share[one]),
                    "low": float(found.low[one]),
                    "high": float(found.high[one]),
                    "p": float(found.p[one]),
                }
                for one in order
            },
        },
    )


def _words(evidence: Evidence, axis: str) -> str:
    """Return what an axis is called, with those that it determines."""
    followers = [one for one, leader in leaders_of(evidence).items() if leader == axis]
    return " with ".join(one.replace("_", " ") for one in (axis, *followers))


def _whole(among: str, count: int) -> str:
    return f"all {count} networks" if among == "all networks" else f"the {count} networks of the better half"


def _sentence(names: list[str], found: Importances, told: list[int], rest: list[int], whole: str, among: str) -> str:
    if not told:
        return f"No axis sets the best quarter of {whole} apart by more than chance would."
    first = told[0]
    text = (
        f"What sets the best quarter of {whole} apart is above all {names[first]} "
        f"({found.share[first]:.0%} of the importance, 95 % interval {found.low[first]:.0%} to {found.high[first]:.0%})"
    )
    if told[1:]:
        text += f", then {listed([f'{names[one]} ({found.share[one]:.0%})' for one in told[1:]])}"
    if rest:
        text += f"; {listed([names[one] for one in rest])} {'does' if len(rest) == 1 else 'do'} so no more than chance"
    if among != "all networks":
        return f"{text}."
    return f"{text}. This is of the networks as they were drawn, and a sampler that learns draws unevenly."


__all__ = ["axis_importances", "classes_of"]
