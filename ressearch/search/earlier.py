"""What a study takes from earlier ones (`search.warm_start`), and what it tries first (`search.points`).

Accuracies compare networks that were trained alike. So results of the same data, split and recipe are told to the
sampler as they are. Those of another study would let the easier task's networks pass for good ones: they are left
out, and its best networks are tried first instead, so that this study measures what they are worth here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ressearch.errors import RessearchError
from ressearch.networks.architecture import Architecture
from ressearch.results.schema import architecture_of
from ressearch.results.status import Status
from ressearch.search.drawing import Drawing, Found, Point
from ressearch.search.recorded import recipe_values
from ressearch.search.study import Study
from ressearch.spaces.answers import complete
from ressearch.spaces.trials import FixedTrial

_SHARE = 10
"""One in so many trials may go to the best networks of earlier studies that are not comparable."""


@dataclass(frozen=True)
class Known:
    """A result of an earlier study that this study's space can express.

    Attributes:
        found: its point here, and the answers that lead to it.
        values: what it reached, by objective.
        is_comparable: whether it was trained on the same data and split under the same recipe, seeds aside.
        is_same: whether training it again would tell nothing: its seeds are the same too.
    """

    found: Found
    values: list[float]
    is_comparable: bool
    is_same: bool


@dataclass(frozen=True)
class Earlier:
    """An earlier study: its directory, how many networks it trained to the end, and those that lie in this space."""

    directory: str
    networks: int
    known: list[Known]

    @property
    def remark(self) -> str | None:
        """What a user should know about a warm start from it; None if all is as expected."""
        if not self.known:
            return f"{self.directory}: none of its {self.networks} fully trained networks lies in this space"
        if not all(one.is_comparable for one in self.known):
            return (
                f"{self.directory}: other data, split or recipe, so its accuracies are not comparable: the sampler is "
                "not told them, and its best networks are tried first instead"
            )
        return None


def earlier_studies(study: Study, drawing: Drawing) -> list[Earlier]:
    """Return what is known from the studies that a study starts from. Raises StudyError if one cannot be read."""
    return [_read(study, drawing, directory) for directory in study.search.warm_start]


def _read(study: Study, drawing: Drawing, directory: str) -> Earlier:
    from ressearch.results import load

    results = load(directory)
    is_same_data = results.run.get("split_fingerprint") == study.splits().fingerprint
    trials = results.phase("search", "baseline").trials
    done: list[Any] = trials[trials["status"] == Status.COMPLETED].to_dict("records")
    known = []
    for row in done:
        for lr in _rates(study, row):
            found = drawing.expressed((architecture_of(row), lr))
            if found is not None:
                recipe = study.recipe.with_lr(lr).model_dump(mode="json")
                other = recipe_values(row)
                is_comparable = is_same_data and _without_seeds(recipe) == _without_seeds(other)
                values = [row.get(name) for name in study.search.objective]
                if any(value is None or math.isnan(value) for value in values):
                    is_comparable, values = False, values[:1]  # it did not measure the latency that this one asks for
                values = [float(value) for value in values]
                known.append(Known(found, values, is_comparable, is_comparable and recipe == other))
    return Earlier(directory, len(done), known)


def _rates(study: Study, row: Mapping[str, Any]) -> list[float | None]:
    """Return the rate of this study that an earlier trial was trained with, if it has it."""
    lrs = study.recipe.lrs
    if len(lrs) == 1:
        return [lrs[0]]
    return [lr for lr in lrs if lr == recipe_values(row)["lr"]]


def _without_seeds(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key not in ("seeds", "replicates", "cuda_graph")}


def best_elsewhere(study: Study, earlier: list[Earlier]) -> list[Found]:
    """Return the best networks of earlier studies whose values are not comparable, the best of each in turn."""
    count = max(1, study.planned_trials // _SHARE)
    ranked = [_ranked(study, [one for one in each.known if not one.is_comparable]) for each in earlier]
    deepest = max((len(each) for each in ranked), default=0)
    in_turn = [each[place].found for place in range(deepest) for each in ranked if place < len(each)]
    return in_turn[:count]


def _ranked(study: Study, known: list[Known]) -> list[Known]:
    return sorted(known, key=lambda one: one.values[0], reverse=study.objective.is_more)


def first_points(study: Study, drawing: Drawing) -> Iterator[tuple[Point, Found | None]]:
    """Yield the points that a study file says to try first, in its order, with their answers if the space has any.

    What a mapping leaves open follows from the study's seed.
    """
    space, lrs = study.search_space, study.recipe.lrs
    for index, point in enumerate(study.search.points):
        if isinstance(point, str):
            named: Point = (Architecture.from_name(point), lrs[0])
            yield named, drawing.expressed(named)
            continue
        try:
            answers = complete(space, point, f"{study.seed}:point:{index}")
        except RessearchError:  # refused when the study was checked; constraints are the same
            continue
        found = drawing.found(FixedTrial({"lr": lrs[0], **answers}))
        if found is not None:
            yield found.point, found
