"""Seconds a replicate-epoch: the trial engine against a plain PyTorch loop as the official tutorial writes it.

Both sides train the same network on the same data with the same recipe (SGD with Nesterov momentum, one-cycle, the same
batches and epochs) and the same number of seeds; accuracies are reported so that the speed is not bought with them. The
plain loop is the tutorial's: a Dataset with a transform for each image, a DataLoader, eager float32, `loss.item()` each
step, one seed after another. Runs alternate, plain and engine, and the least of each counts.

    python benchmarks/trial_throughput.py                  # CPU, digits, depth 56
    python benchmarks/trial_throughput.py --data DIR       # GPU, Fashion-MNIST's gzipped IDX files in DIR
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import save
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ressearch import Architecture, build
from ressearch.cost import input_channels
from ressearch.data import Split, Splits, load_dataset, split
from ressearch.families import depths_for, widths_for
from ressearch.training import Engine, Recipe
from ressearch.training.replicates import learning_rate

RECIPE = {"lr": 0.1, "batch_size": 64, "weight_decay": 5e-4, "gradient_clip": None}


class Images(Dataset):  # type: ignore[type-arg]
    """Images with a transform each, as torchvision's data sets are."""

    def __init__(self, part: Split, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.images, self.labels = part.inputs.cpu().numpy(), part.labels.tolist()
        self.mean, self.std = mean.cpu(), std.cpu()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[index]).float()
        return (image - self.mean) / self.std, self.labels[index]


def plain_loop(architecture: Architecture, splits: Splits, classes: int, recipe: Recipe, seed: int) -> dict[str, float]:
    """Train one seed as the official tutorial does; returns seconds an epoch and the validation accuracy."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    model = build(architecture, input_channels(tuple(splits.train.inputs.shape[1:])), classes).to(device)
    train = DataLoader(Images(splits.train, splits.mean, splits.std), recipe.batch_size, shuffle=True, drop_last=True)
    test = DataLoader(Images(splits.validation, splits.mean, splits.std), recipe.batch_size)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.peak_lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    start, step, accuracy = time.perf_counter(), 0, 0.0
    for _ in range(recipe.epochs):
        model.train()
        running_loss = 0.0
        for inputs, labels in train:
            inputs, labels = inputs.to(device), labels.to(device)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, len(train))
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            step += 1
        model.eval()
        correct = 0.0
        with torch.no_grad():
            for inputs, labels in test:
                prediction = model(inputs.to(device))
                correct += (prediction.argmax(1) == labels.to(device)).type(torch.float).sum().item()
        accuracy = correct / len(splits.validation)
    return {"seconds": (time.perf_counter() - start) / recipe.epochs, "accuracy": accuracy}


def engine(architecture: Architecture, splits: Splits, classes: int, recipe: Recipe) -> dict[str, Any]:
    """Train all seeds with the engine; returns seconds a replicate-epoch and the validation accuracies."""
    start = time.perf_counter()
    trainer = Engine(architecture, splits, classes, recipe)
    results = []
    for _ in range(recipe.epochs):
        results = trainer.train_epoch()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / recipe.epochs / len(recipe.seeds)
    return {
        "seconds": seconds,
        "accuracies": [result.val_accuracy for result in results],
        "how": trainer.description,
    }


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes."""
    data = gzip.decompress(path.read_bytes())
    sides = [int.from_bytes(data[4 + 4 * at : 8 + 4 * at], "big") for at in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sides)).reshape(sides)


def load(directory: Path | None) -> tuple[Splits, int]:
    """Return the splits and the number of classes."""
    if directory is None:
        digits = load_dataset("digits")
        return split(digits, 0, 0.2, 0.2), len(digits.classes)
    images = torch.from_numpy(read_idx(directory / "train-images-idx3-ubyte.gz").copy()).unsqueeze(1)
    labels = torch.from_numpy(read_idx(directory / "train-labels-idx1-ubyte.gz").copy()).long()
    mean, std = images.float().mean().view(1, 1, 1), images.float().std().view(1, 1, 1)
    train, validation = Split(images[:50_000], labels[:50_000]), Split(images[50_000:], labels[50_000:])
    return Splits(train, validation, Split(images[:0], labels[:0]), mean, std, "fashion_mnist"), 10


