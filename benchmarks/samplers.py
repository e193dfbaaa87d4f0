"""How good are the proposals? The search's TPE beside Optuna's own on the same spaces, and beside random search.

Nothing is trained: five smooth functions of a network stand for its accuracy, each with its best network hidden at a
random place of a space: a small one (960 points), the same with half of its networks beyond the constraints, a medium
one (about a million points), one with conditional keys, and RegNet's, where most points are no network. After 64
trials the regret is the best possible value less the best found.

- ressearch: the search's own proposer, with its file, as `ressearch run` asks it (one trial at a time).
- optuna: the same sampler with the same options, asked by itself. It may propose a network again; that counts as a
  trial. What is no network, or beyond the constraints, does not.
- random: the search's proposer with `sampler: random`, which draws without replacement.

Differences are paired by seed (the same hidden network), with 95 % Student-t intervals.

    python benchmarks/samplers.py
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from common import save

from ressearch import Architecture, Study
from ressearch.errors import ArchitectureError, BudgetError
from ressearch.networks.cost import cost
from ressearch.search.proposer import Proposer
from ressearch.search.samplers import SAMPLERS
from ressearch.statistics.intervals import mean_interval

SMALL = {
    "block": ["basic", "bottleneck"],
    "blocks_per_stage": {"low": 1, "high": 8},
    "width": {"low": 4, "high": 22, "step": 2},
    "skip": ["none", "identity", "rezero"],
    "norm_order": ["post", "pre"],
}
SPACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "small": (SMALL, {}),
    "small_bounded": (SMALL, {"max_macs": "350k"}),
    "medium": (
        {
            "block": ["basic", "bottleneck", "single"],
            "depths": {"low": 1, "high": 6},
            "widths": {"low": 8, "high": 64, "step": 8},
            "kernel_size": [1, 3, 5],
            "stages": 3,
        },
        {},
    ),
    "conditional": (
        {
            "skip": [
                "identity",
                {"scaled": {"alpha": {"low": 0.1, "high": 1.0}, "beta": {"low": 0.5, "high": 1.5}}},
                {"stochastic_depth": {"survival": {"low": 0.2, "high": 1.0}}},
                {"layerscale": {"initial": {"low": 1e-6, "high": 1.0, "log": True}}},
            ],
            "blocks_per_stage": {"low": 1, "high": 12},
            "width": {"low": 8, "high": 64, "step": 4},
            "norm_order": ["post", "pre"],
        },
        {},
    ),
    "regnet": (
        {
            "w0": {"low": 8, "high": 64, "step": 8},
            "wa": {"low": 8.0, "high": 64.0},
            "wm": {"low": 2.0, "high": 3.0},
            "depth": {"low": 8, "high": 24},
            "group_width": [8, 16],
            "stages": 4,
        },
        {},
    ),
}
NAMES = ("block", "skip", "norm_order", "kernel_size")
"""Fields without an order; a wrong one costs a fixed amount."""


def numbers(network: Architecture) -> list[float]:
    """Return a network's depths and widths in octaves, and its group width."""
    group = network.group_width if isinstance(network.group_width, int) else (network.group_width or (1,))[-1]
    return [math.log2(value) for value in (*network.depths, *network.widths, group)]


def accuracy(network: Architecture, best: Architecture, shape: tuple[int, ...]) -> float:
    """Return a smooth stand-in for a validation accuracy: 0.95 at `best`, less the further away a network is."""
    loss = 0.0
    for one, other in zip(numbers(network), numbers(best), strict=True):
        loss += 0.01 * (one - other) ** 2
    for name in NAMES:
        loss += 0.03 * (getattr(network, name) != getattr(best, name))
    options, wanted = dict(network.skip_options), dict(best.skip_options)
    for name in options.keys() & wanted.keys():
        is_log = name == "initial" and min(options[name], wanted[name]) > 0
        apart = math.log10(options[name] / wanted[name]) / 6 if is_log else options[name] - wanted[name]
        loss += 0.1 * apart**2
    macs, most = (math.log2(cost(one, shape).macs) for one in (network, best))
    loss += 0.01 * (macs - most) ** 2  # ties depth, width and block to each other
    return 0.95 / (1 + loss)


def study_of(name: str, trials: int, seed: int, sampler: str) -> Study:
    """Return the study that a proposer serves."""
    space, constraints = SPACES[name]
    search = {"trials": trials, "sampler": sampler, "constraints": constraints}
    return Study.from_dict(
        {
            "seed": seed,
            "space": {"search": space},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 1},
            "search": search,
        }
    )


