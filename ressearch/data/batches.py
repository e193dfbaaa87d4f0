"""Batches of a device-resident split: shuffling, normalisation and augmentation run there, whole batches at once.

The replicates of a group each see the data in an order of their own, with augmentations of their own, drawn from their
own generators: exactly what each would see alone.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ressearch.data.augment import Draws, Mixing, get_augmentations
from ressearch.data.lazy import Lazy
from ressearch.data.splits import Split

_KEPT_NORMALISED = 2**28
"""Bytes of normalised inputs up to which a split is normalised once, not once per batch."""


class Batch(NamedTuple):
    """One step's data for K replicates.

    Attributes:
        inputs: shape (K, batch, *input_shape), normalised.
        labels: class indices, shape (K, batch).
        targets: class probabilities, shape (K, batch, classes), where an augmentation mixes labels; else None.
    """

    inputs: Tensor
    labels: Tensor
    targets: Tensor | None


class Resident:
    """A split on its device, ready for batches.

    Args:
        split: the examples, on the device.
        mean: by channel, to subtract.
        std: by channel, to divide by.
        dtype: of the batches.
    """

    def __init__(self, split: Split, mean: Tensor, std: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.split, self.labels, self.dtype = split, split.labels, dtype
        self._mean, self._std = mean.to(dtype), std.to(dtype)
        self.is_streamed = isinstance(split.pool, Lazy)
        self._normalised: Tensor | None = None
        split.prepare()
        if not self.is_streamed and len(split) * math.prod(split.input_shape) * dtype.itemsize <= _KEPT_NORMALISED:
            self._normalised = self._normalise(split.load(slice(None)))

    def __len__(self) -> int:
        return len(self.split)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.split.input_shape

    def _normalise(self, inputs: Tensor) -> Tensor:
        return (inputs.to(self.dtype) - self._mean) / self._std

    def inputs(self, chosen: Tensor | slice) -> Tensor:
        """Return the chosen inputs, normalised."""
        if self._normalised is not None:
            return self._normalised[chosen]
        inputs = self.split.load(chosen)
        if self.is_streamed and self.labels.device.type == "cuda":
            inputs = inputs.pin_memory().to(self.labels.device, non_blocking=True)
        return self._normalise(inputs)


def training_batches(
    data: Resident,
    batch_size: int,
    generators: Sequence[torch.Generator],
    augmentations: Sequence[str] = (),
    classes: int | None = None,
) -> Iterator[Batch]:
    """Yield the batches of one epoch, shuffled and augmented for each generator (replicate) by itself.

    The last incomplete batch is left out, unless it is the only one. `classes` is needed where labels are mixed. What
    is decoded when needed is decoded some batches ahead, on threads of its own.
    """
    batches = _training_batches(data, batch_size, generators, augmentations, classes)
    yield from _ahead(batches) if data.is_streamed else batches


def _ahead(batches: Iterator[Batch], depth: int = 3) -> Iterator[Batch]:
    """Make batches on another thread, up to `depth` ahead."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(depth)
    is_over = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not is_over.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if is_over.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_over.set()
        worker.join()


def _training_batches(
    data: Resident,
    batch_size: int,
    generators: Sequence[torch.Generator],
    augmentations: Sequence[str],
    classes: int | None,
) -> Iterator[Batch]:
    count, size = len(data), min(batch_size, len(data))
    kinds = get_augmentations(augmentations)
    orders = torch.stack([torch.randperm(count, generator=one, device=one.device) for one in generators])
    for chosen in orders[:, : count - count % size].split(size, dim=1):
        labels = data.labels[chosen]
        inputs = data.inputs(chosen.flatten())
        targets: Tensor | None = None
        for kind in kinds:
            draws = _draw_together([kind.draw(size, data.input_shape, one) for one in generators], kind, size)
            if isinstance(kind, Mixing):
                if targets is None:
                    assert classes is not None
                    targets = functional.one_hot(labels.flatten(), classes).to(data.dtype)
                inputs, targets = kind.mix(inputs, targets, draws)
            else:
                inputs = kind.apply(inputs, draws)
        replicates = len(generators)
        yield Batch(
            inputs.unflatten(0, (replicates, size)),
            labels,
            None if targets is None else targets.unflatten(0, (replicates, size)),
        )


def _draw_together(each: Sequence[Draws], kind: object, size: int) -> Draws:
    """Join the draws of all replicates; partners of a mix are counted on from one replicate to the next."""
    if len(each) == 1:
        return each[0]
    together = [torch.cat(parts) for parts in zip(*each, strict=True)]
    if isinstance(kind, Mixing):
        together[0] = torch.cat([draws[0] + size * index for index, draws in enumerate(each)])
    return tuple(together)


def evaluation_batches(data: Resident, batch_size: int = 512) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels) of a split in order and whole, normalised."""
    for start in range(0, len(data), batch_size):
        place = slice(start, start + batch_size)
        yield data.inputs(place), data.labels[place]
