"""Batches of a device-resident split; shuffling, normalisation and augmentation run there, whole batches at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ressearch.data.splits import Split
from ressearch.errors import DataError, nearest

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

AUGMENTATIONS: dict[str, Augmentation] = {}
"""Every augmentation by name: (batch, generator) to batch, shape (batch, channels, height, width)."""


def augmentation(name: str) -> Callable[[Augmentation], Augmentation]:
    """Register a function as augmentation `name`."""

    def register(function: Augmentation) -> Augmentation:
        AUGMENTATIONS[name] = function
        return function

    return register


@augmentation("flip")
def flip(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2."""
    chosen = torch.rand(len(inputs), 1, 1, 1, generator=generator, device=inputs.device) < 0.5
    return torch.where(chosen, inputs.flip(3), inputs)


@augmentation("crop")
def crop(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by an eighth of the side (4 pixels of 32, He et al. 2015; 1 of 8) and cut the old size at a random place."""
    count, _, height, width = inputs.shape
    pad = max(1, height // 8)
    padded = functional.pad(inputs, (pad,) * 4)
    top, left = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator, device=inputs.device)
    rows = (top + torch.arange(height, device=inputs.device)).view(count, 1, height, 1)
    columns = (left + torch.arange(width, device=inputs.device)).view(count, 1, 1, width)
    images = torch.arange(count, device=inputs.device).view(count, 1, 1, 1)
    channels = torch.arange(inputs.shape[1], device=inputs.device).view(1, -1, 1, 1)
    return padded[images, channels, rows, columns]


def augment(inputs: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply the named augmentations in turn. Raises DataError for an unknown name."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise DataError(f"augmentation '{name}' is unknown; {nearest(name, AUGMENTATIONS)}")
        inputs = AUGMENTATIONS[name](inputs, generator)
    return inputs


def batches(
    split: Split,
    batch_size: int,
    mean: Tensor,
    std: Tensor,
    *,
    generator: torch.Generator | None = None,
    augmentations: Sequence[str] = (),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels) batches of `split`, normalised.

    With a generator (of the split's device) the examples are shuffled, augmented, and the last incomplete batch is
    left out, unless it is the only one; without, they come in order and whole, as evaluation needs.
    """
    device = split.labels.device
    count = len(split)
    if generator is None:
        order = torch.arange(count, device=device)
    else:
        order = torch.randperm(count, generator=generator, device=device)
        order = order[: max(count - count % batch_size, min(count, batch_size))]
    for chosen in order.split(batch_size):
        inputs = (split.inputs[chosen].float() - mean) / std
        if generator is not None:
            inputs = augment(inputs, augmentations, generator)
        yield inputs, split.labels[chosen]
