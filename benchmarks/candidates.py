"""A million networks of a search space: drawn, costed exactly and filtered by a budget, on one core.

The other side draws with `SearchSpace.sample` and costs with `ressearch.cost`, one network at a time, as many as fit
into some seconds. Rows of both sides must agree.

    python benchmarks/candidates.py
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from common import save

from ressearch import SearchSpace, cost
from ressearch.networks.cost import Budget
from ressearch.spaces.columns import columns

SPACES: dict[str, dict[str, Any]] = {
    "uniform": {
        "block": ["basic", "bottleneck"],
        "blocks_per_stage": {"low": 1, "high": 200},
        "width": {"low": 8, "high": 256},
        "skip": ["none", "identity", {"scaled": {"alpha": {"low": 0.1, "high": 1.0}}}],
        "norm_order": ["post", "pre"],
        "shortcut": ["pad", "projection"],
    },
    "per stage": {
        "block": ["basic", "bottleneck"],
        "depths": {"low": 1, "high": 18},
        "widths": {"low": 8, "high": 128, "step": 8},
        "skip": ["none", "identity"],
        "shortcut": ["pad", "projection"],
    },
    "per stage, fine": {
        "block": ["basic", "bottleneck", "inverted"],
        "depths": {"low": 1, "high": 18},
        "widths": {"low": 8, "high": 256, "step": 8},
        "stages": [3, 4],
        "skip": ["none", "identity", {"scaled": {"alpha": {"low": 0.1, "high": 1.0}}}],
        "norm_order": ["post", "pre"],
        "se_ratio": [0.0, 0.25],
    },
}
BUDGET = Budget(max_macs="20M", max_params="300k")


def alone(space: SearchSpace, seconds: float) -> float:
    """Return how many networks a second `sample` and `cost` draw and cost."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for one in space.sample(200, seed=done):
            BUDGET.allows(cost(one, space.input_shape, space.num_classes))
        done += 200
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--count", type=int, default=1_000_000, help="points that are drawn [1000000]")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long the other side runs [8]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    print(f"{'one core':<18}{'points':>11}{'networks':>11}{'within':>10}{'seconds':>9}{'one by one':>12}{'ratio':>8}")
    for name, parameters in SPACES.items():
        space = SearchSpace(parameters)
        start = time.perf_counter()
        found = columns(space, arguments.count)
        kept = found[found.within(BUDGET)]
        seconds = time.perf_counter() - start
        for row in np.random.default_rng(0).integers(len(found), size=200):
            price = cost(found.architecture(int(row)), space.input_shape, space.num_classes)
            assert price == tuple(int(column[row]) for column in found.cost)
        other = arguments.count / alone(space, arguments.seconds)
        rows[name] = {
            "points": arguments.count,
            "networks": len(found),
            "within": len(kept),
            "seconds": round(seconds, 2),
            "one_by_one_seconds": round(other, 1),
            "ratio": round(other / seconds, 1),
        }
        shown = f"{arguments.count:>11,}{len(found):>11,}{len(kept):>10,}{seconds:>9.1f}{other:>12.0f}"
        print(f"{name:<18}{shown}{other / seconds:>7.0f}x")
    save("candidates", {"command": "python benchmarks/candidates.py", "budget": str(BUDGET), "spaces": rows})


if __name__ == "__main__":
    main()