def compare(
    architecture: Architecture, splits: Splits, classes: int, epochs: int, seeds: int, repeats: int, plain_epochs: int
) -> dict[str, Any]:
    """Return both sides' least seconds a replicate-epoch, the ratio, and accuracies."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bfloat16" if device.type == "cuda" else "float32"
    ours = Recipe(epochs=epochs, seeds=seeds, precision=precision, **RECIPE)  # type: ignore[arg-type]
    plain = Recipe(epochs=plain_epochs, seeds=1, **RECIPE)  # type: ignore[arg-type]
    on_device = splits.to(device)
    engine(architecture, on_device, classes, ours.model_copy(update={"epochs": 1}))  # imports, caches, choices
    sides: dict[str, list[dict[str, Any]]] = {"plain": [], "engine": []}
    for repeat in range(repeats):
        sides["plain"].append(plain_loop(architecture, splits, classes, plain, seed=repeat))
        sides["engine"].append(engine(architecture, on_device, classes, ours))
    least = {name: min(run["seconds"] for run in runs) for name, runs in sides.items()}
    reached = [accuracy for run in sides["engine"] for accuracy in run["accuracies"]]
    return {
        "network": architecture.name,
        "depth": architecture.depth,
        "seeds": seeds,
        "epochs": epochs,
        "threads": torch.get_num_threads(),
        "plain_seconds": least["plain"],
        "engine_seconds": least["engine"],
        "ratio": least["plain"] / least["engine"],
        "ratios": [a["seconds"] / b["seconds"] for a, b in zip(sides["plain"], sides["engine"], strict=True)],
        "plain_accuracy": statistics.fmean(run["accuracy"] for run in sides["plain"]),
        "engine_accuracy": statistics.fmean(reached),
        "how": sides["engine"][0]["how"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument(
        "--data", type=Path, help="directory of Fashion-MNIST's gzipped IDX files [scikit-learn's digits]"
    )
    parser.add_argument("--depths", type=int, nargs="+", help="depths [56 on digits, 20 56 110 else]")
    parser.add_argument("--width", type=int, help="channels of the first stage [8 on digits, 16 else]")
    parser.add_argument("--seeds", type=int, nargs="+", help="numbers of seeds [1 4 on digits, 1 8 else]")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each run [4]")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternating [3]")
    parser.add_argument("--threads", type=int, nargs="+", help="CPU threads [all cores, and 1, on digits]")
    parser.add_argument("--name", default=None, help="results file [trial_throughput_cpu or _gpu]")
    arguments = parser.parse_args()
    splits, classes = load(arguments.data)
    is_digits = arguments.data is None
    depths = arguments.depths or ([56] if is_digits else [20, 56, 110])
    seeds = arguments.seeds or ([1, 4] if is_digits else [1, 8])
    threads = arguments.threads or ([torch.get_num_threads(), 1] if is_digits else [torch.get_num_threads()])
    width = arguments.width or (8 if is_digits else 16)
    rows = []
    print(
        f"{'threads':>7}{'depth':>7}{'seeds':>7}{'plain s':>10}{'engine s':>10}{'ratio':>8}{'plain acc':>11}{'acc':>8}"
    )
    for thread in threads:
        torch.set_num_threads(thread)
        for depth in depths:
            architecture = Architecture(depths=depths_for(depth, "basic", 3), widths=widths_for(width, 3))
            for count in seeds:
                row = compare(
                    architecture, splits, classes, arguments.epochs, count, arguments.repeats, arguments.epochs
                )
                rows.append(row)
                print(
                    f"{thread:>7}{depth:>7}{count:>7}{row['plain_seconds']:>10.3f}{row['engine_seconds']:>10.3f}"
                    f"{row['ratio']:>7.2f}x{row['plain_accuracy']:>11.3f}{row['engine_accuracy']:>8.3f}",
                    flush=True,
                )
    print("seconds a replicate-epoch, evaluation included; " + rows[0]["how"])
    name = arguments.name or f"trial_throughput_{'gpu' if torch.cuda.is_available() else 'cpu'}"
    save(name, {"command": "python benchmarks/trial_throughput.py", "rows": rows})


if __name__ == "__main__":
    main()
