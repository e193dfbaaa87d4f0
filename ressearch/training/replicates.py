"""Replicates: one or more seeds of one architecture, trained as one network, each exactly as it would be alone.

Every replicate has an initialisation, a data order, augmentations and noise of its own, from its seed; losses,
gradients, clipping, metrics and divergence are kept apart. Nothing waits for the device inside an epoch, except on a
CPU, where looking costs nothing.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ressearch.data.batches import Batch, Resident, evaluation_batches, training_batches
from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build_replicates
from ressearch.networks.cost import input_channels
from ressearch.networks.pretrained import Weights, load_weights
from ressearch.networks.replicated import replicate_state, set_generators
from ressearch.training.graph import CapturedStep, why_not_captured
from ressearch.training.optimizers import make_optimizer, restore_optimizer, set_learning_rate
from ressearch.training.recipe import Recipe, Transfer
from ressearch.training.transfer import mup

EXPLODED = 1e4
"""Nats; a larger mean loss of a step counts as diverged."""

KEPT_EXAMPLES = 200_000
"""Examples of a part of the data up to which it is kept which of them were classified right."""

_LOOK_EVERY = 16
"""Steps after which losses on a GPU are looked at for divergence."""

_NOISE = 0x5EED
"""Added to the seed for the stream of dropout and the like, apart from the one of data order and augmentation."""


class Diverged(Exception):
    """Training met a loss that is no number, or exploded; the text says where."""


@dataclass(frozen=True)
class EpochResult:
    """What one replicate did in one epoch. Losses are mean cross-entropies in nats, accuracies fractions.

    `seconds` is its share of the time of the group that it trained in.
    """

    seed: int
    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


class Evaluation(NamedTuple):
    """What replicates reach on a part of the data.

    Attributes:
        losses: mean cross-entropies in nats, one per replicate.
        accuracies: fractions, one per replicate; each is the mean of its row of `correct`, exactly.
        correct: whether each example is classified right, shape (replicates, examples), in the order of the part.
    """

    losses: list[float]
    accuracies: list[float]
    correct: NDArray[np.bool_]


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step (from 0) under the recipe's schedule."""
    steps = recipe.epochs * steps_per_epoch
    if recipe.warmup_epochs is not None:
        warmup = recipe.warmup_epochs * steps_per_epoch
    else:
        warmup = 0.3 * steps if recipe.schedule == "one_cycle" else 0.0
    peak = recipe.peak_lr
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return peak
    progress = (step - warmup) / (steps - warmup)  # warm-ups end before the last step, see `Recipe`
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


