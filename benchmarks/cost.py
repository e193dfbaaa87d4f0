"""Exact costs without building: architectures a second on one core, against counting built networks.

The other sides are what a user would take: torch's FlopCounterMode on a network built on the meta device, ptflops and
torchinfo. Every side costs networks of the same uniform families (depth x width x skip x norm order); ressearch costs
20,000 distinct ones from a cold start, the others as many as fit into some seconds. The figures must agree.

    python benchmarks/cost.py
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from common import save
from torch.utils.flop_counter import FlopCounterMode

from ressearch import Architecture, build, cost
from ressearch.networks.families import widths_for

SHAPE = (3, 32, 32)


def families(count: int) -> list[tuple[int, int, str, str]]:
    """Return distinct (blocks per stage, width, skip, norm order) of uniform families, shuffled."""
    every = list(
        itertools.product(
            range(1, 41), range(8, 136), ("none", "identity", "stochastic_depth", "rezero"), ("post", "pre")
        )
    )
    random.Random(0).shuffle(every)
    return every[:count]


def make(family: tuple[int, int, str, str]) -> Architecture:
    blocks, width, skip, norm_order = family
    return Architecture(depths=(blocks,) * 3, widths=widths_for(width, 3), skip=skip, norm_order=norm_order)


def by_flop_counter(architecture: Architecture) -> int:
    with torch.device("meta"):
        network = build(architecture).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *SHAPE))
    return counter.get_total_flops() // 2


def by_ptflops(architecture: Architecture) -> int:
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        build(architecture).eval(), SHAPE, as_strings=False, print_per_layer_stat=False, backend="pytorch"
    )
    return int(macs)


def by_torchinfo(architecture: Architecture) -> int:
    from torchinfo import summary

    return int(summary(build(architecture).eval(), (1, *SHAPE), device="cpu", verbose=0).total_mult_adds)


def rate(side: Callable[[Architecture], int], architectures: list[Architecture], seconds: float) -> tuple[float, int]:
    """Return (architectures a second, how many) of one side within some seconds."""
    start, done = time.perf_counter(), 0
    for architecture in architectures:
        side(architecture)
        done += 1
        if time.perf_counter() - start > seconds:
            break
    return done / (time.perf_counter() - start), done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--count", type=int, default=20_000, help="architectures that ressearch costs [20000]")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each other side runs [8]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = families(arguments.count)

    start = time.perf_counter()
    architectures = [make(family) for family in chosen]
    made = time.perf_counter()
    counts = [cost(architecture, SHAPE) for architecture in architectures]
    costed = time.perf_counter()
    assert len(set(architectures)) == len(architectures)

    sides = {"FlopCounterMode (meta)": by_flop_counter}
    sides |= {"ptflops": by_ptflops} if find_spec("ptflops") else {}
    sides |= {"torchinfo": by_torchinfo} if find_spec("torchinfo") else {}
    ours = len(chosen) / (costed - made)
    rows = {
        "ressearch.cost": {"per_second": ours, "architectures": len(chosen), "ratio": 1.0},
        "ressearch, Architecture made too": {
            "per_second": len(chosen) / (costed - start),
            "architectures": len(chosen),
            "ratio": (costed - made) / (costed - start),
        },
    }
    for name, side in sides.items():
        per_second, done = rate(side, architectures, arguments.seconds)
        rows[name] = {"per_second": per_second, "architectures": done, "ratio": per_second / ours}
    for architecture, price in list(zip(architectures, counts, strict=True))[:20]:
        biases = 10  # of the classifier, the only layer with one; FlopCounterMode leaves them out
        assert by_flop_counter(architecture) + biases == price.macs

    print(f"{'one core, ' + 'x'.join(map(str, SHAPE)):<34}{'a second':>12}{'networks':>10}{'ressearch is':>20}")
    for name, row in rows.items():
        faster = f"{1 / row['ratio']:,.0f} x as fast" if row["ratio"] < 0.5 else ""
        print(f"{name:<34}{row['per_second']:>12,.1f}{row['architectures']:>10,}{faster:>20}")
    save("cost", {"command": "python benchmarks/cost.py", "input_shape": list(SHAPE), "rows": rows})


if __name__ == "__main__":
    main()
