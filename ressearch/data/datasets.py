"""The data sets: one loader each. To add one, write a function here under ``@dataset``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ressearch.data import tables
from ressearch.data.files import (
    IDX_FILES,
    PUBLISHED,
    check_sum,
    how_to_get,
    places,
    read_cifar,
    read_idx,
)
from ressearch.data.lazy import Files, Lazy, Rows, Source, TarMembers, channels_of, decode, tar_members
from ressearch.data.registry import Dataset, Options, dataset, missing
from ressearch.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

RESIDENT = 2 * 2**30
"""Bytes up to which decoded images are held in memory where `data.memory` is ``auto``."""


def whole(inputs: Tensor | Lazy) -> Tensor:
    """Return inputs as one tensor, decoded if they are not."""
    return inputs.load(torch.arange(len(inputs))) if isinstance(inputs, Lazy) else inputs


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


def _idx(name: str, title: str, options: Options) -> Dataset:
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
        parts[key] = read_idx(path)
    for half in ("train", "test"):
        pixels, numbers = parts[half, "images"], parts[half, "labels"]
        if pixels.ndim != 3 or numbers.shape != pixels.shape[:1]:
            at = directory / IDX_FILES[half, "labels"]
            raise DataError(f"{at}: labels of shape {numbers.shape} do not go with images of shape {pixels.shape}")
    inputs = torch.from_numpy(np.concatenate([parts["train", "images"], parts["test", "images"]])).unsqueeze(1)
    labels = torch.from_numpy(np.concatenate([parts["train", "labels"], parts["test", "labels"]]).astype(np.int64))
    count = len(parts["train", "labels"])
    sides = "x".join(map(str, inputs.shape[2:]))
    source = f"{title}: {count:,} training and {len(labels) - count:,} test images of {sides} grey pixels"
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    if name == "fashion_mnist" and len(classes) == len(_CLOTHES):
        classes = _CLOTHES
    return Dataset(name, inputs, labels, classes, source, test_from=count)


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


@dataset("fashion_mnist", get=how_to_get("fashion_mnist"))
def fashion_mnist(argument: str, options: Options) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): 70,000 grey images of clothes, 28x28, 10 classes."""
    return _idx("fashion_mnist", "Fashion-MNIST (Xiao et al. 2017)", options)


@dataset("mnist", get=how_to_get("mnist"))
def mnist(argument: str, options: Options) -> Dataset:
    """MNIST (LeCun et al. 1998): 70,000 handwritten digits, 28x28, 10 classes."""
    return _idx("mnist", "MNIST (LeCun et al. 1998)", options)


@dataset("kmnist", get=how_to_get("kmnist"))
def kmnist(argument: str, options: Options) -> Dataset:
    """Kuzushiji-MNIST (Clanuwat et al. 2018): 70,000 cursive Japanese characters, 28x28, 10 classes."""
    return _idx("kmnist", "Kuzushiji-MNIST (Clanuwat et al. 2018)", options)


def _cifar(name: str, title: str, label: str, options: Options) -> Dataset:
    looked = places(name, options.root)
    found = next((one / file for one in looked for file in PUBLISHED[name].files if (one / file).is_file()), None)
    if found is None:
        raise missing(name, looked, how_to_get(name))
    if options.verify:
        check_sum(found, PUBLISHED[name].files[found.name])
    parts = read_cifar(found, label)
    pixels = np.concatenate([parts["train"][0], parts["test"][0]]).reshape(-1, 3, 32, 32)
    labels = torch.from_numpy(np.concatenate([parts["train"][1], parts["test"][1]]))
    count = len(parts["train"][1])
    classes = _CIFAR10 if name == "cifar10" else tuple(map(str, range(int(labels.max()) + 1)))
    source = f"{title}: {count:,} training and {len(labels) - count:,} test images of 32x32 colour pixels"
    return Dataset(name, torch.from_numpy(pixels), labels, classes, source, test_from=count)


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataset("cifar10", get=how_to_get("cifar10"))
def cifar10(argument: str, options: Options) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 60,000 colour images, 32x32, 10 classes; the Python or the binary archive."""
    return _cifar("cifar10", "CIFAR-10 (Krizhevsky 2009)", "labels", options)


@dataset("cifar100", get=how_to_get("cifar100"))
def cifar100(argument: str, options: Options) -> Dataset:
    """CIFAR-100 (Krizhevsky 2009): 60,000 colour images, 32x32, 100 classes; the Python or the binary archive."""
    return _cifar("cifar100", "CIFAR-100 (Krizhevsky 2009)", "fine_labels", options)


def _images(source: Source, options: Options) -> Tensor | Lazy:
    """Return a source's images: decoded if they fit in memory, else to be decoded when needed."""
    data, where = source.read(0)
    channels = options.channels or channels_of(data, where)
    first = decode(data, where, channels, options.size)
    lazy = Lazy(source, channels, options.size, (first.shape[1], first.shape[2]))
    is_small = first.numel() * len(lazy) <= RESIDENT
    if options.memory == "resident" or (options.memory == "auto" and is_small):
        return whole(lazy)
    return lazy


