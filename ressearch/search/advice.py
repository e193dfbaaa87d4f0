"""What `ressearch check` warns of: a study that is valid, but is likely not to do what its author wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ressearch.search.schedulers import STOPPING

if TYPE_CHECKING:
    from ressearch.search.study import Study

_LATE = "one_cycle"
"""A schedule whose rate is at its highest, and accuracies therefore poor, for a good part of the training."""

_PASSED_OVER = ("gp", "nsga2", "nsga3")
"""Samplers that leave out what has no final value."""


def warnings_of(study: Study) -> list[str]:
    """Return what a study's author should know, each in a line that names the place."""
    return [*_scheduling(study), *_starting(study)]


def _scheduling(study: Study) -> Iterator[str]:
    scheduler, sampler = study.search.scheduler.name, study.search.sampler
    if scheduler not in STOPPING:
        return
    if study.recipe.schedule == _LATE:
        yield (
            f"{study.place('search', 'scheduler')}: {scheduler} judges networks by early epochs, and these say little "
            f"under schedule: {_LATE}, which raises the rate before it lowers it; cosine suits {scheduler} better"
        )
    if len(study.search.objective) > 1 and sampler is not None and sampler.name in _PASSED_OVER:
        yield (
            f"{study.place('search', 'sampler')}: {sampler.name} learns nothing from trials that {scheduler} stops: "
            "with several objectives only the last epoch has a value"
        )


def _starting(study: Study) -> Iterator[str]:
    search = study.search
    if not search.points and not search.warm_start:
        return
    from ressearch.search.drawing import Drawing
    from ressearch.search.earlier import earlier_studies, first_points
    from ressearch.search.latency import latency_filter

    drawing = Drawing(study, lambda architecture: True)
    is_quick = latency_filter(study)
    for index, (point, found) in enumerate(first_points(study, drawing)):
        place = study.place("search", "points", index)
        if not is_quick(point[0]):
            yield f"{place}: {point[0].name} takes longer than max_latency and will not be trained"
        elif found is None:
            yield f"{place}: {point[0].name} is not of this space: it is trained, but tells the sampler nothing"
    for index, earlier in enumerate(earlier_studies(study, drawing)):
        if (remark := earlier.remark) is not None:
            yield f"{study.place('search', 'warm_start', index)}: {remark}"
