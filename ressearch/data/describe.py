"""What is in a data set, as `ressearch data info` says it."""

from __future__ import annotations

from typing import Any

import torch

from ressearch.data.lazy import Lazy
from ressearch.data.moments import are_kept
from ressearch.data.registry import Options, load_dataset
from ressearch.data.splits import split


def describe(name: str, options: Options) -> dict[str, Any]:
    """Return a data set's sentence, shape, classes and parts (by seed 0), and how fast its images are decoded here.

    ``mean`` and ``std`` (of the first three channels or features) are None where they need a pass over images that are
    decoded when needed; ``decoded_per_second`` is None where none are. Raises DataError as `load_dataset`.
    """
    data = load_dataset(name, options)
    parts = split(data, seed=0)
    counts = data.labels.bincount(minlength=len(data.classes)).tolist()
    places = parts.train.places
    assert places is not None
    is_known = are_kept(data.inputs, places)
    return {
        "name": data.name,
        "source": data.source,
        "input_shape": list(data.input_shape),
        "examples": len(data.labels),
        "classes": dict(zip(data.classes, counts, strict=True)),
        "memory": data.memory,
        "has_test_part": "test" in data.parts,
        "published_parts": sorted(data.parts),
        "parts": {part: len(getattr(parts, part)) for part in ("train", "validation", "test")},
        "mean": _first(parts.mean) if is_known else None,
        "std": _first(parts.std) if is_known else None,
        "decoded_per_second": data.inputs.throughput() if isinstance(data.inputs, Lazy) else None,
    }


def _first(values: torch.Tensor) -> list[float]:
    return values.flatten().tolist()[:3]
