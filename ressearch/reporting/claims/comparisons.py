"""Differences between networks that differ in one choice alone, against a control: plain networks where any are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from ressearch.reporting.claims.claim import Claim, analysis, number, span
from ressearch.reporting.claims.lines import depth_lines, label
from ressearch.reporting.evidence import COSTS, Evidence
from ressearch.statistics.means import Family, Means, differences

METHOD = (
    "difference of means, Welch 1947 or, where variances are alike (Bartlett 1937), one shared variance; against one "
    "control, held together over all comparisons at a depth by the simulated least p-value (Dunnett 1955; Westfall "
    "and Young 1993)"
)
_MOST = 200
"""More comparisons than this say nothing that a reader could use; a search's axes are compared elsewhere."""

_LARGEST = 1000
"""Networks above which no study was laid out to compare them in pairs."""

_CHOICES = ("skip", "norm_order", "block", "shortcut", "norm", "activation", "recipe")
_CONTROLS = ("none", "identity", "post", "basic", "projection", "batch", "relu")


@analysis("comparisons")
@functools.lru_cache(maxsize=4)  # the figure shows what the section says
def comparisons(evidence: Evidence) -> list[Claim]:
    """The difference that a choice makes, all else equal, at each depth."""
    choice = compared(evidence)
    if choice is None:
        return []
    if len(evidence.networks) > _LARGEST or all(len(scores) < 2 for scores in evidence.scores.values()):
        return []
    pairs = _pairs(evidence, choice)
    if not pairs or len(pairs) > _MOST:
        return []
    claims: list[Claim] = []
    for depth in sorted({depth for depth, *_ in pairs}):
        claims += _family(evidence, choice, [(one, control) for at, one, control in pairs if at == depth])
    return claims


def _family(evidence: Evidence, choice: str, pairs: list[tuple[int, int]]) -> list[Claim]:
    """Return the differences at one depth, held together."""
    networks = sorted({one for pair in pairs for one in pair})
    means = evidence.means(networks)
    rows = differences(len(networks), [(networks.index(one), networks.index(other)) for one, other in pairs])
    contrasts = means.contrasts(rows)
    family = Family.of(contrasts)
    low, high, alone = np.maximum(family.low, -1.0), np.minimum(family.high, 1.0), contrasts.reach()
    detectable = family.detectable()
    claims = []
    for at, (one, control) in enumerate(pairs):
        row, other = evidence.rows[one], evidence.rows[control]
        value, known = float(contrasts.estimate[at]), not np.isnan(low[at])
        share = float(contrasts.examples_share[at])
        claims.append(
            Claim(
                "difference",
                _subject(evidence, choice, row, other),
                value,
                float(low[at]) if known else None,
                float(high[at]) if known else None,
                METHOD,
                min(len(evidence.scores[one]), len(evidence.scores[control])),
                _sentence(evidence, choice, row, other, (value, low[at], high[at]), len(pairs), share),
                p=float(family.p[at]) if known else None,
                more={
                    "networks": [row.get("name"), other.get("name")],
                    "comparisons": len(pairs),
                    "low_alone": value - alone[at],
                    "high_alone": value + alone[at],
                    "detectable": detectable[at],
                    **covers(means, share),
                },
            )
        )
    return claims


def covers(means: Means, share: float) -> dict[str, Any]:
    """Return what the interval of a difference covers, and the part of its variance that the choice of examples has."""
    if not means.covers_examples:
        return {"covers": ["seeds"], "examples_share": None}
    return {"covers": ["seeds", "examples"], "examples_share": share}


def verdict(low: float, high: float) -> str:
    """Return how a sentence begins that ends with a difference of this interval."""
    return "a difference of" if low > 0 or high < 0 else "a difference that cannot be told from none,"


def compared(evidence: Evidence) -> str | None:
    """Return the choice whose values are compared: the skip style where it varies."""
    varying = [axis for axis in _CHOICES if axis in evidence.axes]
    others = [
        axis
        for axis in evidence.axes
        if axis not in (*varying, "depth", "width", *COSTS)
        and not pd.api.types.is_numeric_dtype(evidence.networks[axis])
    ]
    return next(iter([*varying, *others]), None)


