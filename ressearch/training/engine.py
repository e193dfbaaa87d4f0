"""The engine: trains the replicates of one architecture, one epoch a call, and reports what each reached.

Replicates advance side by side, an epoch at a time, so that a scheduler sees their mean early. Each has random states
of its own, so its numbers do not depend on which others train beside it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ressearch.architecture import Architecture
from ressearch.cost import input_channels
from ressearch.data.batches import batches
from ressearch.data.splits import Split, Splits
from ressearch.network import build
from ressearch.training.recipe import Recipe


class Diverged(Exception):
    """Training met a loss that is no number; the text says where."""


@dataclass(frozen=True)
class EpochResult:
    """What one replicate did in one epoch. Losses are mean cross-entropies in nats, accuracies fractions."""

    seed: int
    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step (from 0) under the recipe's schedule."""
    steps = recipe.epochs * steps_per_epoch
    if recipe.warmup_epochs is not None:
        warmup = recipe.warmup_epochs * steps_per_epoch
    else:
        warmup = 0.3 * steps if recipe.schedule == "one_cycle" else 0.0
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return recipe.lr
    progress = (step - warmup) / max(1.0, steps - warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return optimizer groups: matrices and filters decayed; norms, biases and scalars not (He et al. 2019)."""
    params = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in params if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in params if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


class Replicate:
    """One seed of one architecture: network, optimizer, and random states of its own."""

    def __init__(self, architecture: Architecture, splits: Splits, classes: int, recipe: Recipe, seed: int) -> None:
        self.seed, self.recipe, self.splits = seed, recipe, splits
        self.device = splits.train.labels.device
        self.epoch = 0
        self._step = 0
        batch_size = min(recipe.batch_size, len(splits.train))
        self._steps_per_epoch = len(splits.train) // batch_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build(architecture, input_channels(tuple(splits.train.inputs.shape[1:])), classes)
            self._random_state = torch.get_rng_state()
        is_image = splits.train.inputs.ndim == 4
        layout = torch.channels_last if recipe.channels_last and is_image else torch.contiguous_format
        self.network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self._layout = layout
        self._order = torch.Generator(self.device).manual_seed(seed)
        groups = parameter_groups(self.network, recipe.weight_decay)
        self._optimizer: torch.optim.Optimizer
        if recipe.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(
                groups, recipe.lr, recipe.momentum, nesterov=recipe.momentum > 0, foreach=True
            )
        else:
            self._optimizer = torch.optim.AdamW(groups, recipe.lr, foreach=True)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")

    @contextlib.contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Run with this replicate's random state, so that dropout and the like do not depend on its neighbours."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random_state)
            yield
            self._random_state = torch.get_rng_state()

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.recipe.precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.recipe.precision != "float32")

    def _logits(self, inputs: Tensor) -> Tensor:
        with self._autocast():
            return self.network(inputs.contiguous(memory_format=self._layout)).float()

    def train_epoch(self) -> EpochResult:
        """Train one epoch, then evaluate on the validation split.

        Raises Diverged if a loss was not finite.
        """
        start = time.perf_counter()
        self.network.train()
        losses, correct, seen = [], torch.zeros((), device=self.device), 0
        lr = 0.0
        stream = batches(
            self.splits.train,
            self.recipe.batch_size,
            self.splits.mean,
            self.splits.std,
            generator=self._order,
            augmentations=self.recipe.augmentation,
        )
        with self._own_randomness():
            for inputs, labels in stream:
                lr = learning_rate(self.recipe, self._step, self._steps_per_epoch)
                loss, logits = self._train_step(inputs, labels, lr)
                losses.append(loss)
                correct += (logits.argmax(1) == labels).sum()
                seen += len(labels)
        epoch_losses = torch.stack(losses)
        self._require_finite(epoch_losses)
        self.epoch += 1
        val_loss, val_accuracy = self.evaluate(self.splits.validation)
        return EpochResult(
            self.seed,
            self.epoch,
            lr,
            epoch_losses.mean().item(),
            correct.item() / seen,
            val_loss,
            val_accuracy,
            time.perf_counter() - start,
        )

    def _train_step(self, inputs: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        logits = self._logits(inputs)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self.recipe.gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._step += 1
        return loss.detach(), logits.detach()

    def _require_finite(self, losses: Tensor) -> None:
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = self._step - len(losses) + int(bad[0]) + 1
            raise Diverged(f"seed {self.seed}: loss is {losses[bad[0]].item()} at step {step}")

    @torch.inference_mode()
    def evaluate(self, split: Split) -> tuple[float, float]:
        """Return the mean cross-entropy and the accuracy on a split, in evaluation mode."""
        self.network.eval()
        loss = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        for inputs, labels in batches(split, 512, self.splits.mean, self.splits.std):
            logits = self._logits(inputs)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
        return loss.item() / len(split), correct.item() / len(split)


class Engine:
    """Trains every replicate of a trial; `epochs` yields their results epoch by epoch.

    Args:
        architecture: what to train.
        splits: the data, on the device to train on.
        classes: number of classes.
        recipe: how.

    Example:
        >>> from ressearch.data import load_dataset, split
        >>> digits = load_dataset("digits")
        >>> splits = split(digits, seed=0, validation=0.2, test=0.2)
        >>> tiny = Architecture(depths=(1, 1, 1), widths=(4, 8, 16))
        >>> engine = Engine(tiny, splits, len(digits.classes), Recipe(epochs=1))
        >>> [result.epoch for result in engine.train_epoch()]
        [1]
    """

    def __init__(self, architecture: Architecture, splits: Splits, classes: int, recipe: Recipe) -> None:
        self.recipe = recipe
        self.replicates = [Replicate(architecture, splits, classes, recipe, seed) for seed in recipe.seeds]

    @property
    def is_finished(self) -> bool:
        """Whether every epoch of the recipe is trained."""
        return self.replicates[0].epoch >= self.recipe.epochs

    def train_epoch(self) -> list[EpochResult]:
        """Train one more epoch of every replicate and return their results, in the order of the recipe's seeds.

        Raises Diverged if a loss was not finite.
        """
        return [replicate.train_epoch() for replicate in self.replicates]
