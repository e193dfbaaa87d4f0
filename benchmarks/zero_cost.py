"""Would a score at initialisation save training? Its rank correlation with accuracy, beside that of cost alone.

Networks drawn at random are trained on digits; each candidate score is computed on the untrained network and one batch.
A score is worth having only if it ranks better than «more MACs is better» (Abdelfattah et al. 2021; White et al. 2022
found that few do). Spearman's rho, with 95 % bootstrap intervals over networks, and of the difference to MACs.

    python benchmarks/zero_cost.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from common import save
from scipy import stats
from search_pays import SPACE
from torch.nn import functional

from ressearch import Architecture, SearchSpace, build, cost
from ressearch.data import Splits, load_dataset, split
from ressearch.training import Diverged, Engine, Recipe


def gradient_norm(network: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Norm of the loss' gradient (Abdelfattah et al. 2021)."""
    functional.cross_entropy(network(inputs), labels).backward()
    return float(torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm())


def synflow(network: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Sum of parameter times gradient of the output of ones through absolute weights (Tanaka et al. 2020), in logs."""
    network = network.double().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.abs_() if value.is_floating_point() else None
    network(torch.ones_like(inputs[:1]).double()).sum().backward()
    total = sum(float((p.detach() * p.grad).sum()) for p in network.parameters() if p.grad is not None)
    return float(np.log(max(total, 1e-300)))


SCORES: dict[str, Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], float]] = {
    "gradient_norm": gradient_norm,
    "synflow": synflow,
}


def accuracy(architecture: Architecture, splits: Splits, recipe: Recipe) -> float:
    """Train; a network that diverges is at chance."""
    engine = Engine(architecture, splits, 10, recipe)
    try:
        while not engine.is_finished:
            results = engine.train_epoch()
    except Diverged:
        return 0.1
    return float(np.mean([result.val_accuracy for result in results]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--networks", type=int, default=60)
    arguments = parser.parse_args()
    digits = load_dataset("digits")
    splits = split(digits, 0, 0.2, 0.2)
    space = SearchSpace(SPACE, input_shape=(1, 8, 8), num_classes=10)
    recipe = Recipe(epochs=9, seeds=1, lr=0.05, gradient_clip=1.0)
    inputs = (splits.train.inputs[:64].float() - splits.mean) / splits.std
    labels = splits.train.labels[:64]
    columns: dict[str, list[float]] = {name: [] for name in ("accuracy", "macs", "params", "depth", *SCORES)}
    for architecture in space.sample(arguments.networks, seed=0):
        price = cost(architecture, (1, 8, 8), 10)
        columns["accuracy"].append(accuracy(architecture, splits, recipe))
        columns["macs"].append(price.macs)
        columns["params"].append(price.params)
        columns["depth"].append(architecture.depth)
        for name, score in SCORES.items():
            torch.manual_seed(0)
            columns[name].append(score(build(architecture, 1, 10), inputs, labels))
    table = {name: np.array(values) for name, values in columns.items()}
    chance = np.random.default_rng(0)
    drawn = [chance.integers(0, arguments.networks, arguments.networks) for _ in range(2000)]

    def rho(name: str, chosen: np.ndarray | slice = slice(None)) -> float:
        return float(stats.spearmanr(table[name][chosen], table["accuracy"][chosen]).statistic)

    rows = {}
    print(f"{'score':<16}{'rho with accuracy':>22}{'better than MACs by':>26}")
    for name in columns:
        if name == "accuracy":
            continue
        samples = np.array([rho(name, chosen) for chosen in drawn])
        gains = samples - np.array([rho("macs", chosen) for chosen in drawn])
        low, high = np.nanpercentile(samples, [2.5, 97.5])
        less, more = np.nanpercentile(gains, [2.5, 97.5])
        rows[name] = {"rho": rho(name), "low": low, "high": high, "gain_low": less, "gain_high": more}
        said = f"{rho(name):.2f} [{low:+.2f}, {high:+.2f}]"
        print(f"{name:<16}{said:>22}{rho(name) - rho('macs'):>10.2f} [{less:+.2f}, {more:+.2f}]")
    save("zero_cost", {"command": "python benchmarks/zero_cost.py", "networks": arguments.networks, "rows": rows})


if __name__ == "__main__":
    main()
