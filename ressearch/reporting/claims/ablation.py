"""What each choice adds on the way from a reference to the best network of a search: an ablation path.

The path of Fawcett and Hoos (2016) changes one choice after the other from a reference to the best network, the most
gainful first. They train every network on the way; a search seldom did, so that the gains are those of the linear
model of all its networks, unless every network on the way is among them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ressearch.networks.presets import PRESETS
from ressearch.reporting.claims.claim import Claim, span
from ressearch.reporting.claims.comparisons import control_of
from ressearch.reporting.claims.terms import (
    CONFOUNDED,
    SPARE,
    Term,
    described_axes,
    is_number,
    leaders_of,
    rival_of,
    terms_of,
    with_constant,
)
from ressearch.reporting.claims.winner import winner
from ressearch.reporting.evidence import Evidence
from ressearch.statistics.means import Floats, differences
from ressearch.statistics.regression import Fit, least_squares
from ressearch.units import listed

METHOD = (
    "the most gainful step first (after Fawcett and Hoos 2016), by least squares over all fully trained "
    "networks; intervals robust to unequal variances (HC3: MacKinnon and White 1985), of steps by Bonferroni"
)
MEASURED = (
    "in the order of a linear model's gains (after Fawcett and Hoos 2016), by the means of the networks "
    "on the way, the last of which is flattered by having been chosen; intervals by Welch 1947, of steps by Bonferroni"
)


@dataclass(frozen=True)
class Step:
    """One axis, with those that follow it, set from the reference's value to the best network's."""

    axes: tuple[str, ...]
    before: Any
    after: Any
    gain: float
    low: float
    high: float


def ablation_path(evidence: Evidence) -> list[Claim]:
    """Return the path from the reference to the best network, or why there is none to tell."""
    axes = described_axes(evidence)
    if not evidence.is_search or not axes or len(evidence.networks) < 2:
        return []
    leaders = leaders_of(evidence)
    terms = [term for term in terms_of(evidence) if term.axis not in leaders]
    best = best_place(evidence)
    start, kind = reference_place(evidence, [axis for axis in axes if axis not in leaders], best)
    names = evidence.networks["name"].astype(str)
    subject = {"from": names.iloc[start], "to": names.iloc[best], "reference": kind}
    count, fewest = len(evidence.networks), len(terms) + 1 + SPARE
    if count < fewest:
        effects = f"{len(terms)} {'effect' if len(terms) == 1 else 'effects'}"
        reason = f"that takes {fewest} fully trained networks, for a model of {effects}, and there are {count}"
        return [_refused(subject, count, reason)]
    if np.ptp(evidence.mean) == 0:
        return [_refused(subject, count, "all networks are equally accurate")]
    if start == best:
        return [_refused(subject, count, f"{names.iloc[best]} is itself the {kind} trained")]
    columns = with_constant(terms) if terms else np.ones((count, 1))
    move = columns[best] - columns[start]
    unknown = [axis for axis in axes for at in (start, best) if not _is_known(evidence, terms, axis, at)]
    move[1:][[term.axis in unknown for term in terms]] = 0.0
    fit = least_squares(columns, evidence.mean)
    for term, inflation, moved in zip(terms, fit.inflation[1:], move[1:], strict=True):
        if inflation > CONFOUNDED and moved != 0:
            words = (term.axis.replace("_", " "), rival_of(terms, term))
            reason = "this search cannot tell the effect of {} from that of {}, with which it went together"
            return [_refused(subject, count, reason.format(*words))]
    steps = _steps(evidence, fit, terms, leaders, move, (start, best))
    if not steps:
        return [_refused(subject, count, "it differs from the reference in nothing that other networks share")]
    measured = _measured(evidence, steps, axes, (start, best))
    if measured is not None:
        return [_claim(subject, count, "means", *measured, [])]
    value, error, _ = fit.contrast(move)
    total = Step((), None, None, value, value - fit.reach(error), value + fit.reach(error))
    return [_claim(subject, count, "model", steps, total, _left_out(evidence, axes, steps, start, best))]


def best_place(evidence: Evidence) -> int:
    """Return the place of the network of the highest shrunk estimate; of the highest mean where there is none."""
    shrunk = [one for one in winner(evidence) if one.kind == "shrunk_winner"]
    if shrunk:
        return evidence.numbers.index(int(shrunk[0].subject["network"]))
    return int(np.argmax(evidence.mean))


def reference_place(evidence: Evidence, axes: list[str], best: int) -> tuple[int, str]:
    """Return where a path starts, and what that network is.

    It is the published network that has the fewest values other than the best network's; if none was trained, the one
    with the fewest choices other than the controls, and among those the one whose numbers are nearest to the least.
    """
    table = evidence.networks
    named = {PRESETS.find(name).name: name for name in PRESETS} | {name: name for name in PRESETS}
    published = [at for at, name in enumerate(table["name"].astype(str)) if name in named and at != best]
    if published:
        row = table.iloc[best]
        start = min(published, key=lambda at: sum(not _same(table[axis].iloc[at], row[axis]) for axis in axes))
        return start, f"preset {named[str(table['name'].iloc[start])]}"
    differing, distance = np.zeros(len(table)), np.zeros(len(table))
    for axis in axes:
        if is_number(table[axis]):
            values = table[axis].to_numpy(dtype=float)
            values = np.log2(values) if (values > 0).all() else values
            distance += (values - values.min()) / (values.max() - values.min())
        else:
            differing += (table[axis].astype(str) != str(control_of(table[axis].astype(str)))).to_numpy()
    return int(np.lexsort((distance, differing))[0]), "plainest network"


def _is_known(evidence: Evidence, terms: list[Term], axis: str, place: int) -> bool:
    """Return whether the model has a coefficient for a network's value of a choice: it has none for single networks."""
    values = evidence.networks[axis]
    ours = [term for term in terms if term.axis == axis]
    if is_number(values) or not ours:
        return True
    return str(values.iloc[place]) in {str(one) for term in ours for one in (term.value, term.against)}


