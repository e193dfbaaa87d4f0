"""Trial resources: the CPU cores and GPUs of a trial, and how many trials run at once."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

import torch

from ressearch.errors import ResourceError
from ressearch.networks.cost import cost

if TYPE_CHECKING:
    from ressearch.search.study import Study

_CONTEXT = 700 * 2**20
"""Bytes of GPU memory that a process needs besides its tensors."""
_SLACK = 2.0
"""How much more than the lower bound a trial is given."""
_MOST_A_GPU = 16
_USUAL_MEMORY = 16 * 2**30
"""Bytes of a GPU of a cluster, where this machine has none to look at."""


class Slots(NamedTuple):
    """What a trial gets, and how many run at once."""

    cpus: float
    gpus: float
    concurrency: int


def available_cpus() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trial_resources(study: Study, cpus: int | None = None, gpus: int | None = None) -> Slots:
    """Return what a trial gets and how many trials run at once.

    Args:
        study: whose trials.
        cpus: how many cores there are; None counts this machine's.
        gpus: how many GPUs there are; None counts this machine's.

    Raises ResourceError if a trial asks for more than there is.
    """
    where = "this machine" if cpus is None else "the cluster"
    cpus = available_cpus() if cpus is None else cpus
    gpus = torch.cuda.device_count() if gpus is None else gpus
    resources = study.resources
    gpus_per_trial = resources.gpus_per_trial
    if gpus_per_trial is None:
        has_gpu_here = gpus and torch.cuda.is_available()
        memory = torch.cuda.get_device_properties(0).total_memory if has_gpu_here else _USUAL_MEMORY
        gpus_per_trial = pack(study, memory) if gpus else 0.0
    for key, asked, there in (
        ("cpus_per_trial", resources.cpus_per_trial, cpus),
        ("gpus_per_trial", gpus_per_trial, gpus),
    ):
        if asked > there:
            name = "GPUs" if key.startswith("gpu") else "CPU cores"
            place = study.place("resources", key)
            raise ResourceError(f"{place}: {asked:g} {name} a trial, but {where} has {there}")
    if gpus_per_trial > 1:
        place = study.place("resources", "gpus_per_trial")
        raise ResourceError(
            f"{place}: {gpus_per_trial:g} GPUs per trial, but a trial trains on one: expected at most 1"
        )
    at_once = math.floor(cpus / resources.cpus_per_trial + 1e-9)
    if gpus_per_trial:
        at_once = min(at_once, gpus * math.floor(1 / gpus_per_trial + 1e-9))
    return Slots(resources.cpus_per_trial, gpus_per_trial, min(at_once, resources.concurrency or at_once))


def pack(study: Study, gpu_memory: int) -> float:
    """Return the share of a GPU that a trial needs, so that as many run on one as its memory holds.

    The dearest of some networks of the space decides, by the lower bound on training memory that its cost gives.

    Args:
        study: whose trials.
        gpu_memory: bytes of one GPU.
    """
    recipe, space = study.recipe, study.search_space
    states, width = recipe.optimizer_states, recipe.bytes_per_number
    need = max(
        cost(one, space.input_shape, space.num_classes).training_memory(recipe.batch_size, states, width)
        for one in space.sample(200, study.seed)
    )
    a_trial = _SLACK * need * len(recipe.seeds) + _CONTEXT
    return 1 / max(1, min(_MOST_A_GPU, int(gpu_memory / a_trial)))


def trial_device(gpus: float | None) -> torch.device:
    """Return the device that a trial trains on.

    Args:
        gpus: what it reserved of GPUs. A trial that reserved none uses none, even where it could see one; None takes a
            GPU where there is one.
    """
    return torch.device("cuda" if gpus != 0 and torch.cuda.is_available() else "cpu")