def _described(count: int, inputs: Tensor | Lazy, classes: Sequence[str]) -> str:
    channels, height, width = inputs.shape[1:]
    kind = "grey" if channels == 1 else "colour"
    how = ", decoded when needed" if isinstance(inputs, Lazy) else ""
    return f"{count:,} images of {width}x{height} {kind} pixels, {len(classes)} classes{how}"


@dataset("imagefolder", argument="PATH")
def imagefolder(argument: str, options: Options) -> Dataset:
    """Images in a folder a class, as torchvision's ImageFolder; with train/ and test/ (or val/) above, two parts."""
    root = Path(argument)
    if not root.is_dir():
        raise DataError(f"{argument}: no such directory")
    train = root / "train"
    test = next((root / name for name in ("test", "val", "validation") if (root / name).is_dir()), None)
    parts = [train, test] if train.is_dir() and test is not None else [root]
    classes = sorted(
        folder.name for folder in Path(parts[0]).iterdir() if folder.is_dir() and not folder.name.startswith(".")
    )
    if not classes:
        raise DataError(f"{argument}: holds no folder; expected one a class, with images in it")
    paths: list[Path] = []
    labels: list[int] = []
    test_from = None
    for part in parts:
        if part is not parts[0]:
            test_from = len(paths)
        for folder in sorted(one for one in Path(str(part)).iterdir() if one.is_dir() and not one.name.startswith(".")):
            if folder.name not in classes:
                raise DataError(f"{folder}: class '{folder.name}' is not in {parts[0]}")
            found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
            paths += found
            labels += [classes.index(folder.name)] * len(found)
    if not paths:
        raise DataError(f"{argument}: its folders hold no image ({', '.join(IMAGE_SUFFIXES)})")
    inputs = _images(Files(paths), options)
    source = f"the image folder {root.name}: {_described(len(paths), inputs, classes)}"
    return Dataset(f"imagefolder:{argument}", inputs, torch.tensor(labels), tuple(classes), source, test_from)


@dataset("webdataset", argument="PATH")
def webdataset(argument: str, options: Options) -> Dataset:
    """WebDataset: uncompressed tars of NAME.png (or jpg, …) beside NAME.cls or NAME.json with a label."""
    tars = tables.files(argument, ".tar")
    members = tar_members(tars, (*IMAGE_SUFFIXES, ".cls", ".json"))
    given: dict[tuple[int, str], Any] = {}
    images = []
    for tar, start, length, name in members:
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in IMAGE_SUFFIXES:
            images.append((tar, start, length, stem, name))
            continue
        with tars[tar].open("rb") as file:
            file.seek(start)
            text = file.read(length).decode("utf-8", errors="replace").strip()
        try:
            found = text if suffix == "cls" else json.loads(text)
            if isinstance(found, dict):
                key = tables.column(list(found), options.label, tables.LABELS, "label", f"{tars[tar]}: {name}")
                found = found.get(key) if key is not None else None
        except ValueError:
            raise DataError(f"{tars[tar]}: {name}: not valid JSON") from None
        given[tar, stem] = found
    if not images:
        raise DataError(f"{argument}: its tars hold no image ({', '.join(IMAGE_SUFFIXES)})")
    for tar, _, _, stem, name in images:
        if given.get((tar, stem)) in (None, ""):
            raise DataError(f"{tars[tar]}: {name}: has no label ({stem}.cls or {stem}.json)")
    texts = [str(given[tar, stem]) for tar, _, _, stem, _ in images]
    are_numbers = all(text.isdecimal() for text in texts)
    labels, classes = tables.encode([int(text) for text in texts] if are_numbers else texts, argument)
    source = TarMembers(tars, np.array([one[:3] for one in images]), [one[4] for one in images])
    inputs = _images(source, options)
    said = f"the WebDataset {Path(argument).name}: {_described(len(images), inputs, classes)}"
    return Dataset(f"webdataset:{argument}", inputs, labels, classes, said)