def control_of(values: pd.Series) -> Any:
    """Return the value that the others are compared with: plain, else the original, else the most common."""
    for name in _CONTROLS:
        if (values == name).any():
            return name
    return values.value_counts().index[0]


def _pairs(evidence: Evidence, choice: str) -> list[tuple[Any, int, int]]:
    """Return (depth, network, its control), the two agreeing in everything but `choice`, the deepest last."""
    table = evidence.networks
    control = control_of(table[choice])
    held = {line.held for line in depth_lines(evidence)}
    left_out = {choice} | ({"width", "stem_width"} if held & set(COSTS) else set())
    keys = [axis for axis in evidence.axes if axis not in left_out]
    found: list[tuple[Any, int, int]] = []
    groups: list[tuple[Any, pd.DataFrame]]
    groups = list(table.groupby(keys, dropna=False, sort=True)) if keys else [((), table)]
    plain = _plain_controls(table, choice, keys, control)
    for values, group in groups:
        controls = group[group[choice] == control]
        base = int(controls["network"].iloc[0]) if len(controls) == 1 else plain.get(_without_order(keys, values))
        if base is None or len(controls) > 1:
            continue
        others = group[group[choice] != control]
        if others[choice].duplicated().any():
            continue
        depth = group["depth"].iloc[0] if "depth" in group else 0
        found += [(depth, int(one), base) for one in others["network"]]
    return sorted(found)


def _plain_controls(table: pd.DataFrame, choice: str, keys: list[str], control: Any) -> dict[Any, int]:
    """Return plain networks by what else they are: in either order of activation they are the same network."""
    if choice != "skip" or control != "none" or "norm_order" not in keys:
        return {}
    plain = table[(table["skip"] == "none") & (table["norm_order"] == "post")]
    rows: list[Any] = plain.to_dict("records")
    return {tuple(row[key] for key in keys if key != "norm_order"): int(row["network"]) for row in rows}


def _without_order(keys: list[str], values: Any) -> Any:
    values = values if isinstance(values, tuple) else (values,)
    return tuple(value for key, value in zip(keys, values, strict=True) if key != "norm_order")


def _subject(evidence: Evidence, choice: str, row: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    shared = {axis: row[axis] for axis in evidence.axes if axis != choice and row.get(axis) == other.get(axis)}
    if "depth" in row:
        shared.setdefault("depth", row["depth"])
    return {choice: row[choice], "against": other[choice], **shared}


def _sentence(
    evidence: Evidence,
    choice: str,
    row: dict[str, Any],
    other: dict[str, Any],
    found: tuple[float, float, float],
    count: int,
    share: float,
) -> str:
    value, low, high = found
    ours, theirs = (float(evidence.scores[int(one["network"])].mean()) for one in (row, other))
    shared = {
        axis: row[axis]
        for axis in evidence.axes
        if axis not in (choice, "depth") and row.get(axis) == other.get(axis) and axis in ("width", "block", "recipe")
    }
    begin = f"At depth {row['depth']}" if "depth" in row and not pd.isna(row["depth"]) else "All else equal"
    if shared and len(evidence.networks) > 2:
        begin += f", {label(shared)}"
    names = [label({choice: one[choice]} | order_of(evidence, one)) for one in (row, other)]
    reach = "reach" if choice in ("skip", "block") else "reaches"
    text = f"{begin}, {names[0]} {reach} {number(ours)} and {names[1]} {number(theirs)}: "
    if np.isnan(low):
        return f"{text}a difference of {value:+.3f}, of which one seed each cannot say whether it is more than chance."
    together = f", held together over the {count} comparisons at this depth" if count > 1 else ""
    part = f"; the choice of examples makes up {share:.0%} of its variance" if share > 0 else ""
    return f"{text}{verdict(low, high)} {value:+.3f} ({span(low, high)}{together}{part})."


def order_of(evidence: Evidence, row: dict[str, Any]) -> dict[str, Any]:
    """Return a network's order of activation, where it is a choice: plain networks have one alone."""
    return {"norm_order": row["norm_order"]} if "norm_order" in evidence.axes and row.get("skip") != "none" else {}
