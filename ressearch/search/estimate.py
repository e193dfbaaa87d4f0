"""What a study would take: the size of its space, its cheapest and dearest network, and the time it needs.

The time comes from a few timed steps on random numbers. Nothing is trained."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import nnls

from ressearch.architecture import Architecture
from ressearch.cost import Cost, cost
from ressearch.search.resources import trial_device, trial_resources
from ressearch.space import SearchSpace
from ressearch.training.choose import choose, step_seconds

if TYPE_CHECKING:
    from ressearch.search.study import Study

_LISTED, _TIMED, _REASONS = 5000, 5, 5


def check(study: Study) -> dict[str, Any]:
    """Return what `study` would do, without training: see `Study.check`.

    Raises ResourceError if a trial asks for more than this machine has.
    """
    cpus, gpus, concurrency = trial_resources(study)
    networks, is_complete = _networks(study)
    space = study.search_space
    priced = sorted(
        ((cost(one, space.input_shape, space.num_classes), one) for one in networks),
        key=lambda pair: pair[0].macs,
    )
    seconds = _seconds(study, priced, max(1, round(cpus)))
    epochs = study.recipe.epochs * len(study.recipe.seeds) * study.planned_trials
    return {
        "name": study.name,
        "form": study.space.form,
        "space_size": None if math.isinf(space.size) else int(space.size),
        "networks": len(networks) if is_complete else None,
        "refused": dict(space.refusals().most_common(_REASONS)) if is_complete else {},
        "matched": _matched(space, [price for price, _ in priced]),
        "data": study.dataset.source,
        "memory": study.dataset.memory,
        "trials": study.planned_trials,
        "seeds": len(study.recipe.seeds),
        "epochs": study.recipe.epochs,
        "replicate_epochs": epochs,
        "cheapest": _entry(*priced[0]),
        "dearest": _entry(*priced[-1]),
        "is_exhaustive": is_complete,
        "cpus_per_trial": cpus,
        "gpus_per_trial": gpus,
        "concurrency": concurrency,
        "estimated_seconds": round(seconds / concurrency, 1),
    }


def _networks(study: Study) -> tuple[list[Architecture], bool]:
    """Return the networks of the space, or a random sample of a space too large to list; and whether it is all."""
    space = study.search_space
    if space.size <= 200_000:
        listed = list(itertools.islice(space.enumerate(), _LISTED + 1))
        if len(listed) <= _LISTED:
            return listed, True
    return space.sample(1000, study.seed), False


def _matched(space: SearchSpace, prices: list[Cost]) -> dict[str, Any] | None:
    """Return how near the networks come to the cost that their width is matched to, if it is."""
    match = space.match
    if match is None:
        return None
    deviations = [match.deviation(getattr(price, match.cost)) for price in prices]
    return {"cost": match.cost, "target": match.target, "lowest": min(deviations), "highest": max(deviations)}


def _entry(price: Cost, architecture: Architecture) -> dict[str, Any]:
    return {"name": architecture.name, "depth": architecture.depth, **price._asdict()}


def _seconds(study: Study, priced: list[tuple[Cost, Architecture]], threads: int) -> float:
    """Estimate the training time of all trials, one after another, if none is stopped early.

    Times a step of a few networks across the space and fits time = a + b x depth + c x MACs, none negative.
    """
    places = sorted({round(place) for place in np.linspace(0, len(priced) - 1, _TIMED)})
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        timed = [(priced[place], _step_seconds(study, priced[place][1])) for place in places]
    finally:
        torch.set_num_threads(before)
    features = np.array([[1.0, one.depth, price.macs] for (price, one), _ in timed])
    scale = features.max(axis=0)
    weights, _ = nnls(features / scale, np.array([seconds for _, seconds in timed]))
    rows = np.array([[1.0, one.depth, price.macs] for price, one in priced]) / scale
    mean_step = float((rows @ weights).mean())
    examples = len(study.splits().train)
    steps = max(1, examples // study.recipe.batch_size) * study.recipe.epochs
    return mean_step * steps * len(study.recipe.seeds) * study.planned_trials


def _step_seconds(study: Study, architecture: Architecture) -> float:
    """Time a step of one replicate, run as a trial would run it."""
    device = trial_device(study.resources.gpus_per_trial)
    shape, classes = study.dataset.input_shape, len(study.dataset.classes)
    recipe = study.recipe
    choice = choose(architecture, shape, classes, recipe, device)
    seeds = len(recipe.seeds)
    return step_seconds(architecture, shape, classes, recipe.batch_size, recipe.precision, seeds, device, choice)
