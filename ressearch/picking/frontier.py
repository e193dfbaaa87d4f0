"""Every budget at once: the pick of each, the networks tied with it, and where published networks stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ressearch.errors import BudgetError, StudyError, nearest
from ressearch.networks.presets import PRESETS
from ressearch.picking.field import Entrant, Field
from ressearch.results.store import load
from ressearch.statistics.frontier import frontier

AXES = ("params", "macs", "activations", "train_time")
"""What a budget may bound that is on record of every trial."""


@dataclass(frozen=True)
class BudgetPick:
    """What a budget allows, until it reaches the next network.

    Attributes:
        budget: the least with which this holds: a count, or seconds.
        until: the cost of the next network; None where there is none.
        name, trial, directory: the pick.
        val_accuracy: its mean over seeds.
        estimate: its accuracy given all networks; None where nothing says what is chance.
        candidates: how many networks the budget allows.
        probability: that the pick is the best of them.
        low, high: within which the accuracy of the best of them lies with 90 % probability.
        tied: names of those that cannot be told from the best.
        cheapest_tied: the one of them that costs least.
    """

    budget: float
    until: float | None
    name: str
    trial: int
    directory: str
    val_accuracy: float
    estimate: float | None
    candidates: int
    probability: float | None
    low: float | None
    high: float | None
    tied: tuple[str, ...]
    cheapest_tied: str | None


@dataclass(frozen=True)
class PresetStanding:
    """A published network that was trained, beside the pick for what it costs.

    Attributes:
        preset: the name it is published by.
        name, trial: as trained.
        cost: what it costs.
        val_accuracy: its mean over seeds.
        pick: the pick for this cost; the preset itself where nothing is better.
        difference: the pick's estimate less the preset's (of means, where nothing says what is chance).
    """

    preset: str
    name: str
    trial: int
    cost: float
    val_accuracy: float
    pick: str
    difference: float


@dataclass(frozen=True)
class Frontier:
    """The picks of every budget of one kind.

    Attributes:
        axis: what the budgets bound, one of `AXES`.
        picks: from the least budget up.
        presets: published networks among those trained.
    """

    axis: str
    picks: tuple[BudgetPick, ...]
    presets: tuple[PresetStanding, ...]

    def at(self, budget: float) -> BudgetPick:
        """Return the pick of one budget. Raises BudgetError if nothing fits it."""
        found = [one for one in self.picks if one.budget <= budget]
        if not found:
            least = f"; the least is {self.picks[0].budget:g}" if self.picks else ""
            raise BudgetError(f"{self.axis}: no network has {budget:g} or less{least}")
        return found[-1]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return asdict(self)


def every_budget(directory: str | Path | Sequence[str | Path], axis: str = "macs", most: int = 100) -> Frontier:
    """Return the pick of every budget at once.

    Args:
        directory: a study directory, or several on the same data.
        axis: what the budgets bound, one of `AXES`.
        most: so many budgets at most; those at which the pick changes are kept before all others.

    Raises:
        BudgetError: the axis is unknown.
        StudyError: the directory holds no study, or none of its trials trained to the last epoch.
    """
    if axis not in AXES:
        raise BudgetError(f"axis: '{axis}' is unknown; {nearest(axis, AXES)}")
    directories = [directory] if isinstance(directory, str | Path) else list(directory)
    field = Field.of([load(one) for one in directories])
    if not field.entrants:
        raise StudyError(f"{directories[0]}: no trial has trained every epoch yet, so there is nothing to pick from")
    return frontier_of(field, axis, most)


def frontier_of(field: Field, axis: str, most: int = 100) -> Frontier:
    """Return the same of a field."""
    places = [at if one.place is None else one.place for at, one in enumerate(field)]
    by_place = dict(zip(places, field, strict=True))
    cost = np.full(len(places), np.nan)
    for place, one in by_place.items():
        cost[place] = _cost(one, axis)
    picks = []
    for step in frontier(cost, places, field.standing, most):
        one, tied = by_place[step.pick], [by_place[other] for other in step.tied]
        cheapest = min(tied, key=lambda other: (_cost(other, axis), -field.score(other)), default=None)
        picks.append(
            BudgetPick(
                step.budget,
                step.until,
                one.record.name,
                one.record.trial,
                str(one.results.directory),
                float(one.record.row["val_accuracy"]),
                field.estimate(one)[0],
                step.candidates,
                step.probability,
                step.low,
                step.high,
                tuple(other.record.name for other in tied),
                None if cheapest is None else cheapest.record.name,
            )
        )
    found = Frontier(axis, tuple(picks), ())
    return replace(found, presets=_presets(field, found))


def _cost(one: Entrant, axis: str) -> float:
    return one.train_seconds if axis == "train_time" else float(getattr(one.record.cost, axis))


def _presets(field: Field, found: Frontier) -> tuple[PresetStanding, ...]:
    published = {architecture.name: preset for preset, architecture in reversed(list(PRESETS.items()))}
    by_trial = {(str(one.results.directory), one.record.trial): one for one in field}
    standings = []
    for one in field:
        preset, cost = published.get(one.record.name), _cost(one, found.axis)
        if preset is None or np.isnan(cost):
            continue
        pick = found.at(cost)
        chosen = by_trial[pick.directory, pick.trial]
        gap = field.score(chosen) - field.score(one)
        standings.append(
            PresetStanding(
                preset,
                one.record.name,
                one.record.trial,
                cost,
                float(one.record.row["val_accuracy"]),
                pick.name,
                gap if field.objective.is_more else -gap,
            )
        )
    return tuple(sorted(standings, key=lambda one: one.cost))


__all__ = ["AXES", "BudgetPick", "Frontier", "PresetStanding", "every_budget", "frontier_of"]
