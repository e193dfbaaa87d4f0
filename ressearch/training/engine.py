"""The engine: trains the replicates of one architecture, one epoch a call, and reports what each reached.

Replicates advance side by side, an epoch at a time, so that a scheduler sees their mean early: as one grouped network
where that is faster, else one after another (`ressearch.training.choose`). The two compute the same, but round
otherwise in float32, which training amplifies: which one ran is on record, and a checkpoint keeps to it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ressearch.data.batches import Resident
from ressearch.data.splits import Split, Splits
from ressearch.networks.architecture import Architecture
from ressearch.networks.pretrained import Weights, read_weights
from ressearch.training.choose import Choice, Settle, choose
from ressearch.training.memory import keep_freed_memory
from ressearch.training.recipe import Recipe
from ressearch.training.replicates import EpochResult, Evaluation, Replicates


@functools.lru_cache(maxsize=4)
def _residents(splits: Splits, dtype: torch.dtype) -> tuple[Resident, Resident]:
    """Return the training and validation parts ready for batches, once for all trials of a process."""
    return tuple(Resident(part, splits.mean, splits.std, dtype) for part in (splits.train, splits.validation))  # type: ignore[return-value]


class Engine:
    """Trains every replicate of a trial; `train_epoch` yields their results epoch by epoch.

    Args:
        architecture: what to train.
        splits: the data, on the device to train on.
        classes: number of classes.
        recipe: how.
        state: what `state_dict` returned, to go on from there.
        settle: the choices of grouping and layout that a study has on record; None knows this machine's alone.
        init: what the recipe's `init` holds; None reads the file.

    Examples:
        >>> from ressearch.data import load_dataset, split
        >>> digits = load_dataset("digits")
        >>> splits = split(digits, seed=0, validation=0.2, test=0.2)
        >>> tiny = Architecture(depths=(1, 1, 1), widths=(4, 8, 16))
        >>> engine = Engine(tiny, splits, len(digits.classes), Recipe(epochs=1))
        >>> [result.epoch for result in engine.train_epoch()]
        [1]
    """

    def __init__(
        self,
        architecture: Architecture,
        splits: Splits,
        classes: int,
        recipe: Recipe,
        state: dict[str, Any] | None = None,
        settle: Settle | None = None,
        init: Weights | None = None,
    ) -> None:
        self.recipe, self._splits = recipe, splits
        keep_freed_memory()
        self._dtype = torch.float64 if recipe.precision == "float64" else torch.float32
        train, validation = _residents(splits, self._dtype)
        self.choice = (
            Choice(**state["choice"])
            if state
            else choose(architecture, train.input_shape, classes, recipe, train.labels.device, len(train), settle)
        )
        groups = [recipe.seeds] if self.choice.is_grouped else [(seed,) for seed in recipe.seeds]
        if state is not None:
            init = None  # it was trained on from there
        elif init is None and recipe.init is not None:
            init = read_weights(recipe.init)
        self.groups = [
            Replicates(architecture, train, validation, classes, recipe, seeds, self.choice.channels_last, init)
            for seeds in groups
        ]
        for group, saved in zip(self.groups, state["groups"] if state else (), strict=False):
            group.load_state_dict(saved)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training needs to go on: tensors, numbers and texts alone."""
        return {"choice": self.choice._asdict(), "groups": [group.state_dict() for group in self.groups]}

    def evaluate(self, part: Split) -> Evaluation:
        """Return what every replicate reaches on a part of the data, in the order of the recipe's seeds."""
        data = Resident(part, self._splits.mean, self._splits.std, self._dtype)
        each = [group.evaluate(data) for group in self.groups]
        return Evaluation(
            [loss for one in each for loss in one.losses],
            [accuracy for one in each for accuracy in one.accuracies],
            np.concatenate([one.correct for one in each]),
        )

    @property
    def correct(self) -> NDArray[np.bool_] | None:
        """Which validation examples every replicate had right after the last epoch, shape (seeds, examples).

        Seeds are in the recipe's order, examples in the order of the part. None before the first epoch, of more than
        200,000 examples, and after a checkpoint of a version that did not keep it, until the next epoch.
        """
        each = [group.correct for group in self.groups if group.correct is not None]
        return np.concatenate(each) if len(each) == len(self.groups) else None

    def state(self, index: int) -> dict[str, Tensor]:
        """Return the weights of one replicate (their moving average, if there is one), as `build` has them."""
        if self.choice.is_grouped:
            return self.groups[0].state(index)
        return self.groups[index].state(0)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self.groups[0].epoch

    @property
    def description(self) -> str:
        """How the trial runs, for the record: ``3 seeds grouped, channels_last, eager (no CUDA graphs on a cpu)``."""
        seeds = len(self.recipe.seeds)
        way = "grouped" if self.choice.is_grouped else "one after another" if seeds > 1 else ""
        layout = "channels_last" if self.choice.channels_last else "contiguous"
        why = self.groups[0].why_eager
        step = "CUDA graph" if why is None else f"eager ({why})"
        return ", ".join((f"{seeds} {'seeds' if seeds > 1 else 'seed'} {way}".strip(), layout, step))

    @property
    def is_finished(self) -> bool:
        """Whether every epoch of the recipe is trained."""
        return self.epoch >= self.recipe.epochs

    def train_epoch(self) -> list[EpochResult]:
        """Train one more epoch of every replicate and return their results, in the order of the recipe's seeds.

        Raises Diverged if a replicate's loss was no number or exploded.
        """
        return [result for group in self.groups for result in group.train_epoch()]
