"""Train, validation and test parts of a data set, fixed by a seed, stratified by class, normalised by training data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ressearch.data.datasets import Dataset
from ressearch.errors import DataError


@dataclass(frozen=True)
class Split:
    """One part: inputs, shape (examples, *input_shape), and labels, shape (examples,)."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """Return the part on a device."""
        return Split(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Splits:
    """The three parts. The test part is for finalists alone: search, early stopping and picking never read it.

    Attributes:
        train, validation, test: the parts.
        mean, std: of the training inputs by channel (feature), shaped to broadcast: (channels, 1, 1) or (features,).
        fingerprint: hash of the indices of the three parts; equal fingerprints mean equal splits.
    """

    train: Split
    validation: Split
    test: Split
    mean: Tensor
    std: Tensor
    fingerprint: str

    def to(self, device: torch.device) -> Splits:
        """Return the parts on a device; the test part stays where it is."""
        return Splits(
            self.train.to(device),
            self.validation.to(device),
            self.test,
            self.mean.to(device),
            self.std.to(device),
            self.fingerprint,
        )


def split(dataset: Dataset, seed: int, validation: float, test: float) -> Splits:
    """Split `dataset` by `seed`; `validation` and `test` are fractions of each class.

    Raises DataError if a part would be empty.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[], [], []]
    for label in range(len(dataset.classes)):
        indices = (dataset.labels == label).nonzero().squeeze(1)
        indices = indices[torch.randperm(len(indices), generator=generator)]
        ends = [round(len(indices) * test), round(len(indices) * (test + validation))]
        for part, chosen in zip(parts, indices.tensor_split(ends), strict=True):
            part.append(chosen)
    held_out, tuning, training = (torch.cat(part).sort().values for part in parts)
    for name, chosen in (("train", training), ("validation", tuning), ("test", held_out)):
        if len(chosen) == 0:
            raise DataError(
                f"data set '{dataset.name}': the {name} part is empty "
                f"({len(dataset.labels)} examples, validation {validation:g}, test {test:g})"
            )
    mean, std = _moments(dataset.inputs[training].float())
    digest = hashlib.sha256(b"|".join(chosen.numpy().tobytes() for chosen in (training, tuning, held_out)))
    train, validate, test_part = (
        Split(dataset.inputs[chosen], dataset.labels[chosen]) for chosen in (training, tuning, held_out)
    )
    return Splits(train, validate, test_part, mean, std, digest.hexdigest()[:16])


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation by channel (feature); a constant one counts as of deviation 1."""
    axis = 1 if inputs.ndim == 4 else inputs.ndim - 1
    others = [one for one in range(inputs.ndim) if one != axis]
    mean, std = inputs.mean(others), inputs.std(others)
    std = torch.where(std > 1e-6, std, torch.ones_like(std))
    return (mean.view(-1, 1, 1), std.view(-1, 1, 1)) if inputs.ndim == 4 else (mean, std)
