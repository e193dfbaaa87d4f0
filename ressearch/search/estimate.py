"""What a study would take: the size of its space, its cheapest and dearest network, and the time it needs.

The time comes from a few timed steps on random numbers. Nothing is trained."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls

from ressearch.errors import ArchitectureError
from ressearch.limits import LISTED_POINTS
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost, cost
from ressearch.search.advice import warnings_of
from ressearch.search.initial import require_weights_fit
from ressearch.search.memory import price, require_fit
from ressearch.search.resources import trial_device, trial_resources
from ressearch.search.storages import require_storage
from ressearch.search.study import Study
from ressearch.spaces.space import SearchSpace
from ressearch.spaces.trials import RandomTrial
from ressearch.statistics.power import detectable, expected_deviation
from ressearch.threads import torch_threads
from ressearch.training.choose import Choice, expect, step_seconds

_LISTED, _SAMPLED, _TIMED, _REASONS = 5000, 1000, 5, 5
_DEEPEST_TIMED = 200
"""Blocks of a network that is timed: identical blocks cost the same time each."""
_TOGETHER = 4
"""Replicates that are timed together; more behave alike."""
_WORK = {"cpu": 2e10, "cuda": 2e12}
"""MACs of a step that is timed, about: a second or so."""
_PATIENCE = 10.0
"""Seconds after which no further network is timed."""


def check(study: Study | str | Path) -> dict[str, Any]:
    """Return what a study would do: its space's size, its cheapest and dearest network, the time; trains nothing.

    Args:
        study: a Study, or the path of a study file.

    Raises ResourceError if a trial asks for more than this machine has, memory included.
    """
    if not isinstance(study, Study):
        study = Study.from_file(study)
    cpus, gpus, concurrency = slots = trial_resources(study)
    require_storage(study.search.storage, study.name, study.place("search", "storage"))
    networks, is_complete = known_networks(study)
    adapted = require_weights_fit(study, networks)
    space = study.search_space
    priced = price(study, networks)
    require_fit(study, priced, slots)
    mean_macs = sum(price.macs for price, _ in priced) / len(priced)
    seconds = epoch_seconds(study, priced, max(1, round(cpus)))
    plans = phase_plans(study, seconds, mean_macs, concurrency)
    return {
        "name": study.name,
        "form": study.space.form,
        "space_size": None if math.isinf(space.size) else int(space.size),
        "networks": len(networks) if is_complete else None,
        "sampled": None if is_complete else len(networks),
        "refused": dict(space.refusals().most_common(_REASONS)) if is_complete else {},
        "matched": _matched(space, [price for price, _ in priced]),
        "data": study.dataset.source,
        "data_is_here": not study.dataset.missing,
        "data_missing": study.dataset.missing or None,
        "memory": study.dataset.memory,
        "init": None if study.recipe.init is None else {"file": study.recipe.init, "adapted": adapted},
        "trials": study.planned_trials,
        "seeds": len(study.recipe.seeds),
        "epochs": study.recipe.epochs,
        "replicate_epochs": sum(plan.replicate_epochs for plan in plans.values()),
        "phases": {name: plan._asdict() for name, plan in plans.items()},
        "cheapest": _entry(*priced[0]),
        "dearest": _entry(*priced[-1]),
        "is_exhaustive": is_complete,
        "cpus_per_trial": cpus,
        "gpus_per_trial": gpus,
        "concurrency": concurrency,
        "detectable": _detectable(len(study.recipe.seeds), study.examples["validation"]),
        "estimated_seconds": round(sum(plan.seconds for plan in plans.values()), 1),
        "warnings": warnings_of(study),
    }


_ACCURACY = 0.9
"""That networks are taken to have, where nothing is known of them yet."""


def _detectable(seeds: int, examples: int) -> dict[str, float] | None:
    """Return the difference between two networks that the seeds could see; None for one seed, which sees none."""
    if seeds < 2:
        return None
    deviation = expected_deviation(_ACCURACY, examples)
    difference, twice = (detectable(deviation, count, 2.0 * (count - 1)) for count in (seeds, 2 * seeds))
    found = {"standard_deviation": deviation, "difference": difference, "with_twice_the_seeds": twice}
    return {"accuracy": _ACCURACY, **{key: round(value, 5) for key, value in found.items()}}


def known_networks(study: Study) -> tuple[list[Architecture], bool]:
    """Return the networks of the space, or a random sample of a space too large to list; and whether it is all."""
    space = study.search_space
    if space.size <= LISTED_POINTS:
        listed = list(itertools.islice(space.enumerate(), _LISTED + 1))
        if len(listed) <= _LISTED:
            return listed, True
    chance, began = RandomTrial(study.seed), time.monotonic()
    drawn = [space.sample_one(chance)]
    while len(drawn) < _SAMPLED and time.monotonic() - began < _PATIENCE / 2:
        drawn.append(space.sample_one(chance))
    return drawn, False


def _matched(space: SearchSpace, prices: list[Cost]) -> dict[str, Any] | None:
    """Return how near the networks come to the cost that their width is matched to, if it is."""
    match = space.match
    if match is None:
        return None
    deviations = [match.deviation(getattr(price, match.cost)) for price in prices]
    return {"cost": match.cost, "target": match.target, "lowest": min(deviations), "highest": max(deviations)}


def _entry(price: Cost, architecture: Architecture) -> dict[str, Any]:
    return {"name": architecture.name, "depth": architecture.depth, **price._asdict()}


class PhasePlan(NamedTuple):
    """What a phase of a study trains at most, and how long that takes about.

    Attributes:
        trials: of the phase.
        seeds: of each trial.
        epochs: of each seed.
        replicate_epochs: passes over the training data, summed over trials and seeds.
        seconds: the trials as many at once as fit, Ray's start aside.
    """

    trials: int
    seeds: int
    epochs: int
    replicate_epochs: int
    seconds: float


def phase_plans(study: Study, epoch_seconds: float, mean_macs: float, concurrency: int) -> dict[str, PhasePlan]:
    """Return what each phase of a study trains, if nothing is stopped early and its budget does not end it before.

    Args:
        study: whose.
        epoch_seconds: of a replicate, in the mean over the space; finalists are priced by it too.
        mean_macs: of a network, in the mean over the space.
        concurrency: how many trials run at once.
    """
    recipe, search = study.recipe, study.search
    seeds, examples = len(recipe.seeds), study.examples["train"]

    def plan(trials: int, seeds: int, epochs: int, most: float = math.inf) -> PhasePlan:
        total = round(min(trials * seeds * epochs, most))
        at_once = max(1, min(concurrency, trials))
        return PhasePlan(trials, seeds, epochs, total, round(total * epoch_seconds / at_once, 1))

    budget = search.budget
    affordable = min(
        math.inf if budget.epochs is None else budget.epochs,
        math.inf if budget.macs_trained is None else budget.macs_trained / (3 * mean_macs * examples),
    )
    first = plan(study.planned_trials, seeds, recipe.epochs, affordable)
    if budget.wall_time is not None and first.seconds > budget.wall_time:
        share = budget.wall_time / first.seconds
        first = first._replace(replicate_epochs=round(first.replicate_epochs * share), seconds=budget.wall_time)
    plans = {"search": first}
    if search.baseline is not None:
        paid = max(1, round(first.replicate_epochs / seeds / recipe.epochs))
        plans["baseline"] = plan(paid, seeds, recipe.epochs)
    if search.finalists.count:
        finalists = min(search.finalists.count, first.trials) + ("baseline" in plans)
        plans["final"] = plan(finalists, search.finalists.seeds, search.finalists.epochs or recipe.epochs)
    return plans


def epoch_seconds(study: Study, priced: list[tuple[Cost, Architecture]], threads: int) -> float:
    """Estimate the time of a replicate's epoch, in the mean over the space.

    Times a step of a few networks across the space and fits time = a + b x depth + c x MACs, none negative. Whatever
    the networks cost, this takes some seconds (`_WORK`, `_PATIENCE`): of a dear one a step on fewer examples is timed,
    one that is too dear even so is left to the fit.
    """
    with torch_threads(threads):
        timed = _timed(study, priced)

    def features(pairs: list[tuple[Cost, Architecture]]) -> np.ndarray:
        if len(timed) == 1:
            return np.array([[price.macs] for price, _ in pairs])
        return np.array([[1.0, one.depth, price.macs] for price, one in pairs])

    known = features([pair for pair, _ in timed])
    scale = known.max(axis=0)
    weights, _ = nnls(known / scale, np.array([seconds for _, seconds in timed]))
    mean_step = float((features(priced) / scale @ weights).mean())
    examples = study.examples["train"]
    return mean_step * (examples // min(study.recipe.batch_size, examples))


def _timed(study: Study, priced: list[tuple[Cost, Architecture]]) -> list[tuple[tuple[Cost, Architecture], float]]:
    """Return some networks across the space, cheapest first, with the seconds of a step of one replicate."""
    began = time.monotonic()
    timed: list[tuple[tuple[Cost, Architecture], float]] = []
    for place in sorted({round(place) for place in np.linspace(0, len(priced) - 1, _TIMED)}):
        one_cost, architecture = priced[place]
        if (shallow := _shallow(architecture)) is None:
            continue
        if shallow is not architecture:
            one_cost = cost(shallow, study.dataset.input_shape, len(study.dataset.classes))
        examples = _examples(study, one_cost)
        is_too_dear = 3 * one_cost.macs * examples > 10 * _work(study)
        if is_too_dear or (timed and time.monotonic() - began > _PATIENCE):
            break
        timed.append(((one_cost, shallow), _step_seconds(study, shallow, examples)))
    if timed:
        return timed
    stand_in = Architecture.preset("resnet20-cifar")  # even the cheapest is too dear to run here: MACs alone say it
    shape, recipe = (3, 32, 32), study.recipe
    seconds = step_seconds(stand_in, shape, 10, 2, recipe.precision, 1, _device(study), Choice(False, True), steps=2)
    return [((cost(stand_in, shape), stand_in), seconds * recipe.batch_size / 2)]


def _shallow(architecture: Architecture) -> Architecture | None:
    """Return the network, or a shallower one of the same widths for a very deep one; None where there is none."""
    blocks = sum(architecture.depths)
    if blocks <= _DEEPEST_TIMED:
        return architecture
    try:
        return architecture.replace(depths=tuple(max(1, n * _DEEPEST_TIMED // blocks) for n in architecture.depths))
    except ArchitectureError:  # its widths follow from its depths
        return None


def _examples(study: Study, price: Cost) -> int:
    """Return how many examples of a batch are timed: all, or as many as a second or so is enough for, but two."""
    return max(2, min(study.recipe.batch_size, study.examples["train"], int(_work(study) / (3 * price.macs))))


def _work(study: Study) -> float:
    return _WORK[_device(study).type]


def _device(study: Study) -> torch.device:
    return trial_device(study.resources.gpus_per_trial)


def _step_seconds(study: Study, architecture: Architecture, examples: int) -> float:
    """Time a step of one replicate on so many examples, run as a trial would run it; returns it for a whole batch."""
    shape, classes = study.dataset.input_shape, len(study.dataset.classes)
    recipe, device, there = study.recipe, _device(study), study.examples["train"]
    batch_size = min(recipe.batch_size, there)
    choice = expect(architecture, shape, classes, recipe, device, there)
    # Where a batch is work enough, seeds side by side save little.
    together = min(len(recipe.seeds), _TOGETHER) if examples == batch_size else 1
    seconds = step_seconds(architecture, shape, classes, examples, recipe.precision, together, device, choice, steps=2)
    return seconds * batch_size / examples
