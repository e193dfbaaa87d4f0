"""The phases of a study: the search, the random baseline if it is asked for, and the finalists.

Each phase is a list of trials for Tune. What a phase trains follows from the record alone, so a resumed study makes the
same phases and leaves out what has ended.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ressearch.networks.cost import cost
from ressearch.results import Store
from ressearch.results.ranking import ranked
from ressearch.results.schema import architecture_of, is_open, macs_trained
from ressearch.search.drawing import Drawing, Point
from ressearch.search.latency import latency_filter
from ressearch.search.recorded import recipe_values
from ressearch.search.schedulers import PAUSING, REPLAYED, SCHEDULERS, bracket_trials
from ressearch.search.study import Study
from ressearch.training import Recipe

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher

Row = dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """A part of a study that Tune carries out.

    Attributes:
        name: one of `ressearch.results.schema.PHASES`.
        recipe: how its trials train.
        searcher: proposes its trials.
        scheduler: stops them early, or not.
        trials: at most how many it has to run still.
        at_once: how many trials the scheduler has to be handed at once, because it pauses them for each other; None
            where it starts them as cores become free.
    """

    name: str
    recipe: Recipe
    searcher: Searcher
    scheduler: TrialScheduler
    trials: int
    at_once: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether its trials are scored on the test part."""
        return self.name == "final"


def phases(study: Study, store: Store, directory: Path) -> Iterator[Phase]:
    """Yield the phases that have trials to run still, in order; each is made when the one before has ended."""
    for make in (_search, _baseline, _final):
        phase = make(study, store, directory)
        if phase is not None and phase.trials > 0:
            yield phase


def _rows(store: Store, phase: str) -> list[Row]:
    return [row for _, row in sorted(store.tables.trials.items()) if row["phase"] == phase]


def _search(study: Study, store: Store, directory: Path) -> Phase:
    from ressearch.search.proposer import Proposer

    rows = _rows(store, "search")
    scheduler = _scheduler(study, store, rows)
    left = study.planned_trials - sum(not is_open(row) for row in rows)
    chosen = study.search.scheduler
    at_once = bracket_trials(study.recipe.epochs, **chosen.options) if chosen.name in PAUSING else None
    return Phase("search", study.recipe, Proposer(study, rows, directory), scheduler, left, at_once)


def _scheduler(study: Study, store: Store, rows: Sequence[Row]) -> TrialScheduler:
    """Return the search's scheduler; it knows what is on record."""
    from ressearch.search.replay import Continued, to_result

    chosen = study.search.scheduler
    scheduler: TrialScheduler = SCHEDULERS[chosen.name](
        study.objective.column, study.objective.mode, study.recipe.epochs, **chosen.options
    )
    if chosen.name not in REPLAYED:
        return scheduler
    known = {row["trial"]: row for row in rows}
    by_epoch = itertools.groupby(store.tables.curves, key=lambda point: (point["trial"], point["epoch"]))
    epochs = [(trial, to_result(points)) for (trial, _), points in by_epoch if trial in known]
    return Continued(scheduler, known, epochs)


def _listed(study: Study, store: Store, name: str, recipe: Recipe, configs: list[dict[str, Any]]) -> Phase:
    """Return a phase of a known list of trials: those on record that are open, then those that were never started.

    `configs` come with the numbers that the store planned for them.
    """
    from ray.tune.schedulers import FIFOScheduler

    from ressearch.search.proposer import Fixed, config_of

    rows = _rows(store, name)
    started = {row["trial"] for row in rows}
    todo = [config_of(study, row) for row in rows if is_open(row)]
    todo += [config for config in configs if config["trial"] not in started]
    return Phase(name, recipe, Fixed(study, iter(todo)), FIFOScheduler(), len(todo))


def _baseline(study: Study, store: Store, directory: Path) -> Phase | None:
    """Networks drawn at random without replacement, trained to the last epoch, as many as the search's MACs pay for.

    They are paid for one after another; the last is the one whose end comes nearest to what the search has spent.
    """
    if study.search.baseline is None:
        return None
    examples = len(study.splits().train)
    spent = sum(macs_trained(row, examples, row["epochs"]) for row in _rows(store, "search"))
    points = list(_drawn(study, spent, examples))
    configs = [
        {"trial": number, "architecture": architecture.to_dict(), "lr": lr}
        for number, (architecture, lr) in zip(store.plan("baseline", len(points)), points, strict=True)
    ]
    return _listed(study, store, "baseline", study.recipe, configs)


def _drawn(study: Study, macs: float, examples: int) -> list[Point]:
    """Return points drawn at random that together train as many MACs, one at the least."""
    space, recipe = study.search_space, study.recipe
    drawing = Drawing(study, latency_filter(study))
    points: list[Point] = []
    while macs > 0 or not points:
        found = drawing.draw(random.Random(f"{study.seed}:baseline:{len(points)}"))
        if found is None:
            break
        drawing.seen.add(found.point)
        price = cost(found.point[0], space.input_shape, space.num_classes)
        row = {"macs": price.macs, "seeds": recipe.seeds}
        needed = macs_trained(row, examples, recipe.epochs)
        if points and needed > 2 * macs:
            break
        points.append(found.point)
        macs -= needed
    return points


def _final(study: Study, store: Store, directory: Path) -> Phase | None:
    """The best fully trained networks (and the baseline's best), on seeds that the search has not used."""
    wanted = study.search.finalists
    if not wanted.count:
        return None
    chosen = best(study, _rows(store, "search"), wanted.count) + best(study, _rows(store, "baseline"), 1)
    numbers = {row["of_trial"]: row["trial"] for row in _rows(store, "final")}
    planned = store.plan("final", len({*numbers, *(row["trial"] for row in chosen)}))
    free = (number for number in planned if number not in numbers.values())
    fresh = max(study.recipe.seeds) + 1
    seeds = tuple(range(fresh, fresh + wanted.seeds))
    recipe = study.recipe.model_copy(update={"seeds": seeds, "epochs": wanted.epochs or study.recipe.epochs})
    is_tuned = len(study.recipe.lrs) > 1

    configs = [
        {
            "trial": numbers[row["trial"]] if row["trial"] in numbers else next(free),
            "architecture": architecture_of(row).to_dict(),
            "lr": recipe_values(row)["lr"] if is_tuned else None,
            "columns": {"of_trial": row["trial"]},
        }
        for row in chosen
    ]
    return _listed(study, store, "final", recipe, configs)


def best(study: Study, rows: Sequence[Row], count: int) -> list[Row]:
    """Return the best fully trained trials."""
    objective = study.objective._replace(examples=len(study.splits().validation))
    return ranked(rows, objective)[:count]
