"""What a study costs besides training: its wall time over the training time of its trials divided by the slots.

Runs a study of equal trials through the whole of it (Ray Tune, the proposer, the store) and adds up the training time
that the trials' own records state. Ray's start is timed by itself. The driver's memory is its peak resident set.

    python benchmarks/study_overhead.py                           # 40 trials of about 5 s
    python benchmarks/study_overhead.py --trials 2000 --tiny      # many trials of some milliseconds: driver memory
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import ray
from common import save

from ressearch import Study, load, run
from ressearch.search.cluster import start_ray
from ressearch.search.monitor import Monitor
from ressearch.search.resources import available_cpus


class Watch(Monitor):
    """Notes how the driver's memory grows and how far apart the trials end."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.ends: list[float] = []

    def ended(self, row: object) -> None:
        """Note one end."""
        self.ends.append(time.perf_counter())
        if len(self.ends) % 100 == 0:
            self.memory.append(resident())


def resident() -> float:
    """Return the process's resident memory now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=40, help="trials [40]")
    parser.add_argument("--epochs", type=int, default=12, help="epochs a trial [12: about 5 s]")
    parser.add_argument("--tiny", action="store_true", help="trials of one epoch of the least network")
    arguments = parser.parse_args()
    depth, seeds, epochs = ([8], 1, 1) if arguments.tiny else ([32], 2, arguments.epochs)
    study = Study.from_dict(
        {
            "name": "overhead",
            "space": {
                "search": {
                    "depth": depth,
                    "width": {"low": 8, "high": 9},
                    "skip": [{"scaled": {"alpha": {"low": 0.5, "high": 1.0}}}],
                }
            },
            "recipe": {"epochs": epochs, "seeds": seeds},
            "search": {"trials": arguments.trials, "sampler": "random"},
        }
    )
    began = time.perf_counter()
    start_ray()
    started = time.perf_counter()
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        directory = run(study, Path(folder) / "study", watch)
        wall = time.perf_counter() - started
        trials, _ = load(directory)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 2**20
    ray.shutdown()
    assert (trials["status"] == "completed").all(), trials["status"].value_counts()
    slots = available_cpus()
    ideal = trials["train_seconds"].sum() / slots
    half = len(watch.ends) // 2
    per_trial = [(watch.ends[half] - watch.ends[0]) / half, (watch.ends[-1] - watch.ends[half]) / (half - 1)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = {
        "trials": len(trials),
        "slots": slots,
        "train_seconds_a_trial": trials["train_seconds"].mean(),
        "ray_start_seconds": started - began,
        "wall_seconds": wall,
        "overhead": wall / ideal,
        "seconds_between_ends_first_half": per_trial[0],
        "seconds_between_ends_second_half": per_trial[1],
        "driver_peak_mib": peak,
        "driver_mib_every_100_trials": [round(one) for one in watch.memory],
        "directory_mib": size,
    }
    print(
        f"{len(trials)} trials of {rows['train_seconds_a_trial']:.2f} s on {slots} slots; Ray started in "
        f"{rows['ray_start_seconds']:.1f} s"
    )
    print(f"wall {wall:.1f} s, training / slots {ideal:.1f} s: overhead {wall / ideal:.3f}x")
    print(f"between two ends {per_trial[0] * 1e3:.0f} ms in the first half, {per_trial[1] * 1e3:.0f} ms in the second")
    print(f"driver: peak {peak:.0f} MiB; after each 100 trials {rows['driver_mib_every_100_trials']}")
    name = f"study_overhead_{arguments.trials}"
    save(
        name,
        {
            "command": f"python benchmarks/study_overhead.py --trials {arguments.trials}"
            + (" --tiny" if arguments.tiny else ""),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
