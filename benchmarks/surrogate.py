"""How often do predicted intervals hold, and how good are predictions, where the truth is known?

Made-up studies: networks of a space of choices, depths and widths have a true accuracy (a function of what they are,
and something of their own), seeds scatter around it, and trials are drawn at random, by a search that looks at
results, or stopped early. A surrogate is fitted to each study and held against fresh networks, drawn at random.

    python benchmarks/surrogate.py
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import save

from ressearch import Architecture, SearchSpace, cost
from ressearch.picking.surrogate import Prediction, Surrogate
from ressearch.results.progress import Progress
from ressearch.results.schema import CURVES, TRIALS, architecture_columns
from ressearch.results.store import Results
from ressearch.spaces.columns import columns

SHAPE, CLASSES, EPOCHS, EXAMPLES = (1, 8, 8), 10, 16, 2000
SPACE = {
    "block": ["basic", "bottleneck"],
    "skip": ["none", "identity"],
    "norm_order": ["pre", "post"],
    "depths": {"low": 1, "high": 6},
    "widths": {"low": 4, "high": 32, "step": 4},
}


@dataclasses.dataclass(frozen=True)
class Truth:
    """How good networks are.

    Attributes:
        of_macs: by how much the log error falls with the log of the MACs.
        of_depth: by how much plain networks lose with depth.
        own: standard deviation of what nothing tells of a network, in the log error.
        seeds: standard deviation of seeds, in the log error.
        is_noise: whether networks do not differ at all.
    """

    of_macs: float = 0.25
    of_depth: float = 0.04
    own: float = 0.05
    seeds: float = 0.1
    is_noise: bool = False

    def log_error(self, network: Architecture, epochs: int = EPOCHS) -> float:
        """Return the log of a network's true error after some epochs."""
        if self.is_noise:
            return float(np.log(0.2))
        macs = cost(network, SHAPE, CLASSES).macs
        found = np.log(0.5) - self.of_macs * np.log(macs / 30_000) + 0.1 * (network.norm_order == "post")
        found += self.of_depth * sum(network.depths) * (network.skip == "none")
        chance = np.random.default_rng(abs(hash_of(network.name)))
        return float(found + self.own * chance.normal() + 0.2 * np.log(EPOCHS / epochs))

    def accuracies(self, network: Architecture, seeds: int, rng: np.random.Generator, epochs: int = EPOCHS) -> Any:
        """Return what some seeds reach."""
        errors = np.exp(self.log_error(network, epochs) + self.seeds * rng.normal(size=seeds))
        return np.round(np.clip(1 - errors, 0, 1) * EXAMPLES) / EXAMPLES


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[-8:], "little") ^ sum(map(ord, text)) * 7919


def study(
    truth: Truth, trials: int, seeds: int, seed: int, sampler: str = "random", share_stopped: float = 0.0
) -> Results:
    """Return the results of a made-up study; `tpe` draws 10 at random, then the best of ten at a time."""
    rng = np.random.default_rng(seed)
    space = SearchSpace(SPACE, input_shape=SHAPE, num_classes=CLASSES)
    pool = columns(space, 20 * trials, seed)
    if sampler == "random":
        chosen = [pool.architecture(row) for row in rng.permutation(len(pool))[:trials]]
    else:
        chosen = [pool.architecture(row) for row in range(10)]
        for step in range(1, trials - 9):
            some = [pool.architecture(row) for row in range(10 * step, 10 * step + 10)]
            chosen.append(min(some, key=lambda one: truth.log_error(one) + 0.05 * rng.normal()))
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for trial, network in enumerate(chosen):
        is_stopped = rng.random() < share_stopped
        epochs = int(rng.choice([1, 2, 4, 8])) if is_stopped else EPOCHS
        for epoch in (one for one in (1, 2, 4, 8, 16) if one <= epochs):
            scores = truth.accuracies(network, seeds, rng, epoch)
            curves += [
                {"trial": trial, "seed": one, "epoch": epoch, "val_accuracy": score} for one, score in enumerate(scores)
            ]
        rows.append(row_of(trial, network, scores, epochs, "stopped" if is_stopped else "completed"))
    run = {
        "input_shape": list(SHAPE),
        "num_classes": CLASSES,
        "examples": {"validation": EXAMPLES},
        "study": {
            "space": {"grid": None, "search": SPACE},
            "recipe": {"epochs": EPOCHS},
            "search": {"sampler": {"name": sampler}, "objective": ["val_accuracy"]},
        },
    }
    table = pd.DataFrame(rows, columns=TRIALS.names)
    progress = Progress(trials, trials, (), {})
    return Results(Path("made"), table, pd.DataFrame(curves, columns=CURVES.names), run, "", progress)