class Replicates:
    """K seeds of one architecture in one network.

    Args:
        architecture: what to train.
        train: the training data, on the device to train on.
        validation: the validation data.
        classes: number of classes.
        recipe: how.
        seeds: one per replicate.
        channels_last: memory layout of images.
        init: weights that every replicate starts from; None starts each from its own.

    Attributes:
        correct: which validation examples each replicate had right after the last epoch, shape (K, examples), in the
            order of the part; None before the first epoch, and of more examples than `KEPT_EXAMPLES`.
    """

    def __init__(
        self,
        architecture: Architecture,
        train: Resident,
        validation: Resident,
        classes: int,
        recipe: Recipe,
        seeds: Sequence[int],
        channels_last: bool = True,
        init: Weights | None = None,
    ) -> None:
        self.architecture, self.recipe, self.seeds, self.classes = architecture, recipe, tuple(seeds), classes
        self.train_data, self.validation_data = train, validation
        self.device = train.labels.device
        self.epoch = 0
        self.correct: NDArray[np.bool_] | None = None
        self._step = 0
        self._steps_per_epoch = len(train) // min(recipe.batch_size, len(train))
        self._channels = input_channels(train.input_shape)
        is_image = len(train.input_shape) == 3
        self._layout = torch.channels_last if channels_last and is_image else torch.contiguous_format
        prepare = functools.partial(load_weights, weights=init) if init is not None else None
        network = build_replicates(architecture, self.seeds, self._channels, classes, prepare)
        self.network = network.to(self.device, train.dtype).to(memory_format=self._layout)  # type: ignore[call-overload]
        groups = self._parameter_groups()
        self._order, self._noise = (
            [torch.Generator(self.device).manual_seed(seed + offset) for seed in self.seeds] for offset in (0, _NOISE)
        )
        self.averaged = self._averaged()
        set_generators(self.network, self._noise)
        self.why_eager = why_not_captured(self.device, recipe, self.network)
        self._optimizer = make_optimizer(groups, recipe, is_captured=self.why_eager is None)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        self._captured: CapturedStep | None = None

    def _parameter_groups(self) -> list[dict[str, object]]:
        """Return optimizer groups by decay and learning-rate factor: matrices and filters are decayed, others not."""
        scaling = None
        if isinstance(self.recipe.lr, Transfer):
            lr = self.recipe.lr
            scaling = mup(self.architecture, lr.base_width, self.recipe.optimizer, self._channels, self.classes)
            with torch.no_grad():
                self.network.classifier.weight.mul_(scaling.classifier)
        replicates = len(self.seeds)
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            # Off images a replicated weight has one axis more than alone; a norm's or bias' values are one a channel.
            is_stacked = replicates > 1 and parameter.shape[0] == replicates and parameter.ndim != 4
            is_decayed = parameter.ndim - is_stacked > 1
            factor = scaling.lr[name] if scaling else 1.0
            groups.setdefault((is_decayed, factor), []).append(parameter)
        return [
            {"params": params, "weight_decay": self.recipe.weight_decay if is_decayed else 0.0, "factor": factor}
            for (is_decayed, factor), params in groups.items()
        ]

    def _averaged(self) -> AveragedModel | None:
        if self.recipe.ema is None:
            return None
        average = get_ema_multi_avg_fn(self.recipe.ema)
        return AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)

    def _join(self, inputs: Tensor) -> Tensor:
        """Lay the replicates' inputs, shape (K, batch, …), side by side along the channels."""
        if inputs.ndim == 4:  # sequences
            return inputs.permute(1, 2, 0, 3).flatten(2)
        return inputs.transpose(0, 1).flatten(1, 2)

    def _logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return logits, shape (K, batch, classes), of joined inputs."""
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=self._layout)
        dtype = torch.float16 if self.recipe.precision == "float16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype, enabled=self.recipe.precision in ("float16", "bfloat16")):
            out = network(inputs)
        out = out if out.dtype == torch.float64 else out.float()
        return torch.unflatten(out, 1, (len(self.seeds), -1)).transpose(0, 1)

    def train_epoch(self) -> list[EpochResult]:
        """Train one epoch of every replicate, then evaluate on the validation split; one result a seed.

        Where that split is empty its loss and accuracy are NaN.

        Raises Diverged if a replicate's loss was no number or exploded.
        """
        start = time.perf_counter()
        self.network.train()
        losses: list[Tensor] = []
        correct = torch.zeros(len(self.seeds), device=self.device)
        seen, lr = 0, 0.0
        recipe = self.recipe
        looked = 0
        for batch in training_batches(
            self.train_data, recipe.batch_size, self._order, recipe.augmentation, self.classes
        ):
            lr = learning_rate(recipe, self._step, self._steps_per_epoch)
            set_learning_rate(self._optimizer, lr)
            loss, hits = self._run_step(batch)
            losses.append(loss)
            correct += hits
            seen += batch.labels.shape[1]
            self._step += 1
            if self.device.type == "cpu" or len(losses) - looked >= _LOOK_EVERY:
                self._require_sane(losses[looked:])
                looked = len(losses)
        self._require_sane(losses[looked:])
        self.epoch += 1
        train_loss = torch.stack(losses).mean(0)
        val_loss, is_right = self._evaluate(self.validation_data)
        rows = torch.stack([train_loss, (correct / seen).to(train_loss), val_loss], dim=1).tolist()
        right = is_right.cpu().numpy()
        self.correct = right if right.shape[1] <= KEPT_EXAMPLES else None
        accuracies = right.mean(1).tolist() if right.shape[1] else [math.nan] * len(self.seeds)
        share = (time.perf_counter() - start) / len(self.seeds)
        return [
            EpochResult(seed, self.epoch, lr, train_loss, train_accuracy, val_loss, val_accuracy, share)
            for seed, (train_loss, train_accuracy, val_loss), val_accuracy in zip(
                self.seeds, rows, accuracies, strict=True
            )
        ]

    def _run_step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return each replicate's loss and number of hits, shape (K,)."""
        joined = batch._replace(inputs=self._join(batch.inputs))
        if self.why_eager is not None:
            return self.step(joined)
        if self._captured is None:
            self._captured = CapturedStep()
        loss, hits = self._captured(self.step, joined)
        self.why_eager = self._captured.why_failed
        return loss, hits

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Train one step on joined inputs; returns each replicate's loss and number of hits, shape (K,)."""
        replicates, size = batch.labels.shape
        logits = self._logits(self.network, batch.inputs)
        expected = batch.labels if batch.targets is None else batch.targets
        losses = functional.cross_entropy(
            logits.flatten(0, 1), expected.flatten(0, 1), reduction="none", label_smoothing=self.recipe.label_smoothing
        )
        losses = losses.view(replicates, size).mean(1)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(losses.sum()).backward()
        if self.recipe.gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            self._clip(self.recipe.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        with torch.no_grad():
            hits = (logits.argmax(2) == batch.labels).sum(1)
        return losses.detach(), hits

    @torch.no_grad()
    def _clip(self, largest: float) -> None:
        """Scale each replicate's gradient so that its norm is at most `largest` (as `clip_grad_norm_` does alone)."""
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        replicates = len(self.seeds)
        if replicates == 1:
            nn.utils.clip_grad_norm_(self.network.parameters(), largest)
            return
        rows = [gradient.reshape(replicates, -1) for gradient in gradients]
        norms = torch.stack([torch.linalg.vector_norm(row, dim=1) for row in rows])
        factor = (largest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
        if self.device.type == "cpu" and bool((factor == 1).all()):
            return
        for gradient in gradients:
            gradient.view(replicates, -1, *gradient.shape[1:]).mul_(factor.view(-1, *(1,) * gradient.ndim))

    def _require_sane(self, losses: Sequence[Tensor]) -> None:
        """Raise Diverged if one of the last steps' losses is no number or exploded."""
        if not losses:
            return
        stacked = torch.stack(list(losses)) if len(losses) > 1 else losses[0].unsqueeze(0)
        is_sane = stacked < EXPLODED  # false for what is no number, too
        if bool(is_sane.all()):
            return
        at, replicate = (~is_sane).nonzero()[0].tolist()
        step = self._step - len(losses) + at + 1
        value = stacked[at, replicate].item()
        raise Diverged(f"seed {self.seeds[replicate]}: loss is {value:.4g} at step {step}")

    @torch.inference_mode()
    def _evaluate(self, data: Resident) -> tuple[Tensor, Tensor]:
        """Return each replicate's mean cross-entropy on a split, shape (K,), and which examples it has right, shape
        (K, examples), in evaluation mode; both on the device."""
        network = self.network if self.averaged is None else self.averaged
        network.eval()
        replicates = len(self.seeds)
        if len(data) == 0:  # all examples are trained on
            nothing = torch.zeros(replicates, 0, device=self.device)
            return nothing.mean(1), nothing.bool()
        loss = torch.zeros(replicates, device=self.device, dtype=data.dtype)
        is_right: list[Tensor] = []
        for inputs, labels in evaluation_batches(data):
            joined = self._join(inputs.expand(replicates, *inputs.shape))
            logits = self._logits(network, joined)
            repeated = labels.repeat(replicates)
            each = functional.cross_entropy(logits.flatten(0, 1), repeated, reduction="none")
            loss += each.view(replicates, -1).sum(1)
            is_right.append(logits.argmax(2) == labels)
        return loss / len(data), torch.cat(is_right, dim=1)

    def evaluate(self, data: Resident) -> Evaluation:
        """Return what each replicate reaches on a split."""
        loss, is_right = self._evaluate(data)
        correct = is_right.cpu().numpy()
        return Evaluation(loss.tolist(), correct.mean(1).tolist(), correct)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training needs to go on exactly as it would have."""
        return {
            "epoch": self.epoch,
            "step": self._step,
            "correct": torch.from_numpy(self.correct) if self.correct is not None else None,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "order": [generator.get_state() for generator in self._order],
            "noise": [generator.get_state() for generator in self._noise],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.epoch, self._step = state["epoch"], state["step"]
        correct = state.get("correct")  # a checkpoint of an older version has none
        self.correct = correct.cpu().numpy() if correct is not None else None
        self.network.load_state_dict(state["network"])
        restore_optimizer(self._optimizer, state["optimizer"])
        self._captured = None  # a graph holds the tensors that were there when it was captured
        self._scaler.load_state_dict(state["scaler"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        for generators, states in ((self._order, state["order"]), (self._noise, state["noise"])):
            for generator, one in zip(generators, states, strict=True):
                generator.set_state(one.cpu())

    def state(self, index: int) -> dict[str, Tensor]:
        """Return the state of one replicate (its moving average, if there is one), as `build` has it."""
        network = self.network if self.averaged is None else self.averaged.module
        alone = build_replicates(self.architecture, (0,), self._channels, self.classes)
        return replicate_state(network, index, alone)
