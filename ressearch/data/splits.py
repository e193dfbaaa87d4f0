"""Train, validation and test parts of a data set, fixed by a seed, stratified by class, normalised by training data.

A part is a list of places in the one array (or source) of the data set: nothing is copied by splitting.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ressearch.data.lazy import Lazy
from ressearch.data.moments import moments
from ressearch.data.registry import Dataset
from ressearch.data.spool import Place
from ressearch.errors import DataError

VALIDATION = 0.2
"""Fraction of each class that is the validation part, where neither the publisher nor the study says otherwise."""
TEST = 0.2
"""The same for the test part."""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of the data.

    Attributes:
        pool: the inputs that the part is taken from, shape (…, *input_shape); shared with the other parts.
        labels: of the part's examples, shape (examples,).
        places: of the part's examples in the pool; None is all of them, in order.
        place: where the pool lies in a file that other processes can map; None if it does not.
    """

    pool: Tensor | Lazy
    labels: Tensor
    places: Tensor | None = None
    place: Place | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.pool.shape[1:])

    @property
    def inputs(self) -> Tensor | Lazy:
        """The part's inputs, shape (examples, *input_shape): a copy, unless the part is the whole pool or is `Lazy`."""
        if self.places is None:
            return self.pool
        return self.pool.take(self.places) if isinstance(self.pool, Lazy) else self.pool.index_select(0, self.places)

    def load(self, chosen: Tensor | slice) -> Tensor:
        """Return some of the inputs, by their positions in the part."""
        if isinstance(self.pool, Lazy):
            chosen = torch.arange(len(self))[chosen] if isinstance(chosen, slice) else chosen.cpu()
            return self.pool.load(chosen if self.places is None else self.places[chosen])
        if self.places is None:
            return self.pool[chosen] if isinstance(chosen, slice) else self.pool.index_select(0, chosen)
        return self.pool.index_select(0, self.places[chosen])

    def prepare(self) -> None:
        """Do once what makes reading in any order fast, if anything does."""
        if isinstance(self.pool, Lazy):
            self.pool.prepare()

    def to(self, device: torch.device) -> Split:
        """Return the part on a device. On another device than the pool's it holds its own examples alone."""
        if isinstance(self.pool, Lazy):
            return Split(self.pool, self.labels.to(device), self.places)
        if self.pool.device.type == device.type:
            return self
        held = torch.empty(len(self), *self.input_shape, dtype=self.pool.dtype, device=device)
        for start in range(0, len(self), 4096):  # block by block: no copy of the part in this machine's memory
            held[start : start + 4096] = self.load(slice(start, start + 4096))
        return Split(held, self.labels.to(device))


class Splits:
    """The three parts. The test part is for finalists alone: search, early stopping and picking never read it.

    Args:
        train, validation, test: the parts.
        mean, std: of the training inputs by channel (feature), shaped to broadcast: (channels, 1, 1) or (features,);
            None takes them from the training part when they are first asked for.
        fingerprint: hash of the indices of the three parts; equal fingerprints mean equal splits.
    """

    def __init__(
        self,
        train: Split,
        validation: Split,
        test: Split,
        mean: Tensor | None = None,
        std: Tensor | None = None,
        fingerprint: str = "",
    ) -> None:
        self.train, self.validation, self.test, self.fingerprint = train, validation, test, fingerprint
        self._given = (mean, std) if mean is not None and std is not None else None

    @functools.cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        if self._given is not None:
            return self._given
        train = self.train
        return moments(train.pool, torch.arange(len(train)) if train.places is None else train.places)

    @property
    def mean(self) -> Tensor:
        """Mean of the training inputs by channel (feature)."""
        return self._moments[0]

    @property
    def std(self) -> Tensor:
        """Deviation of the training inputs by channel (feature)."""
        return self._moments[1]

    def with_all_training(self) -> Splits:
        """Return the parts with the validation part's examples among those to train on, and none to validate on."""
        train, validation = self.train, self.validation
        if train.places is None or validation.places is None:
            raise DataError("the validation part lies elsewhere than the training part")
        places, order = torch.cat((train.places, validation.places)).sort()
        labels = torch.cat((train.labels, validation.labels))[order]
        none = Split(train.pool, train.labels[:0], train.places[:0], train.place)
        return Splits(Split(train.pool, labels, places, train.place), none, self.test, fingerprint=self.fingerprint)

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
    validation: float | None = None,
    test: float | None = None,
    fraction: float | None = None,
    per_class: int | None = None,
) -> Splits:
    """Split `dataset` by `seed`, stratified by class.

    Args:
        dataset: what to split.
        seed: fixes the parts.
        validation: fraction of each class (of what is in no part that the publisher made); None takes the publisher's
            validation part, or a fifth where there is none.
        test: the same for the test part.
        fraction: share of the training part that is kept; a larger share holds a smaller one. None keeps all.
        per_class: training examples of each class that are kept; None keeps all.

    Raises:
        DataError: a part would be empty, or a class has too few examples.
    """
    generator = torch.Generator().manual_seed(seed)
    given = {
        "validation": dataset.parts.get("validation") if validation is None else None,
        "test": dataset.parts.get("test") if test is None else None,
    }
    shares = {
        "validation": 0.0 if given["validation"] else VALIDATION if validation is None else validation,
        "test": 0.0 if given["test"] else TEST if test is None else test,
    }
    chosen = _choose(dataset, generator, given, shares, fraction, per_class)
    for name, part in chosen.items():
        if len(part) == 0:
            said = (f"{key} {'published' if given[key] else f'{share:g}'}" for key, share in shares.items())
            message = f"the {name} part is empty ({len(dataset.labels)} examples, {', '.join(said)})"
            raise DataError(f"data set '{dataset.name}': {message}")
    digest = hashlib.sha256(b"|".join(part.numpy().tobytes() for part in chosen.values())).hexdigest()[:16]
    train, tuning, held_out = (
        Split(dataset.inputs, dataset.labels[part], part, dataset.place) for part in chosen.values()
    )
    return Splits(train, tuning, held_out, fingerprint=digest)


def _choose(
    dataset: Dataset,
    generator: torch.Generator,
    given: dict[str, range | None],
    shares: dict[str, float],
    fraction: float | None,
    per_class: int | None,
) -> dict[str, Tensor]:
    """Return the places of the three parts, each in order."""
    is_free = torch.ones(len(dataset.labels), dtype=torch.bool)
    parts: dict[str, list[Tensor]] = {"train": [], "validation": [], "test": []}
    for name, places in given.items():
        if places:
            is_free[places.start : places.stop] = False
            parts[name].append(torch.arange(places.start, places.stop))
    for label, name in enumerate(dataset.classes):
        indices = ((dataset.labels == label) & is_free).nonzero().squeeze(1)
        indices = indices[torch.randperm(len(indices), generator=generator)]
        count = len(indices)
        ends = [round(count * shares["test"]), round(count * (shares["test"] + shares["validation"]))]
        held_out, tuning, training = indices.tensor_split(ends)
        if len(training) == 0:
            raise DataError(f"data set '{dataset.name}': the train part has no example of class '{name}'")
        kept = len(training)
        if fraction is not None:
            kept = max(1, round(kept * fraction))
        if per_class is not None:
            if per_class > kept:
                raise DataError(
                    f"data set '{dataset.name}': per_class {per_class}, but class '{name}' has {kept} training examples"
                )
            kept = per_class
        for part, chosen in zip(("test", "validation", "train"), (held_out, tuning, training[:kept]), strict=True):
            parts[part].append(chosen)
    return {name: torch.cat(found).sort().values for name, found in parts.items()}
