"""How the data reach the trials: one copy for all workers of a machine, whatever the phase.

Where all workers run on this machine, they map the file that the driver maps. Else the parts are put into Ray's object
store, once, from which each node fetches them once.
"""

from __future__ import annotations

import socket
import weakref
from typing import Any

import numpy as np

from ressearch.data import Splits
from ressearch.search.trial import Arrays, to_arrays

_put: weakref.WeakKeyDictionary[Splits, tuple[str, dict[str, Any]]] = weakref.WeakKeyDictionary()


def share(splits: Splits, with_test: bool = False) -> Arrays:
    """Return what trials get of the data, its arrays as references to Ray's object store; Ray must be running.

    Args:
        splits: the parts.
        with_test: whether the test part is among them: for finalists alone.
    """
    import ray

    cluster = ray.get_runtime_context().get_node_id()
    if (before := _put.get(splits)) is None or before[0] != cluster:
        _put[splits] = cluster, {}
    _, references = _put[splits]
    shared: Arrays = {}
    for name, value in to_arrays(splits, with_test, can_map=_is_one_machine()).items():
        if isinstance(value, np.ndarray):
            if name not in references:
                references[name] = ray.put(value)
            value = references[name]
        shared[name] = value
    return shared


def _is_one_machine() -> bool:
    """Return whether every node of the cluster is this machine, so that workers find its files."""
    import ray

    return all(node["NodeManagerHostname"] == socket.gethostname() for node in ray.nodes() if node["Alive"])
