"""Train, validation and test parts of a data set, fixed by a seed, stratified by class, normalised by training data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ressearch.data.lazy import Lazy
from ressearch.data.registry import Dataset
from ressearch.errors import DataError


@dataclass(frozen=True)
class Split:
    """One part: inputs, shape (examples, *input_shape), and labels, shape (examples,)."""

    inputs: Tensor | Lazy
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """Return the part on a device."""
        inputs = self.inputs if isinstance(self.inputs, Lazy) else self.inputs.to(device)
        return Split(inputs, self.labels.to(device))


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


def split(
    dataset: Dataset,
    seed: int,
    validation: float,
    test: float | None = None,
    fraction: float | None = None,
    per_class: int | None = None,
) -> Splits:
    """Split `dataset` by `seed`, stratified by class.

    Args:
        dataset: what to split.
        seed: fixes the parts.
        validation: fraction of each class (of what is not test).
        test: fraction of each class; None takes the publisher's test part, or a fifth where there is none.
        fraction: share of the training part that is kept; a larger share holds a smaller one. None keeps all.
        per_class: training examples of each class that are kept; None keeps all.

    Raises:
        DataError: a part would be empty, or a class has too few examples.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(dataset.labels)
    start = dataset.test_from if test is None and dataset.test_from is not None else count
    share = 0.0 if start < count else (0.2 if test is None else test)
    parts: list[list[Tensor]] = [[torch.arange(start, count)], [], []]
    for label, name in enumerate(dataset.classes):
        indices = (dataset.labels[:start] == label).nonzero().squeeze(1)
        indices = indices[torch.randperm(len(indices), generator=generator)]
        ends = [round(len(indices) * share), round(len(indices) * (share + validation))]
        held_out, tuning, training = indices.tensor_split(ends)
        kept = len(training)
        if fraction is not None:
            kept = max(1, round(kept * fraction))
        if per_class is not None:
            if per_class > kept:
                raise DataError(
                    f"data set '{dataset.name}': per_class {per_class}, but class '{name}' has {kept} training examples"
                )
            kept = per_class
        for part, chosen in zip(parts, (held_out, tuning, training[:kept]), strict=True):
            part.append(chosen)
    held_out, tuning, training = (torch.cat(part).sort().values for part in parts)
    for name, chosen in (("train", training), ("validation", tuning), ("test", held_out)):
        if len(chosen) == 0:
            said = "the publisher's" if start < count else f"{share:g}"
            raise DataError(
                f"data set '{dataset.name}': the {name} part is empty "
                f"({count} examples, validation {validation:g}, test {said})"
            )
    mean, std = _moments(dataset, training, generator)
    digest = hashlib.sha256(b"|".join(chosen.numpy().tobytes() for chosen in (training, tuning, held_out)))
    train, validate, test_part = (_part(dataset, chosen) for chosen in (training, tuning, held_out))
    return Splits(train, validate, test_part, mean, std, digest.hexdigest()[:16])


def _part(dataset: Dataset, chosen: Tensor) -> Split:
    inputs = dataset.inputs.take(chosen) if isinstance(dataset.inputs, Lazy) else dataset.inputs[chosen]
    return Split(inputs, dataset.labels[chosen])


_SAMPLED = 2000
"""Images that mean and deviation are taken from where they are decoded when needed."""


def _moments(dataset: Dataset, training: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation by channel (feature); a constant one counts as of deviation 1."""
    if isinstance(dataset.inputs, Lazy):
        sample = training[torch.randperm(len(training), generator=generator)[:_SAMPLED]]
        inputs = dataset.inputs.load(sample).float()
    else:
        inputs = dataset.inputs[training].float()
    axis = 1 if inputs.ndim == 4 else inputs.ndim - 1
    others = [one for one in range(inputs.ndim) if one != axis]
    mean, std = inputs.mean(others), inputs.std(others)
    std = torch.where(std > 1e-6, std, torch.ones_like(std))
    return (mean.view(-1, 1, 1), std.view(-1, 1, 1)) if inputs.ndim == 4 else (mean, std)
