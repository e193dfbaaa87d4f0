"""The pick of every budget at once: which network a budget of MACs (or parameters) allows, and how sure that is."""

from __future__ import annotations

import functools

import numpy as np

from ressearch.reporting.claims.claim import Claim, analysis, number
from ressearch.reporting.evidence import COST_WORDS, COSTS, Evidence
from ressearch.results.ranking import Objective
from ressearch.statistics.frontier import Step, frontier
from ressearch.units import counted, format_count

METHOD = (
    "the network of the highest accuracy given all networks (as the shrunk winner), of those that the budget allows; "
    "the probability that it is the best of them by drawing all networks' accuracies"
)


_STEPS = 40
"""Budgets that are listed at most."""


@analysis("budgets")
def budgets(evidence: Evidence) -> list[Claim]:
    """One claim for each network that is the pick of some budget, from the least budget up."""
    axis, steps = budget_steps(evidence)
    if axis is None:
        return []
    words, claims = COST_WORDS[axis], list[Claim]()
    firsts = [step for at, step in enumerate(steps) if at == 0 or step.pick != steps[at - 1].pick]
    for at, step in enumerate(firsts):
        network, until = evidence.numbers[step.pick], firsts[at + 1].budget if at + 1 < len(firsts) else None
        last = [one for one in steps if one.pick == step.pick][-1]
        shrunk = evidence.standing.shrunk
        assert shrunk is not None
        low, high = shrunk.interval(step.pick)
        name, estimate = str(evidence.rows[network]["name"]), float(shrunk.estimate[step.pick])
        reach = f"From {format_count(step.budget)} {words} on" + (f", to {format_count(until)}," if until else ",")
        claims.append(
            Claim(
                "pick_at_budget",
                {"axis": axis, "from": step.budget, "to": until, "name": name, "network": network},
                estimate,
                max(low, 0.0),
                min(high, 1.0),
                METHOD,
                int(evidence.standing.seeds[step.pick]),
                f"{reach} {name} is the pick, with an accuracy of {number(estimate)} (95 % interval "
                f"{number(max(low, 0.0))} to {number(min(high, 1.0))}){_doubt(last)}.",
                more={"probability_of_best": last.probability, "candidates": last.candidates, "tied": len(last.tied)},
            )
        )
    return claims


def _doubt(step: Step) -> str:
    """Say how sure a pick is where most networks compete with it."""
    if step.candidates == 1 or step.probability is None:
        return ""
    others = len(step.tied) - 1
    tied = f"; {counted(others, 'other')} cannot be told from it" if others > 0 else ""
    return f", the best of {step.candidates} with probability {step.probability:.0%}{tied}"


@functools.lru_cache(maxsize=4)
def budget_steps(evidence: Evidence) -> tuple[str | None, tuple[Step, ...]]:
    """Return what budgets bound and their steps; None where seeds do not say what is chance, or nothing differs."""
    axis = next((key for key in ("macs", *COSTS) if key in evidence.networks), None)
    results = evidence.results
    is_of_accuracy = results is None or Objective.of(results.run).column == "val_accuracy"
    if axis is None or evidence.studies or not is_of_accuracy or len(evidence.networks) < 3:
        return None, ()
    cost = evidence.networks[axis].to_numpy(dtype=float)
    if evidence.standing.shrunk is None or len(np.unique(cost[~np.isnan(cost)])) < 2:
        return None, ()
    return axis, tuple(frontier(cost, evidence.order, evidence.standing, _STEPS))


__all__ = ["budget_steps", "budgets"]
