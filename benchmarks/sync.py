"""What does it cost that a study outlasts a power cut? Trials with their checkpoints and record, forced to the disk or
left to the system, one after the other in pairs.

    python benchmarks/sync.py --pairs 20
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import save

from ressearch import Architecture, Study, cost
from ressearch.results import Store
from ressearch.search.trial import TrialSpec, TrialTrainable, checkpoint_name, to_arrays
from ressearch.training import Recipe, checkpoint

NETWORK = Architecture(depths=(3, 3, 3), widths=(16, 32, 64))
"""ResNet-20's shape."""


def train(recipe: Recipe, study: Study, folder: Path) -> float:
    """Train one trial as a study does, its record and tables written; returns the seconds."""
    directory = Path(tempfile.mkdtemp(dir=folder))
    one = TrialTrainable.__new__(TrialTrainable)
    spec = TrialSpec(recipe, 1, len(study.dataset.classes), str(directory / "checkpoints"))
    one.setup({"trial": 0, "architecture": NETWORK.to_dict(), "lr": None}, spec, to_arrays(study.splits()))
    price = cost(NETWORK, study.dataset.input_shape, len(study.dataset.classes))
    began = time.perf_counter()
    store = Store(directory)
    store.start(0, NETWORK, price, recipe.model_dump_json(), recipe.seeds, recipe.peak_lr)
    outcome = None
    while outcome is None:
        result = one.step()
        store.epoch(0, result["results"][-1])
        outcome = result["outcome"]
    store.end(0, outcome, None)
    checkpoint.remove(str(directory / "checkpoints" / checkpoint_name(0)))
    store.close()
    seconds = time.perf_counter() - began
    shutil.rmtree(directory)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pairs", type=int, default=20, help="[20]")
    parser.add_argument("--epochs", type=int, default=10, help="of each trial [10]")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured [the system's temporary one]")
    parser.add_argument("--save", action="store_true", help="write results/sync.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = Study.from_dict({"space": {"grid": {"depth": [20]}}, "data": {"name": "digits"}})
    recipe = Recipe(epochs=arguments.epochs, seeds=2)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    ratios, seconds = [], []
    try:
        train(recipe, study, folder)  # warm-up
        for pair in range(arguments.pairs):
            took = {}
            for choice in ("1", "0") if pair % 2 else ("0", "1"):
                os.environ["RESSEARCH_SYNC"] = choice
                took[choice] = train(recipe, study, folder)
            ratios.append(took["1"] / took["0"])
            seconds.append(took["0"])
    finally:
        shutil.rmtree(folder)
    mean, error = statistics.fmean(ratios), statistics.stdev(ratios) / len(ratios) ** 0.5
    row = {
        "pairs": len(ratios),
        "epochs": arguments.epochs,
        "seconds_unsynced": round(statistics.median(seconds), 3),
        "ratio_mean": round(mean, 4),
        "ratio_median": round(statistics.median(ratios), 4),
        "interval_95": [round(mean - 2 * error, 4), round(mean + 2 * error, 4)],
    }
    print(row)
    if arguments.save:
        save("sync", {"command": f"python benchmarks/sync.py --pairs {arguments.pairs}", **row})


if __name__ == "__main__":
    main()
