"""Trends: how the error of the best tenth, and of half, of many networks goes with their depth, width and MACs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ressearch.reporting.claims.claim import Claim, analysis, number, span
from ressearch.reporting.claims.lines import depth_lines
from ressearch.reporting.claims.terms import is_number
from ressearch.reporting.evidence import COST_WORDS, Evidence
from ressearch.statistics.quantiles import harrell_davis, quantile_difference
from ressearch.units import format_count

METHOD = (
    "difference of a quantile of error between the third of networks of the greatest and that of the least values "
    "(Harrell and Davis 1982), percentile bootstrap over networks (Wilcox et al. 2014); p-values by Bonferroni; cf. "
    "the trends of Radosavovic et al. 2020"
)
_FEWEST = 33
"""Networks that a third has at least: below, intervals of a tenth's error hold less often than they say."""

_SHARES = {0.1: "the best tenth", 0.5: "half"}


@analysis("trends")
def trends(evidence: Evidence) -> list[Claim]:
    """How quantiles of error differ between the least and the greatest third of each size; other axes as drawn."""
    if depth_lines(evidence) or len(evidence.networks) < 3 * _FEWEST:
        return []
    found = []
    for axis in ("depth", "width", "macs"):
        if axis not in evidence.networks or not is_number(evidence.networks[axis]):
            continue
        values = evidence.networks[axis].to_numpy(dtype=float)
        if pd.isna(values).any():
            continue
        ordered = sorted(values)
        low, high = ordered[(len(ordered) - 1) // 3], ordered[-1 - (len(ordered) - 1) // 3]
        least, greatest = values <= low, values >= high
        if low < high and min(least.sum(), greatest.sum()) >= _FEWEST:
            found.append((axis, least, greatest, low, high))
    error, claims = 1 - evidence.mean, list[Claim]()
    if found and np.ptp(error) == 0:
        sentence = "How error goes with size is not said: all networks are equally accurate."
        return [Claim("quantile_trend", {"axis": None}, None, None, None, METHOD, len(error), sentence)]
    for axis, least, greatest, low, high in found:
        for share, words in _SHARES.items():
            estimate, bottom, top, p = quantile_difference(error[greatest], error[least], share)
            ends = [float(harrell_davis(error[part], share)) for part in (greatest, least)]
            p = min(p * len(found) * len(_SHARES), 1.0)
            large, small = _of(axis, high, "more"), _of(axis, low, "less")
            verdict = ", which cannot be told from no difference"
            if p <= 0.05:
                verdict = f": {number(abs(estimate))} {'less' if estimate < 0 else 'more'}"
            claims.append(
                Claim(
                    "quantile_trend",
                    {"axis": axis, "share": share, "from": low, "to": high},
                    estimate,
                    bottom,
                    top,
                    METHOD,
                    int(least.sum() + greatest.sum()),
                    f"Among the networks as drawn, {words} of those {large} {_errs(share)} less than "
                    f"{number(ends[0])}, of those {small} less than {number(ends[1])}{verdict} "
                    f"({span(bottom, top)}).",
                    p=p,
                )
            )
    return claims


def _of(axis: str, value: float, end: str) -> str:
    said = f"with {format_count(value)} {COST_WORDS[axis]}" if axis in COST_WORDS else f"of {axis} {value:g}"
    return f"{said} or {end}"


def _errs(share: float) -> str:
    return "errs" if share < 0.5 else "err"