def propose(study: Study, value: Callable[[Architecture], float], directory: Path | None = None) -> dict[str, Any]:
    """Ask the search's proposer; returns the best value after each trial and what asking cost."""
    proposer = Proposer(study, (), directory)
    best, curve, seconds = 0.0, [], 0.0
    for number in range(study.planned_trials):
        began = time.perf_counter()
        config = proposer.suggest(str(number))
        seconds += time.perf_counter() - began
        network = Architecture.from_dict(config["architecture"])
        best = max(best, value(network))
        curve.append(best)
        began = time.perf_counter()
        proposer.on_trial_complete(str(number), {"val_accuracy": value(network), "epoch": 1})
        seconds += time.perf_counter() - began
    assert proposer.sampling is not None
    return {"curve": curve, "asks": proposer.sampling.asked, "seconds": seconds}


def ask_optuna(study: Study, value: Callable[[Architecture], float]) -> dict[str, Any]:
    """Ask Optuna's sampler by itself; the same networks may come again."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    alone = optuna.create_study(direction="maximize", sampler=SAMPLERS["tpe"].make(study.seed))
    best, curve, seen, asks = 0.0, [], set(), 0
    while len(curve) < study.planned_trials and asks < 20 * study.planned_trials:
        trial = alone.ask()
        asks += 1
        try:
            network = study.search_space.suggest(trial)
        except (ArchitectureError, BudgetError):
            alone.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        seen.add(network)
        best = max(best, value(network))
        curve.append(best)
        alone.tell(trial, value(network))
    return {"curve": curve, "asks": asks, "distinct": len(seen)}


def compare(name: str, trials: int, seed: int) -> dict[str, Any]:
    """Run the three on one space with one hidden best network."""
    study = study_of(name, trials, seed, "tpe")
    chance = random.Random(f"{name}:{seed}")
    best = study.search_space.sample(1, chance.getrandbits(32))[0]
    shape = study.search_space.input_shape

    def value(network: Architecture) -> float:
        return accuracy(network, best, shape)

    with tempfile.TemporaryDirectory() as folder:
        ours = propose(study, value, Path(folder))
        drawn = propose(study_of(name, trials, seed, "random"), value)
    alone = ask_optuna(study, value)
    row = {"seed": seed, "asks": ours["asks"], "ms_per_ask": 1000 * ours["seconds"] / ours["asks"]}
    for which, found in (("ressearch", ours), ("optuna", alone), ("random", drawn)):
        row[which] = 0.95 - found["curve"][-1]
    return {**row, "optuna_asks": alone["asks"], "optuna_distinct": alone["distinct"]}


WIDTHS = (("ressearch", 10), ("optuna", 8), ("random", 8))


def summarise(rows: list[dict[str, Any]], trials: int) -> dict[str, Any]:
    """Return mean regrets, paired differences with intervals, and what asking cost."""

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    summary: dict[str, Any] = {
        "regret": {which: mean([row[which] for row in rows]) for which, _ in WIDTHS},
        "asks_per_trial": mean([row["asks"] / trials for row in rows]),
        "ms_per_ask": mean([row["ms_per_ask"] for row in rows]),
        "optuna_repeats": mean([trials - row["optuna_distinct"] for row in rows]),
    }
    for other in ("optuna", "random"):
        gap = mean_interval([row["ressearch"] - row[other] for row in rows])
        summary[f"less_than_{other}"] = {"mean": gap.mean, "low": gap.low, "high": gap.high}
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seeds", type=int, default=20, help="repetitions [20]")
    parser.add_argument("--trials", type=int, default=64, help="of each search [64]")
    parser.add_argument("--spaces", nargs="+", choices=list(SPACES), default=list(SPACES))
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    summary: dict[str, Any] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    print(f"{'regret x 1000':<15}{'ressearch':>10}{'optuna':>8}{'random':>8}", end="")
    print(f"{'ressearch - optuna':>26}{'ressearch - random':>26}{'asks/trial':>12}{'ms/ask':>8}{'twice':>7}")
    for name in arguments.spaces:
        rows[name] = [compare(name, arguments.trials, seed) for seed in range(arguments.seeds)]
        summary[name] = found = summarise(rows[name], arguments.trials)
        print(f"{name:<15}" + "".join(f"{1000 * found['regret'][key]:>{width}.2f}" for key, width in WIDTHS), end="")
        for gap in (found["less_than_optuna"], found["less_than_random"]):
            print(f"{1000 * gap['mean']:>+10.2f} [{1000 * gap['low']:+6.2f}, {1000 * gap['high']:+6.2f}]", end="")
        print(f"{found['asks_per_trial']:>10.2f}{found['ms_per_ask']:>8.1f}{found['optuna_repeats']:>7.1f}", flush=True)
    if arguments.save:
        save("samplers", {"command": "python benchmarks/samplers.py", "summary": summary, "rows": rows})


if __name__ == "__main__":
    main()
