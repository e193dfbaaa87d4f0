"""Data in tables and arrays: CSV, Parquet and NPZ files, and arrays from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ressearch.errors import DataError, nearest

LABELS = ("label", "labels", "target", "class", "y", "fine_label")
"""Columns that are taken for labels, in order, where none is named."""
IMAGES = ("image", "img", "images", "jpg", "png", "pixels")
"""Columns that are taken for images, in order, where none is named."""
INPUTS = ("x", "inputs", "images", "data", "features")
"""Arrays of an NPZ file that are taken for inputs, in order."""


def encode(labels: Any, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return class indices and the classes' names of labels: numbers, texts or booleans; classes are sorted.

    Raises DataError if a label is missing or is no class (a fraction).
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise DataError(f"{where}: expected one label an example, got shape {values.shape}")
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            raise DataError(f"{where}: row {int(np.isnan(values).argmax())} has no label")
        if (values != np.round(values)).any():
            raise DataError(f"{where}: {values[(values != np.round(values)).argmax()]:g} is no class")
        values = values.astype(np.int64)
    elif values.dtype.kind == "O":
        empty = [value is None or value != value or value == "" for value in values]
        if any(empty):
            raise DataError(f"{where}: row {empty.index(True)} has no label")
        values = values.astype(str)
    names, indices = np.unique(values, return_inverse=True)
    return torch.from_numpy(indices.astype(np.int64)), tuple(map(str, names))


def to_tensor(inputs: Any, where: str) -> Tensor:
    """Return inputs as a tensor: bytes as uint8, images with their channels first, other numbers as float32.

    Raises DataError for what is no number, or no finite one.
    """
    values = inputs.numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    if values.dtype.kind not in "uifb" or values.ndim < 2:
        raise DataError(f"{where}: expected an array of numbers, examples first; got {values.dtype} {values.shape}")
    if values.ndim == 4 and values.shape[-1] in (1, 3) and values.shape[1] not in (1, 3):
        values = np.moveaxis(values, -1, 1)
    if values.ndim == 3 and values.dtype == np.uint8:  # grey images without an axis of channels
        values = values[:, None]
    if values.dtype != np.uint8:
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values.reshape(len(values), -1))).any(1).argmax())
            raise DataError(f"{where}: row {bad} holds what is no finite number")
    return torch.from_numpy(np.ascontiguousarray(values))


def column(names: Sequence[str], wanted: str | None, usual: Sequence[str], key: str, where: str) -> str | None:
    """Return the column that is named, else the first usual one; None if there is none of them.

    Raises DataError if the one that is named is not there.
    """
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{where}: data.{key}: no column '{wanted}'; {nearest(wanted, names)}")
        return wanted
    return next((name for name in usual if name in names), None)


def require(found: str | None, key: str, names: Sequence[str], where: str) -> str:
    """Return a column, or raise DataError that says how to name it."""
    if found is None:
        raise DataError(f"{where}: data.{key} has to name the column; there are {', '.join(map(str, names))}")
    return found


def files(argument: str, suffix: str) -> list[Path]:
    """Return the file, or the files of a directory with a suffix, in order. Raises DataError if there is none."""
    path = Path(argument)
    found = sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise DataError(f"{argument}: " + (f"holds no *{suffix}" if path.is_dir() else "no such file or directory"))
    return found


def read_table(argument: str, label: str | None) -> tuple[Tensor, Tensor, tuple[str, ...], tuple[str, ...]]:
    """Return (features, labels, classes, names of the features) of a CSV or Parquet table of numbers.

    Columns of texts become one column a value (one-hot). Raises DataError for a missing value or label.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    suffix = ".parquet" if argument.endswith(".parquet") or not argument.endswith(".csv") else ".csv"
    paths = files(argument, suffix)
    try:
        read = pyarrow.csv.read_csv if suffix == ".csv" else pyarrow.parquet.read_table
        table = pa.concat_tables([read(path) for path in paths], promote_options="permissive")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{argument}: cannot be read as a table: {str(error).splitlines()[0]}") from None
    names = table.column_names
    chosen = require(column(names, label, LABELS, "label", argument), "label", names, argument)
    given = table.column(chosen).to_pylist()
    labels, classes = encode(np.array(given, dtype=object) if None in given else given, f"{argument}: '{chosen}'")
    features: list[np.ndarray] = []
    titles: list[str] = []
    for name in names:
        if name == chosen:
            continue
        values = table.column(name)
        missing = (
            [value is None or value == "" for value in values.to_pylist()]
            if values.null_count or _is_text(values)
            else []
        )
        if any(missing):
            raise DataError(f"{argument}: column '{name}': row {missing.index(True)} has no value")
        if _is_text(values):  # one-hot
            texts, codes = np.unique(values.to_numpy().astype(str), return_inverse=True)
            features += [(codes == code).astype(np.float32) for code in range(len(texts))]
            titles += [f"{name}_{text}" for text in texts]
        else:
            features.append(_numbers(values, f"{argument}: column '{name}'"))
            titles.append(name)
    if not features:
        raise DataError(f"{argument}: no column but the labels")
    return to_tensor(np.stack(features, axis=1), argument), labels, classes, tuple(titles)


def _is_text(values: Any) -> bool:
    import pyarrow as pa

    return (
        pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_dictionary(values.type)
    )


def _numbers(values: Any, where: str) -> np.ndarray:
    found = values.to_numpy()
    if found.dtype.kind not in "uifb":
        raise DataError(f"{where}: {values.type} is neither numbers nor texts")
    return found.astype(np.float32)


def read_npz(argument: str, image: str | None, label: str | None) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return (inputs, labels, classes) of an NPZ file. Raises DataError if it is damaged or its arrays do not fit."""
    try:
        with np.load(argument, allow_pickle=False) as archive:
            arrays = dict(archive)
    except FileNotFoundError:
        raise DataError(f"{argument}: no such file or directory") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{argument}: cannot be read as NPZ: {str(error).splitlines()[0]}") from None
    except Exception as error:  # zipfile.BadZipFile and what numpy makes of odd headers
        raise DataError(f"{argument}: damaged: {error}") from None
    names = list(arrays)
    inputs = require(column(names, image, INPUTS, "image", argument), "image", names, argument)
    target = require(column(names, label, LABELS, "label", argument), "label", names, argument)
    labels, classes = encode(arrays[target], f"{argument}: array '{target}'")
    data = to_tensor(arrays[inputs], f"{argument}: array '{inputs}'")
    if len(data) != len(labels):
        raise DataError(f"{argument}: {len(data)} inputs but {len(labels)} labels")
    return data, labels, classes
