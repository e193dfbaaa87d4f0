"""The data sets that a path names: folders, tars, Parquet, CSV and NPZ. Parts that were published apart stay apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ressearch.data import parts, tables
from ressearch.data.arrays import read_npz
from ressearch.data.images import IMAGE_SUFFIXES, channels_of, decode
from ressearch.data.lazy import Lazy
from ressearch.data.registry import Dataset, Options, dataset
from ressearch.data.sources import Files, Rows, Source, TarMembers, opened_parquet, tar_members
from ressearch.data.spool import Place, Sheet
from ressearch.errors import DataError

RESIDENT = 2 * 2**30
"""Bytes up to which decoded images are held in memory where `data.memory` is ``auto``."""
_LONGEST_LABEL = 2**20
"""Bytes of a tar's member with a label."""


def whole(inputs: Tensor | Lazy) -> Tensor:
    """Return inputs as one tensor, decoded if they are not."""
    return _decoded(inputs)[0] if isinstance(inputs, Lazy) else inputs


def _decoded(inputs: Lazy) -> tuple[Tensor, Place | None]:
    """Decode all images, some at a time, into one array."""
    sheet = Sheet(inputs.shape, np.uint8)
    for chosen in torch.arange(len(inputs)).split(256):
        sheet.append(inputs.load(chosen).numpy())
    return sheet.done()


def read_images(source: Source, options: Options) -> tuple[Tensor | Lazy, Place | None]:
    """Return a source's images, and where they lie: decoded if they fit in memory, else to be decoded when needed."""
    data, where = source.read(0)
    channels = options.channels or channels_of(data, where)
    first = decode(data, where, channels, options.size)
    lazy = Lazy(source, channels, options.size, (first.shape[1], first.shape[2]))
    is_small = first.numel() * len(lazy) <= RESIDENT
    if options.memory == "resident" or (options.memory == "auto" and is_small):
        return _decoded(lazy)
    return lazy, None


def described(count: int, inputs: Tensor | Lazy, classes: Sequence[str]) -> str:
    """Say what a set of images is."""
    channels, height, width = inputs.shape[1:]
    kind = "grey" if channels == 1 else "colour"
    how = ", decoded when needed" if isinstance(inputs, Lazy) else ""
    return f"{count:,} images of {width}x{height} {kind} pixels, {len(classes)} classes{how}"


def _folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))


def _folder_parts(root: Path) -> dict[str, Path]:
    """Return the directory of each part; the root itself where it is not divided."""
    found: dict[str, Path] = {}
    folders = _folders(root)
    for folder in folders:
        part = parts.NAMES.get(folder.name.lower())
        if part is None:
            continue
        if part in found:
            raise DataError(f"{root}: has two {part} parts: {found[part].name}/ and {folder.name}/")
        found[part] = folder
    if folders and len(found) == len(folders):  # nothing but parts
        parts.require_train(found, str(root))
    if "train" in found and (len(found) > 1 or len(folders) == 1):
        return parts.arrange(found)
    return {"train": root}


@dataset("imagefolder", argument="PATH")
def imagefolder(argument: str, options: Options) -> Dataset:
    """Images in one folder for each class; with train/, val/ and test/ above them, parts."""
    root = Path(argument)
    if not root.is_dir():
        raise DataError(f"{argument}: no such directory")
    roots = _folder_parts(root)
    classes = [folder.name for folder in _folders(roots["train"])]
    if not classes:
        raise DataError(f"{roots['train']}: holds no folder; expected one for each class, with images in it")
    index = {name: at for at, name in enumerate(classes)}
    paths: list[Path] = []
    labels: list[int] = []
    counts: dict[str, int] = {}
    for part, above in roots.items():
        before = len(paths)
        for folder in _folders(above):
            if folder.name not in index:
                raise DataError(f"{folder}: class '{folder.name}' is not in {roots['train']}")
            found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
            paths += found
            labels += [index[folder.name]] * len(found)
        counts[part] = len(paths) - before
        if not counts[part]:
            raise DataError(f"{above}: its folders hold no image ({', '.join(IMAGE_SUFFIXES)})")
    inputs, place = read_images(Files(root, paths), options)
    named = {part: f"{above.name}/" for part, above in roots.items() if above.name != part}
    source = f"the image folder {root.name}: {described(len(paths), inputs, classes)}{parts.said(counts, named)}"
    return Dataset(
        f"imagefolder:{argument}",
        inputs,
        torch.tensor(labels),
        tuple(classes),
        source,
        *parts.starts(counts),
        place,
    )


