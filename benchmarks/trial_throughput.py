"""Seconds a replicate-epoch: the trial engine against a plain PyTorch loop as the official tutorial writes it.

Both sides train the same network on the same data with the same recipe (SGD with Nesterov momentum, one-cycle, the same
batches and epochs) and the same seeds; accuracies are reported so that the speed is not bought with them. The plain
loop is the tutorial's: a Dataset with a transform for each image, a DataLoader, eager float32, `loss.item()` each step,
one seed after another, on all cores. Each side has processes of its own (started before the clock), so that neither
profits from what the other sets; runs alternate, plain and engine, and the least of each counts.

A study on a CPU runs as many trials at once as there are cores, a thread each; the rows with several processes measure
that: the time until all of them have ended, by the number of replicates and epochs. The plain loop runs so too there.

    python benchmarks/trial_throughput.py                  # CPU, digits, depth 56
    python benchmarks/trial_throughput.py --data DIR       # GPU, Fashion-MNIST's gzipped IDX files in DIR
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import save
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ressearch import Architecture, build
from ressearch.data import Split, Splits, load_dataset, split
from ressearch.data.files import read_idx
from ressearch.networks.cost import input_channels
from ressearch.networks.families import depths_for, widths_for
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
    splits = on_device(splits)
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


@functools.cache
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


@functools.cache
def on_device(splits: Splits) -> Splits:
    """Return the data where the engine trains, as the process of a trial holds them."""
    return splits.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


class Run(NamedTuple):
    """What a process is told to do."""

    architecture: Architecture
    data: Path | None
    recipe: Recipe
    threads: int


def run_plain(run: Run) -> dict[str, Any]:
    """Train every seed with the plain loop, one after another."""
    torch.set_num_threads(run.threads)
    splits, classes = load(run.data)
    runs = [plain_loop(run.architecture, splits, classes, run.recipe, seed) for seed in run.recipe.seeds]
    return {"accuracies": [one["accuracy"] for one in runs], "seconds": min(one["seconds"] for one in runs)}


def run_engine(run: Run) -> dict[str, Any]:
    """Train every seed with the engine."""
    torch.set_num_threads(run.threads)
    return engine(run.architecture, *load(run.data), run.recipe)


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that have imported everything."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [1.0] * count))
        yield pool


def compare(run: Run, at_once: int, repeats: int) -> dict[str, Any]:
    """Return both sides' least seconds a replicate-epoch, their ratio, and accuracies.

    Args:
        run: what each process trains with the engine.
        at_once: processes of each side.
        repeats: runs of each side.
    """
    plain = run._replace(recipe=run.recipe.model_copy(update={"precision": "float32"}))
    warm = run._replace(recipe=run.recipe.model_copy(update={"epochs": 1}))
    sides: dict[str, list[float]] = {"plain": [], "engine": []}
    work = at_once * len(run.recipe.seeds) * run.recipe.epochs
    with processes(at_once) as ours, processes(at_once) as theirs:
        list(ours.map(run_engine, [warm] * at_once))  # caches and choices, once per process
        list(
            theirs.map(
                run_plain,
                [warm._replace(recipe=plain.recipe.model_copy(update={"epochs": 1, "seeds": (0,)}))] * at_once,
            )
        )
        for _ in range(repeats):
            start = time.perf_counter()
            reached = list(theirs.map(run_plain, [plain] * at_once))
            sides["plain"].append((time.perf_counter() - start) / work)
            start = time.perf_counter()
            found = list(ours.map(run_engine, [run] * at_once))
            sides["engine"].append((time.perf_counter() - start) / work)
    least = {name: min(seconds) for name, seconds in sides.items()}
    accuracies = {"plain": reached[0]["accuracies"], "engine": found[0]["accuracies"]}
    return {
        "network": run.architecture.name,
        "depth": run.architecture.depth,
        "seeds": len(run.recipe.seeds),
        "epochs": run.recipe.epochs,
        "processes": at_once,
        "threads": run.threads,
        "plain_seconds": least["plain"],
        "engine_seconds": least["engine"],
        "ratio": least["plain"] / least["engine"],
        "ratios": [a / b for a, b in zip(sides["plain"], sides["engine"], strict=True)],
        "plain_accuracies": accuracies["plain"],
        "engine_accuracies": accuracies["engine"],
        "how": found[0]["how"],
    }


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    sd = f" ±{statistics.stdev(values):.3f}" if len(values) > 1 else "       "
    return f"{statistics.fmean(values):.3f}{sd}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, help="directory of Fashion-MNIST's gzipped IDX files [digits]")
    parser.add_argument("--depths", type=int, nargs="+", help="depths [56 on digits, 20 56 110 else]")
    parser.add_argument("--width", type=int, help="channels of the first stage [8 on digits, 16 else]")
    parser.add_argument("--seeds", type=int, nargs="+", help="numbers of seeds [1 4 on digits, 1 8 else]")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of each run [6]")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternating [3]")
    parser.add_argument("--name", default=None, help="results file [trial_throughput_cpu or _gpu]")
    arguments = parser.parse_args()
    is_digits, has_gpu = arguments.data is None, torch.cuda.is_available()
    depths = arguments.depths or ([56] if is_digits else [20, 56, 110])
    seeds = arguments.seeds or ([1, 4] if is_digits else [1, 8])
    width = arguments.width or (8 if is_digits else 16)
    cores = torch.get_num_threads()
    rows = []
    print(f"{'':<16}{'':>12}{'seconds a replicate-epoch':^26}{'':>8}{'validation accuracy':^28}")
    print(f"{'run':<16}{'seeds':>6}{'depth':>6}{'plain':>13}{'engine':>13}{'ratio':>8}{'plain':>14}{'engine':>14}")
    for at_once in [1] if has_gpu or cores == 1 else [1, cores]:
        for depth in depths:
            for count in seeds:
                architecture = Architecture(depths=depths_for(depth, "basic", 3), widths=widths_for(width, 3))
                recipe = Recipe(
                    epochs=arguments.epochs, seeds=count, precision="bfloat16" if has_gpu else "float32", **RECIPE
                )  # type: ignore[arg-type]
                row = compare(Run(architecture, arguments.data, recipe, cores // at_once), at_once, arguments.repeats)
                rows.append(row)
                what = f"{at_once} x {row['threads']} threads" if not has_gpu else "GPU"
                print(
                    f"{what:<16}{count:>6}{depth:>6}{row['plain_seconds']:>13.3f}{row['engine_seconds']:>13.3f}"
                    f"{row['ratio']:>7.2f}x{spread(row['plain_accuracies']):>14}{spread(row['engine_accuracies']):>14}",
                    flush=True,
                )
    print(f"evaluation included; engine: {rows[-1]['how']}")
    for study in (row for row in rows if row["processes"] > 1):
        alone = next(row for row in rows if all(row[key] == study[key] for key in ("seeds", "depth")))
        study["ratio_to_plain_on_all_cores"] = alone["plain_seconds"] / study["engine_seconds"]
        print(
            f"depth {study['depth']}, {study['seeds']} seeds: {study['processes']} trials at once, as in a study, "
            f"against one plain loop on all cores: {study['ratio_to_plain_on_all_cores']:.2f}x"
        )
    name = arguments.name or f"trial_throughput_{'gpu' if has_gpu else 'cpu'}"
    save(name, {"command": "python benchmarks/trial_throughput.py", "rows": rows})


if __name__ == "__main__":
    main()
