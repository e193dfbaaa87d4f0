"""What does the report of a large search cost? Seconds, peak memory and the size of its page.

Makes a study of many trials that were never trained: networks at random, accuracies by a made-up law with noise over
three seeds, every seventh stopped early. Its tables have the schema of any study's; what else a study directory holds
is that of `reports/quickstart`. `ressearch report` runs on it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from common import save

from ressearch import Architecture, cost
from ressearch.results.schema import CURVES, TRIALS, architecture_columns, macs_trained
from ressearch.results.status import Status
from ressearch.results.tables_file import CURVES_FILE, TRIALS_FILE

ROOT = Path(__file__).parents[1]
SEEDS = 3
STOPPED_AFTER = 4
"""One of this many epochs is trained by trials that are stopped."""


def architecture(rng: np.random.Generator) -> Architecture:
    """Return a network at random."""
    width, block = 2 * int(rng.integers(4, 40)), str(rng.choice(["basic", "bottleneck"]))
    return Architecture(
        block=block,
        depths=tuple(int(one) for one in rng.integers(1, 9, 3)),
        widths=(width, 2 * width, 4 * width),
        stem_width=width,
        skip=str(rng.choice(["none", "identity", "rezero", "stochastic_depth", "weighted"])),
        se_ratio=float(rng.choice([0.0, 0.25])),
        bottleneck_ratio=0.25 if block == "bottleneck" else 1.0,
    )


def accuracies(rng: np.random.Generator, one: Architecture) -> np.ndarray:
    """Return what its seeds reach: wider is better, and plain networks lose, or collapse, where they are deep."""
    is_plain = one.skip == "none"
    mean = 0.97 - 0.03 * 8 / one.widths[0] + (0.01 if not is_plain else -0.012 * max(np.log2(one.depth / 20), 0.0))
    mean += 0.004 * rng.normal() - 0.01 * (one.block == "bottleneck")
    if is_plain and one.depth > 40 and rng.random() < 0.4:
        mean = rng.uniform(0.1, 0.6)
    return np.clip(mean + (0.006 if mean > 0.8 else 0.05) * rng.normal(size=SEEDS), 0, 1)


def make(directory: Path, trials: int, epochs: int) -> None:
    """Write a study of many trials."""
    pattern = ROOT / "reports" / "quickstart"
    directory.mkdir(parents=True)
    for name in ("run.json", "study.yaml"):
        shutil.copy(pattern / name, directory / name)
    recipe = pq.read_table(pattern / TRIALS_FILE)["recipe"][0].as_py()
    examples = json.loads((pattern / "run.json").read_text())["examples"]["train"]
    rng, start = np.random.default_rng(0), pd.Timestamp("2026-01-01", tz="UTC")
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    names: set[str] = set()
    while len(rows) < trials:
        network = architecture(rng)
        if network.name in names:
            continue
        names.add(network.name)
        number, reached = len(rows), accuracies(rng, network)
        is_done = number % 7 > 0
        trained = epochs if is_done else max(epochs // STOPPED_AFTER, 1)
        row = {
            "trial": number,
            "phase": "search",
            "name": network.name,
            "status": Status.COMPLETED if is_done else Status.STOPPED,
            "depth": network.depth,
            **cost(network, (1, 8, 8), 10)._asdict(),
            "epochs": trained,
            "val_accuracy": reached.mean(),
            "val_accuracy_std": reached.std(ddof=1),
            "val_loss": 1 - reached.mean(),
            "train_accuracy": min(1.0, reached.mean() + 0.02),
            "train_loss": 0.1,
            "seeds": list(range(SEEDS)),
            "seed_val_accuracies": reached.tolist(),
            "started_at": start,
            "ended_at": start + pd.Timedelta(seconds=number),
            "wall_seconds": 1.0,
            "train_seconds": 1.0,
            "device_seconds": 1.0,
            "device": "cpu",
            "lr": 0.1,
            "proposal": number,
            "recipe": recipe,
            **architecture_columns(network),
        }
        rows.append({**row, "macs_trained": macs_trained(row, examples, trained)})
        epoch = np.arange(1, trained + 1)
        share = np.where(epoch == trained, 1.0, 1 - np.exp(-epoch / 3))
        curves += [
            pd.DataFrame(
                {
                    "trial": number,
                    "seed": seed,
                    "epoch": epoch,
                    "lr": 0.1,
                    "train_loss": 0.1,
                    "train_accuracy": np.minimum(1, reached[seed] * share + 0.02),
                    "val_loss": 0.1,
                    "val_accuracy": reached[seed] * share,
                    "seconds": 0.1,
                }
            )
            for seed in range(SEEDS)
        ]
    pq.write_table(pa.Table.from_pylist(rows, schema=TRIALS), directory / TRIALS_FILE)
    told = pd.concat(curves, ignore_index=True)
    pq.write_table(pa.Table.from_pandas(told, schema=CURVES, preserve_index=False), directory / CURVES_FILE)


def measure(study: Path, out: Path) -> dict[str, float]:
    """Run the command; return its seconds, the CPU's, its peak memory in MiB and the size of its page in MB."""
    command = [sys.executable, "-m", "ressearch", "report", str(study), "--out", str(out), "--force"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": round(usage.ru_maxrss / (1024 if sys.platform == "linux" else 2**20)),
        "page_mb": round((out / "report.html").stat().st_size / 1e6, 2),
    }


def main() -> None:
    """Make the study, report it some times over, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="keep the study and its report here [a temporary directory]")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = told.out or Path(temporary)
        study = place / "study"
        if not study.exists():
            make(study, told.trials, told.epochs)
        runs = [measure(study, place / "report") for _ in range(told.runs)]
    found = {"trials": told.trials, "epochs": told.epochs, "seeds": SEEDS, "runs": runs}
    print(json.dumps(found, indent=2))
    save("large_report", found)


if __name__ == "__main__":
    main()