def _steps(
    evidence: Evidence, fit: Fit, terms: list[Term], leaders: dict[str, str], move: Floats, ends: tuple[int, int]
) -> list[Step]:
    """Return the steps by the model, the most gainful first."""
    first, last = (evidence.networks.iloc[at] for at in ends)
    moved = {term.axis: None for term, by in zip(terms, move[1:], strict=True) if by != 0}
    found = []
    for axis in moved:
        gain, error, _ = fit.contrast(np.where([False, *(term.axis == axis for term in terms)], move, 0.0))
        reach = fit.reach(error, 0.05 / len(moved))
        followers = [one for one, leader in leaders.items() if leader == axis and not _same(first[one], last[one])]
        found.append(Step((axis, *followers), first[axis], last[axis], gain, gain - reach, gain + reach))
    return sorted(found, key=lambda step: -step.gain)


def _measured(
    evidence: Evidence, steps: list[Step], axes: list[str], ends: tuple[int, int]
) -> tuple[list[Step], Step] | None:
    """Return the steps and their sum by the networks' own means; None where one on the way was not trained."""
    table = evidence.networks
    places, row = [ends[0]], table.iloc[ends[0]].copy()
    for step in steps:
        for axis in step.axes:
            row[axis] = table[axis].iloc[ends[1]]
        wanted = {axis: row[axis] for axis in axes}
        same = np.all([[_same(one, value) for one in table[axis]] for axis, value in wanted.items()], axis=0)
        if not same.any():
            return None
        places.append(int(np.flatnonzero(same)[0]))
    if places[-1] != ends[1]:
        return None
    pairs = [*((at + 1, at) for at in range(len(steps))), (len(steps), 0)]
    means = evidence.means([evidence.numbers[at] for at in places])
    contrasts = means.contrasts(differences(len(places), pairs))
    gains = [float(one) for one in contrasts.estimate]
    reach = [float(one) for one in contrasts.reach(0.05 / len(steps))]
    reach[-1] = float(contrasts.reach()[-1])
    ends_of = [(gain - wide, gain + wide) for gain, wide in zip(gains, reach, strict=True)]
    walked = [
        Step(step.axes, step.before, step.after, gain, *both)
        for step, gain, both in zip(steps, gains[:-1], ends_of[:-1], strict=True)
    ]
    return walked, Step((), None, None, gains[-1], *ends_of[-1])


def _left_out(evidence: Evidence, axes: list[str], steps: list[Step], start: int, best: int) -> list[str]:
    """Return the axes in which the ends differ without a step that says so."""
    said = {axis for step in steps for axis in step.axes}
    table = evidence.networks
    return [one for one in axes if one not in said and not _same(table[one].iloc[start], table[one].iloc[best])]


def _claim(subject: dict[str, Any], count: int, by: str, steps: list[Step], total: Step, left_out: list[str]) -> Claim:
    is_known = not np.isnan(total.low)
    begin = "By the model of all networks" if by == "model" else "By the means of the networks on the way"
    sentence = (
        f"{begin}, accuracy changes by {total.gain:+.3f} ({span(total.low, total.high)}) from {subject['from']}, "
        f"{_reference(subject['reference'])}, to the best network, {subject['to']}"
    )
    told = [step for step in steps if step.low > 0 or step.high < 0 or not is_known]
    rest = [step for step in steps if step not in told]
    if told:
        sentence += f": {listed([_words(step) for step in told])}"
    if rest:
        sentence += f"; what {listed([_axes(step) for step in rest])} {'adds' if len(rest) == 1 else 'add'} "
        sentence += "cannot be told from nothing"
    if not is_known:
        sentence += ", of which one seed each cannot say whether it is more than chance"
    if left_out:
        sentence += f". They differ in {listed([one.replace('_', ' ') for one in left_out])} too, which is left out: "
        sentence += "too few networks share the value"
    return Claim(
        "ablation_path",
        subject,
        total.gain,
        total.low if is_known else None,
        total.high if is_known else None,
        METHOD if by == "model" else MEASURED,
        count,
        f"{sentence}.",
        more={"by": by, "steps": [asdict(step) for step in steps], "left_out": left_out},
    )


def _refused(subject: dict[str, Any], count: int, reason: str) -> Claim:
    sentence = f"What each choice adds on the way to the best network is not said: {reason}."
    return Claim("ablation_path", subject, None, None, None, METHOD, count, sentence)


def _reference(kind: str) -> str:
    return f"the {kind}" if kind.startswith("preset") else f"the {kind} trained"


def _axes(step: Step) -> str:
    return " with ".join(axis.replace("_", " ") for axis in step.axes)


def _words(step: Step) -> str:
    before, after = (f"{one:g}" if isinstance(one, float) else str(one) for one in (step.before, step.after))
    return f"{_axes(step)} {step.gain:+.3f} ({before} to {after})"


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; what is not set equals itself."""
    return bool(pd.isna(one) and pd.isna(other)) or bool(not pd.isna(one) and one == other)


__all__ = ["ablation_path", "best_place", "reference_place"]
