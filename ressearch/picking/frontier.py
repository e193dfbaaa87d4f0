"""Every budget at once: the pick of each, the networks tied with it, and where published networks stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ressearch.errors import BudgetError, StudyError, nearest
from ressearch.networks.presets import PRESETS
from ressearch.picking.field import Entrant, Field
from ressearch.picking.presets import PresetTrained, read_presets
from ressearch.results.store import Results, load
from ressearch.statistics.frontier import frontier

if TYPE_CHECKING:
    from ressearch.statistics.winner import Standing

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
    """A published network beside the pick for what it costs.

    Attributes:
        preset: the name it is published by.
        name: of its architecture.
        trial: the study's trial that trained it; None where it was trained beside the study (`train_presets`).
        seeds: how many it was trained on.
        cost: what it costs.
        val_accuracy: its mean over seeds; None where it did not train to the end.
        pick: the pick for this cost, itself where none is better; None where no other network is as cheap.
        difference: the pick's estimate less the preset's (of means, where nothing says what is chance).
        low, high: within which the difference lies with 90 % probability; None as `difference` where it is not known.
        is_tied: whether neither was shown to beat the other; None where nothing says what is chance.
        problem: why it did not train to the end; None where it did.
    """

    preset: str
    name: str
    trial: int | None
    seeds: int
    cost: float
    val_accuracy: float | None
    pick: str | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    is_tied: bool | None = None
    problem: str | None = None

    @property
    def verdict(self) -> str:
        """How it compares with the pick, in words."""
        if self.problem is not None:
            return self.problem
        if self.pick is None:
            return "no other network is as cheap"
        if self.difference is None:
            return f"the pick is {self.pick}, which was ranked by another objective than accuracy"
        if self.pick == self.name:
            return "the pick for what it costs"
        if self.is_tied is None:
            side = "above" if self.difference > 0 else "below"
            return f"{self.pick} is {abs(self.difference):.4f} {side} it (what is chance is not known)"
        band = "" if self.low is None else f" [{self.low:.4f}, {self.high:.4f}]"
        is_worse = self.difference < 0
        gap = f"{abs(self.difference):.4f}" if not band else f"{self.difference:+.4f}{band}"
        if self.is_tied:
            return f"cannot be told from {self.pick} ({gap})"
        return f"{self.pick} is {'worse' if is_worse else 'better'} ({gap})"


@dataclass(frozen=True)
class Frontier:
    """The picks of every budget of one kind.

    Attributes:
        axis: what the budgets bound, one of `AXES`.
        picks: from the least budget up.
        presets: published networks among those trained, or trained beside them (`ressearch.picking.presets`).
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
    studies = [load(one) for one in directories]
    field = Field.of(studies)
    if not field.entrants:
        raise StudyError(f"{directories[0]}: no trial has trained every epoch yet, so there is nothing to pick from")
    trained = [(study, one) for study in studies for one in read_presets(study)]
    return frontier_of(field, axis, most, trained)


def frontier_of(
    field: Field, axis: str, most: int = 100, trained: Sequence[tuple[Results, PresetTrained]] = ()
) -> Frontier:
    """Return the same of a field; with published networks that were trained beside the studies."""
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
    return replace(found, presets=tuple(_presets(field, found, trained)))


def _cost(one: Entrant, axis: str) -> float:
    return one.train_seconds if axis == "train_time" else float(getattr(one.record.cost, axis))


def _presets(field: Field, found: Frontier, trained: Sequence[tuple[Results, PresetTrained]]) -> list[PresetStanding]:
    """Return where published networks stand: those of the field, and those that were trained beside it."""
    published = {architecture.name: preset for preset, architecture in reversed(list(PRESETS.items()))}
    names = {one.record.name for one in field}
    others = [(results, one) for results, one in trained if one.name not in names]
    joint = _joint(field, [one for _, one in others if one.problem is None])
    standings = []
    for one in field:
        preset, cost = published.get(one.record.name), _cost(one, found.axis)
        if preset is None or np.isnan(cost):
            continue
        row = one.record.row
        told = PresetStanding(
            preset, one.record.name, one.record.trial, len(one.record.seeds), cost, float(row["val_accuracy"]), None
        )
        standings.append(_beside(told, field, found, joint, one.place, field.score(one)))
    place = len(field.scores)
    for results, other in others:
        cost = other.train_seconds if found.axis == "train_time" else float(getattr(other.cost(results), found.axis))
        if np.isnan(cost):
            continue
        reached = None if other.problem is not None else other.val_accuracy
        told = PresetStanding(
            other.preset, other.name, None, len(other.seeds), cost, reached, None, problem=other.problem
        )
        if reached is not None:
            told = _beside(told, field, found, joint, place, reached)
            place += 1
        standings.append(told)
    return sorted(standings, key=lambda one: one.cost)


def _joint(field: Field, others: Sequence[PresetTrained]) -> Standing | None:
    """Return where the networks of a field and others stand together, the others last."""
    if field.standing is None or not others:
        return field.standing
    from ressearch.statistics.winner import standing  # imports scipy

    examples = field.objective.examples
    scores = [*field.scores, *(one.seed_val_accuracies for one in others)]
    return standing(scores, 0.0 if examples is None else 1 / examples)


def _beside(
    told: PresetStanding, field: Field, found: Frontier, joint: Standing | None, place: int | None, score: float
) -> PresetStanding:
    """Return what is told of a preset with its comparison to the pick for its cost."""
    if not found.picks or found.picks[0].budget > told.cost:
        return told
    pick = found.at(told.cost)
    chosen = next(
        one for one in field if (str(one.results.directory), one.record.trial) == (pick.directory, pick.trial)
    )
    told = replace(told, pick=pick.name)
    if joint is None or place is None or chosen.place is None:
        if told.trial is None and field.objective.column != "val_accuracy":
            return told
        gap = field.score(chosen) - score
        return replace(told, difference=gap if field.objective.is_more else -gap)
    pair = np.array([chosen.place, place])
    gap = float(joint.estimate[chosen.place] - joint.estimate[place])
    low = high = None
    drawn = joint.draws(pair)
    if drawn is not None:
        low, high = (float(one) for one in np.quantile(drawn[:, 0] - drawn[:, 1], (0.05, 0.95)))
    is_tied = chosen.place == place or len(joint.tied([int(one) for one in pair])) == 2
    return replace(told, difference=gap, low=low, high=high, is_tied=is_tied)


__all__ = ["AXES", "BudgetPick", "Frontier", "PresetStanding", "every_budget", "frontier_of"]
