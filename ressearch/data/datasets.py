"""The data sets with a name of their own, bundled or published. To add one, write a function under ``@dataset``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ressearch.data.files import (
    IDX_FILES,
    PUBLISHED,
    check_sum,
    how_to_get,
    places,
    read_cifar,
    read_idx,
)
from ressearch.data.paths import whole
from ressearch.data.registry import Dataset, Declared, Options, dataset, describe_images, missing
from ressearch.errors import DataError


@dataset("digits")
def digits(argument: str, options: Options) -> Dataset:
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
def digits_rows(argument: str, options: Options) -> Dataset:
    """The digits as sequences, for transformers: 8 rows (tokens) of 8 pixels (features), top to bottom."""
    images = digits(argument, options)
    source = images.source.replace("8x8 grey pixels", "read as sequences of 8 rows of 8 grey pixels")
    return dataclasses.replace(images, name="digits_rows", inputs=whole(images.inputs)[:, 0], source=source)


@dataset("breast_cancer")
def breast_cancer(argument: str, options: Options) -> Dataset:
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
def synthetic(argument: str, options: Options) -> Dataset:
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


_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_DIGITS = tuple(map(str, range(10)))

_FASHION_MNIST = Declared("Fashion-MNIST (Xiao et al. 2017)", (1, 28, 28), _CLOTHES, (6000,) * 10, (1000,) * 10)
_MNIST = Declared(
    "MNIST (LeCun et al. 1998)",
    (1, 28, 28),
    _DIGITS,
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
)
_KMNIST = Declared("Kuzushiji-MNIST (Clanuwat et al. 2018)", (1, 28, 28), _DIGITS, (6000,) * 10, (1000,) * 10)
_CIFAR10 = Declared(
    "CIFAR-10 (Krizhevsky 2009)",
    (3, 32, 32),
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    (5000,) * 10,
    (1000,) * 10,
)
_CIFAR100 = Declared(
    "CIFAR-100 (Krizhevsky 2009)", (3, 32, 32), tuple(map(str, range(100))), (500,) * 100, (100,) * 100
)


def _idx(name: str, declared: Declared, options: Options) -> Dataset:
    """Read four gzipped IDX files."""
    looked = places(name, options.root)
    directory = next((one for one in looked if (one / IDX_FILES["train", "images"]).is_file()), None)
    if directory is None:
        raise missing(name, looked, how_to_get(name))
    parts = {}
    for key, file in IDX_FILES.items():
        path = directory / file
        if not path.is_file():
            raise DataError(f"{path}: missing; {how_to_get(name)}")
        if options.verify:
            check_sum(path, PUBLISHED[name])
        parts[key] = read_idx(path)
    for half in ("train", "test"):
        pixels, numbers = parts[half, "images"], parts[half, "labels"]
        if pixels.ndim != 3 or numbers.shape != pixels.shape[:1]:
            at = directory / IDX_FILES[half, "labels"]
            raise DataError(f"{at}: labels of shape {numbers.shape} do not go with images of shape {pixels.shape}")
    inputs = torch.from_numpy(np.concatenate([parts["train", "images"], parts["test", "images"]])).unsqueeze(1)
    labels = torch.from_numpy(np.concatenate([parts["train", "labels"], parts["test", "labels"]]).astype(np.int64))
    count = len(parts["train", "labels"])
    return _published(name, declared, inputs, labels, count, directory)


def _published(name: str, declared: Declared, inputs: Tensor, labels: Tensor, count: int, where: Path) -> Dataset:
    """Return a data set whose first `count` examples are its publisher's training part.

    Raises DataError, with the place of the files, if a class has no example.
    """
    classes = declared.classes
    if int(labels.max()) + 1 != len(classes):  # other files under these names, read without verifying them
        classes = tuple(map(str, range(int(labels.max()) + 1)))
    absent = set(range(len(classes))) - set(labels.unique().tolist())
    if absent:
        raise DataError(f"{where}: no example of class {classes[min(absent)]}")
    source = describe_images(declared.title, tuple(inputs.shape[1:]), count, len(labels) - count)
    return Dataset(name, inputs, labels, classes, source, test_from=count)


@dataset("fashion_mnist", get=how_to_get("fashion_mnist"), declared=_FASHION_MNIST)
def fashion_mnist(argument: str, options: Options) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): 70,000 grey images of clothes, 28x28, 10 classes."""
    return _idx("fashion_mnist", _FASHION_MNIST, options)


@dataset("mnist", get=how_to_get("mnist"), declared=_MNIST)
def mnist(argument: str, options: Options) -> Dataset:
    """MNIST (LeCun et al. 1998): 70,000 handwritten digits, 28x28, 10 classes."""
    return _idx("mnist", _MNIST, options)


@dataset("kmnist", get=how_to_get("kmnist"), declared=_KMNIST)
def kmnist(argument: str, options: Options) -> Dataset:
    """Kuzushiji-MNIST (Clanuwat et al. 2018): 70,000 cursive Japanese characters, 28x28, 10 classes."""
    return _idx("kmnist", _KMNIST, options)


def _cifar(name: str, declared: Declared, label: str, options: Options) -> Dataset:
    looked = places(name, options.root)
    found = next((one / file for one in looked for file in PUBLISHED[name].files if (one / file).is_file()), None)
    if found is None:
        raise missing(name, looked, how_to_get(name))
    if options.verify:
        check_sum(found, PUBLISHED[name])
    parts = read_cifar(found, label)
    pixels = np.concatenate([parts["train"][0], parts["test"][0]]).reshape(-1, 3, 32, 32)
    labels = torch.from_numpy(np.concatenate([parts["train"][1], parts["test"][1]]))
    count = len(parts["train"][1])
    return _published(name, declared, torch.from_numpy(pixels), labels, count, found)


@dataset("cifar10", get=how_to_get("cifar10"), declared=_CIFAR10)
def cifar10(argument: str, options: Options) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 60,000 colour images, 32x32, 10 classes; the Python or the binary archive."""
    return _cifar("cifar10", _CIFAR10, "labels", options)


@dataset("cifar100", get=how_to_get("cifar100"), declared=_CIFAR100)
def cifar100(argument: str, options: Options) -> Dataset:
    """CIFAR-100 (Krizhevsky 2009): 60,000 colour images, 32x32, 100 classes; the Python or the binary archive."""
    return _cifar("cifar100", _CIFAR100, "fine_labels", options)
