"""What do large data cost a study? Peak memory of `check` and of a run's processes, and the time to the first epoch.

Makes an NPZ file of 400,000 images (1.2 GB) with random pixels, not compressed or compressed, and runs the command on
it in processes of its own. Memory is sampled: `private` is what a process has to itself; mapped files and Ray's object
store are shared, and counted once for all processes of a study (`shared`: the largest that one of them has mapped,
libraries included). A run is ended with SIGINT once its first epoch is on record. On a machine that is busy with other
work the seconds mean little; the CPU seconds that the driver took do.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from common import save

STUDY = """
space: {{grid: {{depth: [8], width: [4, 5], skip: [identity], stem: [patch]}}}}
data: {{name: 'npz:{file}'}}
recipe: {{epochs: 1, batch_size: 512, seeds: 1, replicates: separate, channels_last: false}}
"""


def make(file: Path, images: int, is_compressed: bool) -> float:
    """Write the file; returns its data's size in GB."""
    generator = np.random.default_rng(0)
    labels = np.arange(images) % 10
    top = 16 if is_compressed else 256  # 16 levels compress by half
    pixels = generator.integers(0, top, (images, 3, 32, 32), dtype=np.uint8)
    (np.savez_compressed if is_compressed else np.savez)(file, x=pixels, y=labels)
    return pixels.nbytes / 1e9


class Sampler(threading.Thread):
    """Notes the peak memory of a process and of those that it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(process.pid)
        self.peaks: dict[str, dict[str, float]] = {}
        self.cpu_seconds = 0.0

    def run(self) -> None:
        while self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            for one in [self._process, *self._process.children(recursive=True)]:
                try:
                    command = " ".join(one.cmdline())
                    name = (
                        "driver"
                        if one.pid == self._process.pid
                        else "worker"
                        if "TrialTrainable" in command
                        else "rest"
                    )
                    memory = one.memory_info()
                    if name == "driver":
                        self.cpu_seconds = sum(one.cpu_times()[:2])
                except psutil.Error:
                    continue
                peak = self.peaks.setdefault(f"{name}-{one.pid}", {"private": 0.0, "shared": 0.0, "resident": 0.0})
                peak["private"] = max(peak["private"], memory.rss - memory.shared)
                peak["shared"] = max(peak["shared"], memory.shared)
                peak["resident"] = max(peak["resident"], memory.rss)
            time.sleep(0.25)


def first_epoch_begun(journal: Path, start: float) -> float | None:
    """Return the seconds from the command's start to its first epoch's: when that ended, less what it took."""
    if not journal.is_file():
        return None
    for line in journal.read_text().splitlines():
        if '"event": "epoch"' in line or '"event":"epoch"' in line:
            event = json.loads(line)
            return float(event["at"] / 1000 - start - sum(one["seconds"] for one in event["results"]))
    return None


def measure(arguments: list[str], environment: dict[str, str], journal: Path | None = None) -> dict[str, object]:
    """Run the command; returns its time, the time to the first epoch's begin, and peaks in bytes."""
    start = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "ressearch.cli", *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    sampler = Sampler(process)
    sampler.start()
    begun = None
    while process.poll() is None:
        if begun is None and journal is not None and (begun := first_epoch_begun(journal, start)) is not None:
            process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    sampler.join()
    assert process.returncode == (0 if journal is None else 128 + signal.SIGINT), arguments
    peaks = sampler.peaks
    of = {name: [one for key, one in peaks.items() if key.startswith(name)] for name in ("driver", "worker")}
    return {
        "seconds": round(time.time() - start, 1),
        "first_epoch_begun": None if begun is None else round(begun, 1),
        "driver_cpu_seconds": round(sampler.cpu_seconds, 1),
        "driver_resident": max(one["resident"] for one in of["driver"]),
        "driver_private": max(one["private"] for one in of["driver"]),
        "workers": len(of["worker"]),
        "worker_private": max((one["private"] for one in of["worker"]), default=0),
        "shared": max(one["shared"] for one in peaks.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400_000)
    arguments = parser.parse_args()
    load = os.getloadavg()[1]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "RESSEARCH_CACHE": f"{directory}/cache"}
        # A few images first: what a study takes without its data's size.
        for images, is_compressed in ((2_000, False), (arguments.images, False), (arguments.images, True)):
            file = Path(directory) / "data.npz"
            size = make(file, images, is_compressed)
            study = Path(directory) / "study.yaml"
            study.write_text(STUDY.format(file=file))
            for command in ("check", "run"):
                out = Path(directory) / f"{command}-{images}-{is_compressed}"
                more = ["--out", str(out)] if command == "run" else []
                found = measure([command, str(study), *more], environment, out / "journal.jsonl" if more else None)
                row = {"command": command, "is_compressed": is_compressed, "gigabytes": round(size, 3), **found}
                rows.append(row)
                print(json.dumps(row), flush=True)
    save("large_data", {"images": arguments.images, "load_average": load, "rows": rows})


if __name__ == "__main__":
    main()
