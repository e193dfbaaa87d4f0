"""What the warm-up that chooses grouping and memory layout costs, as a share of the trial that it is for.

Each network is asked about as the shortest trial that is measured at all, so these are the largest shares that happen,
and as a trial of 20 epochs on 50,000 examples. Seconds are of one thread's processor time, so that what else runs on
the machine does not count; the trial is priced by steps with the usual choice, which it would take without a warm-up.

    python benchmarks/warm_up.py
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from common import save

from ressearch import Architecture
from ressearch.training import choose
from ressearch.training.choose import MOST_SHARE, Choice, Probe
from ressearch.training.memory import keep_freed_memory

CASES = {
    "digits, width 8": ((1, 8, 8), (8, 16, 32), 64),
    "digits, width 32": ((1, 8, 8), (32, 64, 128), 64),
    "CIFAR, width 16": ((3, 32, 32), (16, 32, 64), 128),
    "CIFAR, width 64": ((3, 32, 32), (64, 128, 256), 128),
}
CHOICES = tuple(Choice(grouped, last) for grouped in (True, False) for last in (True, False))
LONG = 20 * (50_000 // 128)
"""Steps of 20 epochs on 50,000 examples."""


def measure(input_shape: tuple[int, ...], widths: tuple[int, ...], batch_size: int, seeds: int) -> dict[str, Any]:
    one_block = Architecture(depths=(1, 1, 1), widths=widths)
    shortest = choose.warm_up_steps(len(CHOICES)) / MOST_SHARE
    device = torch.device("cpu")
    question = Probe(one_block, input_shape, 10, batch_size, "float32", seeds, device, CHOICES, shortest)
    assert question.is_worthwhile
    start = time.process_time()
    found = choose._fastest(question)
    took = time.process_time() - start
    step = choose.step_seconds(*question[:7], CHOICES[0], steps=2) * seeds
    return {
        "warm_up_seconds": took,
        "chosen": None if found is None else found._asdict(),
        "step_seconds": step,
        "share_of_the_shortest": took / (shortest * step),
        "share_of_20_epochs": took / (LONG * step),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seeds", type=int, default=3, help="replicates of a trial")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    choose.clock = time.process_time
    rows = {}
    for name, case in CASES.items():
        rows[name] = row = measure(*case, arguments.seeds)
        print(
            f"{name:<18} warm-up {row['warm_up_seconds']:6.2f} s, {row['share_of_the_shortest']:.1%} of the shortest "
            f"trial that has one, {row['share_of_20_epochs']:.2%} of 20 epochs; {row['chosen']}",
            flush=True,
        )
    command = "python benchmarks/warm_up.py" + (f" --seeds {arguments.seeds}" if arguments.seeds != 3 else "")
    save("warm_up_cpu", {"command": command, "seeds": arguments.seeds, "rows": rows})


if __name__ == "__main__":
    main()
