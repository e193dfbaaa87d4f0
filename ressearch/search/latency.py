"""The latency of a study's networks: measured once for each, with what a trial is given, and kept by device.

A study that bounds or optimises latency measures each network before it is trained, for one input, with a trial's
threads or on its GPU; other trials may run meanwhile, so a bound is met by the median of many passes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from ressearch.networks.architecture import Architecture
from ressearch.networks.latency import measure_latency
from ressearch.search.resources import trial_device
from ressearch.search.study import Study


def measures_latency(study: Study) -> bool:
    """Return whether a study bounds latency, or optimises it: then each of its trials has one on record."""
    return study.search.constraints.max_latency is not None or "latency" in study.search.objective


def latency_of(study: Study, architecture: Architecture) -> float:
    """Return the median seconds of a network for one input, with a trial's share of this machine."""
    space, gpus = study.search_space, study.resources.gpus_per_trial
    return measure_latency(
        architecture,
        space.input_shape,
        space.num_classes,
        device=trial_device(gpus),
        threads=max(1, round(study.resources.cpus_per_trial)),
        remember=True,
    ).median


def latency_filter(study: Study) -> Callable[[Architecture], bool]:
    """Return a test of a network's latency against the study's bound; measured once per network."""
    bound = study.search.constraints.max_latency
    if bound is None:
        return lambda architecture: True

    @functools.cache
    def is_quick(architecture: Architecture) -> bool:
        return 1000 * latency_of(study, architecture) <= bound

    return is_quick