@dataset("webdataset", argument="PATH")
def webdataset(argument: str, options: Options) -> Dataset:
    """WebDataset: uncompressed tars of NAME.png (or jpg, …) beside NAME.cls or NAME.json with a label."""
    shards = parts.shards(tables.files(argument, ".tar"), Path(argument))
    tars = [tar for some in shards.values() for tar in some]
    given: dict[tuple[int, str], Any] = {}
    images = []
    for tar, start, length, name in tar_members(tars, (*IMAGE_SUFFIXES, ".cls", ".json")):
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in IMAGE_SUFFIXES:
            images.append((tar, start, length, stem, name))
        else:
            given[tar, stem] = _tar_label(tars[tar], start, length, name, options)
    if not images:
        raise DataError(f"{argument}: its tars hold no image ({', '.join(IMAGE_SUFFIXES)})")
    for tar, _, _, stem, name in images:
        if given.get((tar, stem)) in (None, ""):
            raise DataError(f"{tars[tar]}: {name}: has no label ({stem}.cls or {stem}.json)")
    texts = [given[tar, stem] for tar, _, _, stem, _ in images]
    are_numbers = all(text.isdecimal() and len(text) <= 18 for text in texts)
    labels, classes = tables.encode([int(text) for text in texts] if are_numbers else texts, argument)
    source = TarMembers(tars, np.array([one[:3] for one in images]), [one[4] for one in images])
    inputs, place = read_images(source, options)
    ends = np.searchsorted([one[0] for one in images], np.cumsum([len(some) for some in shards.values()]))
    counts = dict(zip(shards, np.diff(ends, prepend=0).tolist(), strict=True))
    said = f"the WebDataset {Path(argument).name}: {described(len(images), inputs, classes)}{parts.said(counts)}"
    return Dataset(f"webdataset:{argument}", inputs, labels, classes, said, *parts.starts(counts), place)


def _tar_label(tar: Path, start: int, length: int, name: str, options: Options) -> str | None:
    """Return the label that a member of a tar holds, as text; None if it holds none."""
    where = f"{tar}: {name}"
    if length > _LONGEST_LABEL:
        raise DataError(f"{where}: {length:,} bytes are no label")
    with tar.open("rb") as file:
        file.seek(start)
        text = file.read(length).decode(errors="replace").strip()
    if name.lower().endswith(".cls"):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not valid JSON") from None
    if isinstance(found, dict):
        key = tables.column([str(one) for one in found], options.label, tables.LABELS, "label", where)
        found = found.get(key)
    if found is not None and not isinstance(found, str | int | float):
        raise DataError(f"{where}: a list is no label; expected a number or a text")
    return None if found is None else str(found)


@dataset("parquet", argument="PATH")
def parquet(argument: str, options: Options) -> Dataset:
    """Parquet, a file or a directory of shards: encoded images and labels, or a table of numbers and labels."""
    import pyarrow as pa

    shards = parts.shards(tables.files(argument, ".parquet"), Path(argument))
    paths = [path for some in shards.values() for path in some]
    with opened_parquet(paths[0]) as opened:
        schema = opened.schema_arrow
    image = tables.column(schema.names, options.image, tables.IMAGES, "image", argument)
    kind = schema.field(image).type if image is not None else None
    is_encoded = kind is not None and (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_struct(kind)
    )
    if not is_encoded or image is None:
        return _table("parquet", argument, shards, options)
    found = tables.column(schema.names, options.label, tables.LABELS, "label", argument)
    label = tables.require(found, "label", schema.names, argument)
    values: list[Any] = []
    counts: dict[str, int] = {}
    for part, some in shards.items():
        before = len(values)
        for path in some:
            with opened_parquet(path) as opened:
                values += opened.read(columns=[label]).column(label).to_pylist()
        counts[part] = len(values) - before
        if not counts[part]:
            raise DataError(f"{some[0]}: holds no rows" if len(some) == 1 else f"{argument}: holds no rows ({part})")
    labels, classes = tables.encode(np.array(values, dtype=object) if None in values else values, argument)
    classes = _hugging_face_names(schema, label, classes)
    rows = Rows(paths, image)
    if len(rows) != len(labels):
        raise DataError(f"{argument}: damaged: {len(rows)} images but {len(labels)} labels")
    inputs, place = read_images(rows, options)
    said = f"the Parquet data {Path(argument).name}: {described(len(labels), inputs, classes)}{parts.said(counts)}"
    return Dataset(f"parquet:{argument}", inputs, labels, classes, said, *parts.starts(counts), place)


def _hugging_face_names(schema: Any, label: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes' names that Hugging Face wrote into a Parquet file's metadata, if it did and they fit."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        names = tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return classes
    return names if classes == tuple(str(index) for index in range(len(names))) else classes


def _table(kind: str, argument: str, shards: dict[str, list[Path]], options: Options) -> Dataset:
    """Read a table; shards of several parts are read one after another, with the same columns and texts."""
    paths = [path for some in shards.values() for path in some]
    features, labels, classes, what, rows = tables.read_table(paths, options.label, argument)
    counts = {part: sum(rows[paths.index(path)] for path in some) for part, some in shards.items()}
    empty = next((part for part, count in counts.items() if count == 0), None)
    if empty is not None:
        raise DataError(f"{shards[empty][0]}: holds no rows")
    said = f"the table {Path(argument).name}: {len(labels):,} rows, {what}, {len(classes)} classes{parts.said(counts)}"
    return Dataset(f"{kind}:{argument}", features, labels, classes, said, *parts.starts(counts))


@dataset("csv", argument="PATH")
def csv(argument: str, options: Options) -> Dataset:
    """A table of numbers (and texts, one-hot) with a column of labels, for vector networks."""
    return _table("csv", argument, parts.shards(tables.files(argument, ".csv"), Path(argument)), options)


@dataset("npz", argument="PATH")
def npz(argument: str, options: Options) -> Dataset:
    """Arrays of NumPy: inputs (x) and labels (y); images with their channels first or last."""
    data, place, labels, classes = read_npz(argument, options.image, options.label)
    shape = "x".join(map(str, data.shape[1:]))
    said = f"the arrays {Path(argument).name}: {len(labels):,} inputs of {shape}, {len(classes)} classes"
    return Dataset(f"npz:{argument}", data, labels, classes, said, place=place)
