"""Which networks are quick enough: the latency that a study bounds, measured once for each network."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import measure_latency
from ressearch.search.resources import trial_device
from ressearch.search.study import Study


def latency_filter(study: Study) -> Callable[[Architecture], bool]:
    """Return a test of a network's latency against the study's bound; measured once per network."""
    bound = study.search.constraints.max_latency
    if bound is None:
        return lambda architecture: True
    space, threads = study.search_space, max(1, round(study.resources.cpus_per_trial))
    device = trial_device(study.resources.gpus_per_trial)

    @functools.cache
    def is_quick(architecture: Architecture) -> bool:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            seconds = measure_latency(architecture, space.input_shape, space.num_classes, device=device)
        finally:
            torch.set_num_threads(before)
        return 1000 * seconds <= bound

    return is_quick
