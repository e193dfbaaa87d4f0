"""Named data sets: a registry of functions that each return a `Dataset`. To add one, write a function here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ressearch.errors import DataError, nearest
from ressearch.layers import Shape


@dataclass(frozen=True)
class Dataset:
    """Inputs and labels in memory.

    Attributes:
        name: the registered name.
        inputs: shape (examples, *input_shape), uint8 as they came or float.
        labels: class indices, shape (examples,), int64.
        classes: the classes' names.
        source: one sentence: what the data are and where they come from.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str

    @property
    def input_shape(self) -> Shape:
        """Shape of one input: (channels, height, width), (features,) or (tokens, features)."""
        return tuple(self.inputs.shape[1:])


DATASETS: dict[str, Callable[[], Dataset]] = {}
"""Every data set by name."""


def dataset(name: str) -> Callable[[Callable[[], Dataset]], Callable[[], Dataset]]:
    """Register a loader as data set `name`."""

    def register(load: Callable[[], Dataset]) -> Callable[[], Dataset]:
        DATASETS[name] = load
        return load

    return register


@functools.lru_cache(maxsize=4)
def load_dataset(name: str) -> Dataset:
    """Load a data set by name (kept in memory: a process that runs many trials loads it once).

    Raises DataError with the nearest name if there is no such data set.
    """
    if name not in DATASETS:
        raise DataError(f"data set '{name}' is unknown; {nearest(name, DATASETS)}")
    return DATASETS[name]()


@dataset("digits")
def digits() -> Dataset:
    """Real handwritten digits, bundled with scikit-learn: 1,797 grey images of 8x8 pixels, 10 classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Dataset(
        "digits",
        torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1),
        torch.from_numpy(bunch.target).long(),
        tuple(map(str, bunch.target_names)),
        "1,797 handwritten digits, 8x8 grey pixels, 10 classes, bundled with scikit-learn "
        "(test part of UCI's Optical Recognition of Handwritten Digits)",
    )


@dataset("digits_rows")
def digits_rows() -> Dataset:
    """The digits as sequences, for transformers: 8 rows (tokens) of 8 pixels (features), top to bottom."""
    images = digits()
    source = images.source.replace("8x8 grey pixels", "read as sequences of 8 rows of 8 grey pixels")
    return dataclasses.replace(images, name="digits_rows", inputs=images.inputs[:, 0], source=source)


@dataset("breast_cancer")
def breast_cancer() -> Dataset:
    """Real tabular data, bundled with scikit-learn, for vector networks: 569 tumours, 30 measurements, 2 classes."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return Dataset(
        "breast_cancer",
        torch.from_numpy(bunch.data).float(),
        torch.from_numpy(bunch.target).long(),
        tuple(map(str, bunch.target_names)),
        "569 breast tumours, 30 measurements of cell nuclei each, benign or malignant, bundled with scikit-learn "
        "(UCI's Breast Cancer Wisconsin, Diagnostic)",
    )


@dataset("synthetic")
def synthetic() -> Dataset:
    """Seeded blobs for tests: 600 grey 8x8 images of 3 classes, each a class pattern plus noise. Not evidence."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 3
    patterns = torch.randn(3, 1, 8, 8, generator=generator)
    noise = torch.randn(600, 1, 8, 8, generator=generator)
    return Dataset(
        "synthetic",
        patterns[labels] + noise,
        labels,
        ("0", "1", "2"),
        "seeded random patterns, for tests only",
    )