@dataset("parquet", argument="PATH")
def parquet(argument: str, options: Options) -> Dataset:
    """Parquet, a file or a directory of shards: encoded images and labels, or a table of numbers and labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = tables.files(argument, ".parquet")
    try:
        schema = pq.read_schema(paths[0])
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{paths[0]}: damaged, or no Parquet file: {str(error).splitlines()[0]}") from None
    image = tables.column(schema.names, options.image, tables.IMAGES, "image", argument)
    kind = schema.field(image).type if image is not None else None
    is_encoded = kind is not None and (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_struct(kind)
    )
    if not is_encoded:
        features, labels, classes, names = tables.read_table(argument, options.label)
        said = f"the table {Path(argument).name}: {len(labels):,} rows, {len(names)} features, {len(classes)} classes"
        return Dataset(f"parquet:{argument}", features, labels, classes, said)
    assert image is not None
    found = tables.column(schema.names, options.label, tables.LABELS, "label", argument)
    label = tables.require(found, "label", schema.names, argument)
    try:
        values = pa.concat_tables([pq.read_table(path, columns=[label]) for path in paths]).column(label).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{argument}: damaged: {str(error).splitlines()[0]}") from None
    labels, classes = tables.encode(np.array(values, dtype=object) if None in values else values, argument)
    classes = _hugging_face_names(schema, label, classes)
    inputs = _images(Rows(paths, image), options)
    said = f"the Parquet data {Path(argument).name}: {_described(len(labels), inputs, classes)}"
    return Dataset(f"parquet:{argument}", inputs, labels, classes, said)


def _hugging_face_names(schema: Any, label: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes' names that Hugging Face wrote into a Parquet file's metadata, if it did and they fit."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        names = tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return classes
    return names if classes == tuple(str(index) for index in range(len(names))) else classes


@dataset("csv", argument="PATH")
def csv(argument: str, options: Options) -> Dataset:
    """A table of numbers (and texts, one-hot) with a column of labels, for vector networks."""
    features, labels, classes, names = tables.read_table(argument, options.label)
    said = f"the table {Path(argument).name}: {len(labels):,} rows, {len(names)} features, {len(classes)} classes"
    return Dataset(f"csv:{argument}", features, labels, classes, said)


@dataset("npz", argument="PATH")
def npz(argument: str, options: Options) -> Dataset:
    """Arrays of NumPy: inputs (x) and labels (y); images with their channels first or last."""
    data, labels, classes = tables.read_npz(argument, options.image, options.label)
    shape = "x".join(map(str, data.shape[1:]))
    said = f"the arrays {Path(argument).name}: {len(labels):,} inputs of {shape}, {len(classes)} classes"
    return Dataset(f"npz:{argument}", data, labels, classes, said)


@dataset("hub", argument="OWNER/NAME", get="`pip install datasets`")
def hub(argument: str, options: Options) -> Dataset:
    """A data set of the Hugging Face hub (or a directory in its format), its image and label columns detected."""
    try:
        import datasets
    except ImportError:
        raise DataError(f"'hub:{argument}': needs Hugging Face's library: pip install datasets") from None
    try:
        found = datasets.load_dataset(argument)
    except Exception as error:  # the library raises a dozen kinds
        raise DataError(f"'hub:{argument}': cannot be loaded: {str(error).strip().splitlines()[0][:200]}") from None
    train = found.get("train") or found[next(iter(found))]
    test = next((found[name] for name in ("test", "validation", "valid") if name in found), None)
    names = train.column_names
    where = f"hub:{argument}"
    image = tables.column(names, options.image, tables.IMAGES, "image", where)
    label = tables.require(tables.column(names, options.label, tables.LABELS, "label", where), "label", names, where)
    parts = [part for part in (train, test) if part is not None]
    values = [value for part in parts for value in part[label]]
    labels, classes = tables.encode(np.array(values, dtype=object) if None in values else values, where)
    feature = train.features[label]
    if isinstance(feature, datasets.ClassLabel) and len(feature.names) == len(classes):
        classes = tuple(feature.names)
    if image is None:
        rows = [part.remove_columns(label).to_pandas() for part in parts]
        inputs: Tensor | Lazy = tables.to_tensor(np.concatenate([row.to_numpy(float) for row in rows]), where)
    else:
        inputs = _images(
            _HubImages([part.cast_column(image, datasets.Image(decode=False)) for part in parts], image), options
        )
    test_from = len(train) if test is not None else None
    said = f"the hub's {argument}: {len(labels):,} examples, {len(classes)} classes"
    return Dataset(where, inputs, labels, classes, said, test_from)


class _HubImages(Source):
    def __init__(self, parts: Sequence[Any], image: str) -> None:
        self._parts, self._image = list(parts), image

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def read(self, index: int) -> tuple[bytes, str]:
        for part in self._parts:
            if index < len(part):
                value = part[index][self._image]
                return value["bytes"] or Path(value["path"]).read_bytes(), f"row {index}"
            index -= len(part)
        raise IndexError(index)
