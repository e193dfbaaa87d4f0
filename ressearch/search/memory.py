"""Memory: what training surely needs, against what there is; what cannot fit is refused before anything is allocated.

`Cost.training_memory` bounds a replicate from below, so that only what certainly fails is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ressearch.errors import ResourceError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost, cost
from ressearch.search.resources import Slots

if TYPE_CHECKING:
    from ressearch.search.study import Study

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

Priced = list[tuple[Cost, Architecture]]


def machine_memory(limits: Iterable[str | Path] = _CGROUP_LIMITS) -> int:
    """Return the bytes of memory of this machine, or of the control group (container) that the process is in.

    Args:
        limits: files that may say the control group's limit.
    """
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [2**63]
    for file in limits:
        try:
            sizes.append(int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):  # none here, or "max"
            continue
    return min(size for size in sizes if size > 0)


def price(study: Study, networks: Iterable[Architecture]) -> Priced:
    """Return networks with their costs for the study's data, the cheapest (in MACs) first."""
    space = study.search_space
    priced = [(cost(one, space.input_shape, space.num_classes), one) for one in networks]
    return sorted(priced, key=lambda pair: pair[0].macs)


def require_fit(study: Study, priced: Priced, slots: Slots, memory: int | None = None) -> None:
    """Refuse a study whose dearest network cannot be trained in this machine's memory.

    Args:
        study: which.
        priced: networks of its space, with their costs.
        slots: what a trial gets, and how many run at once.
        memory: bytes; None looks at this machine (its GPU where trials have one).

    Raises ResourceError naming the network, what it needs at the least, what there is, and what would help.
    """
    recipe = study.recipe
    batch = min(recipe.batch_size, len(study.dataset.labels))
    need, dearest = max(
        (
            (price.training_memory(batch, recipe.optimizer_states, recipe.bytes_per_number), one)
            for price, one in priced
        ),
        key=lambda pair: pair[0],
    )
    # Seeds one after another hold one network's activations at a time.
    seeds = len(recipe.seeds) if recipe.replicates != "separate" and recipe.precision != "float16" else 1
    at_once = min(slots.concurrency, max(1, study.planned_trials))
    where, there = "this machine has", machine_memory()
    if slots.gpus:
        at_once = max(1, int(1 / slots.gpus + 1e-9)) if slots.gpus <= 1 else 1
        if memory is None and not torch.cuda.is_available():
            return
        where = "its GPU has"
        there = torch.cuda.get_device_properties(0).total_memory if memory is None else memory
    there = memory or there
    if need * seeds * at_once <= there:
        return
    times = f" x {seeds} seeds" if seeds > 1 else ""
    times += f" x {at_once} trials at once" if at_once > 1 else ""
    helps = ["recipe.batch_size"]
    if at_once > 1 and not slots.gpus:
        helps.append("resources.concurrency: 1")
    if seeds > 1:
        helps.append("recipe.replicates: separate")
    raise ResourceError(
        f"{study.place('space')}: {_shortened(dearest.name)} needs at least {_gib(need)}{times} to train, {where} "
        f"{_gib(there)}; a smaller network or {', '.join(helps)} helps, or search.constraints.max_training_memory: "
        f"{_size(there // (seeds * at_once))}, which leaves such networks out"
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:77]}..."


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB" if size < 2**50 else f"{size / 2**40:.3g} TiB"


def _size(size: int) -> str:
    """Write bytes as a study file takes them, rounded down."""
    return f"{size // 10**9}G" if size >= 10**10 else f"{max(1, size // 10**6)}M"


__all__ = ["machine_memory", "price", "require_fit"]