def row_of(trial: int, network: Architecture, scores: Any, epochs: int, status: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(TRIALS.names),
        **architecture_columns(network),
        **cost(network, SHAPE, CLASSES)._asdict(),
        "trial": trial,
        "proposal": trial,
        "phase": "search",
        "name": network.name,
        "status": status,
        "depth": network.depth,
        "epochs": epochs,
        "seeds": list(range(len(scores))),
        "val_accuracy": float(np.mean(scores)),
        "seed_val_accuracies": [float(one) for one in scores],
        "recipe": "{}",
    }


def fresh(truth: Truth, seeds: int, count: int, seed: int) -> tuple[list[Architecture], np.ndarray]:
    """Return fresh networks drawn at random, and what they reach, as a mean over seeds."""
    rng = np.random.default_rng(10_000 + seed)
    found = columns(SearchSpace(SPACE, input_shape=SHAPE, num_classes=CLASSES), 2 * count, 77_000 + seed)
    networks = [found.architecture(row) for row in range(count)]
    return networks, np.array([truth.accuracies(one, seeds, rng).mean() for one in networks])


def held(prediction: Prediction, obtained: np.ndarray) -> np.ndarray:
    """Return which obtained accuracies lie in their intervals, of networks that are not refused."""
    is_in = (prediction.low <= obtained) & (obtained <= prediction.high)
    return np.asarray(is_in[~prediction.beyond])


CASES: dict[str, dict[str, Any]] = {
    "random, 30 trials, 1 seed": {"trials": 30, "seeds": 1},
    "random, 60 trials, 1 seed": {"trials": 60, "seeds": 1},
    "random, 60 trials, 3 seeds": {"trials": 60, "seeds": 3},
    "random, 200 trials, 3 seeds": {"trials": 200, "seeds": 3},
    "random, 200 trials, half stopped": {"trials": 200, "seeds": 2, "share_stopped": 0.5},
    "search, 100 trials, 2 seeds": {"trials": 100, "seeds": 2, "sampler": "tpe"},
    "nothing but noise, 60 trials": {"trials": 60, "seeds": 1, "truth": Truth(is_noise=True)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=40, help="made-up studies of each kind [40]")
    parser.add_argument("--fresh", type=int, default=100, help="fresh networks each is held against [100]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    print(f"{'90 % intervals':<36}{'held':>8}{'refused':>9}{'width':>8}{'error':>8}{'R2':>7}{'seconds':>9}")
    for name, case in CASES.items():
        case = dict(case)
        truth = case.pop("truth", Truth())
        inside, refused, width, error, r2, seconds = [], [], [], [], [], []
        for repeat in range(arguments.repeats):
            start = time.perf_counter()
            surrogate = Surrogate.of(study(truth, seed=repeat, **case))
            seconds.append(time.perf_counter() - start)
            networks, obtained = fresh(truth, case["seeds"], arguments.fresh, repeat)
            prediction = surrogate.predict(networks)
            inside.append(held(prediction, obtained).mean())
            refused.append(prediction.beyond.mean())
            width.append((prediction.high - prediction.low).mean())
            error.append(np.abs(prediction.mean - obtained).mean())
            r2.append(1 - ((prediction.mean - obtained) ** 2).mean() / obtained.var())
        columns_of = {"held": inside, "refused": refused, "width": width, "error": error, "r2": r2, "seconds": seconds}
        rows[name] = {key: round(float(np.mean(value)), 4) for key, value in columns_of.items()}
        one = rows[name]
        print(
            f"{name:<36}{one['held']:>8.1%}{one['refused']:>9.1%}{one['width']:>8.4f}{one['error']:>8.4f}"
            f"{one['r2']:>7.2f}{one['seconds']:>9.1f}"
        )
    save("surrogate", {"command": "python benchmarks/surrogate.py", "repeats": arguments.repeats, "cases": rows})


if __name__ == "__main__":
    main()
