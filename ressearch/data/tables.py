"""Labels, arrays and tables: class indices of whatever names classes, inputs in the form that networks take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
MOST_TEXTS = 256
"""Different texts that a column of a table may hold: each becomes an input of the network."""


def encode(labels: Any, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return class indices and the classes' names of labels: numbers, texts or booleans; classes are sorted.

    Raises DataError if a label is missing or is no class (a fraction, a list).
    """
    try:
        values = np.asarray(labels)
    except ValueError:  # lists of several lengths
        raise DataError(f"{where}: expected one label an example, got lists") from None
    if values.ndim != 1:
        raise DataError(f"{where}: expected one label for each example, got shape {values.shape}")
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            raise DataError(f"{where}: row {int(np.isnan(values).argmax())} has no label")
        is_odd = (values != np.round(values)) | (np.abs(values) > 2**53)
        if is_odd.any():
            raise DataError(f"{where}: row {int(is_odd.argmax())}: {values[is_odd.argmax()]:g} is no class")
        values = values.astype(np.int64)
    elif values.dtype.kind == "O":
        for row, value in enumerate(values):
            if value is None or value == "" or (isinstance(value, float) and value != value):
                raise DataError(f"{where}: row {row} has no label")
            if not isinstance(value, str | int | float):
                raise DataError(f"{where}: row {row}: {type(value).__name__} is no class; expected a number or a text")
        values = values.astype(str)
    elif values.dtype.kind == "U" and (values == "").any():
        raise DataError(f"{where}: row {int((values == '').argmax())} has no label")
    elif values.dtype.kind == "S":
        values = np.array([one.decode("utf-8", "replace") for one in values.tolist()], dtype=str)
    elif values.dtype.kind not in "iubU":
        raise DataError(f"{where}: labels of type {values.dtype} are no classes; expected numbers or texts")
    names, indices = np.unique(values, return_inverse=True)
    return torch.from_numpy(indices.astype(np.int64)), tuple(map(str, names))


@dataclass(frozen=True)
class Layout:
    """How an array of inputs is brought into the form that networks take.

    Bytes stay bytes and other numbers become float32; images have their channels first.

    Attributes:
        shape: of the result, examples first.
        dtype: of the result, ``uint8`` or ``float32``.
        is_identity: whether the array has that form already.
        moves_channels: whether channels are last in the array.
        where: names the array in an error.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    is_identity: bool
    moves_channels: bool
    where: str

    @classmethod
    def of(cls, shape: Sequence[int], dtype: np.dtype, where: str) -> Layout:
        """Return the layout for an array. Raises DataError for one that holds no numbers, or no examples."""
        given = tuple(shape)
        if dtype.kind not in "uifb" or not 2 <= len(given) <= 4:
            raise DataError(f"{where}: expected an array of numbers, examples first; got {dtype} {given}")
        if math.prod(given) == 0:
            raise DataError(f"{where}: holds no examples (its shape is {given})")
        moves = len(given) == 4 and given[3] in (1, 3) and given[1] not in (1, 3)
        out = (given[0], given[3], given[1], given[2]) if moves else given
        if len(given) == 3 and dtype == np.uint8:  # grey images without an axis of channels
            out = (given[0], 1, *given[1:])
        wanted = np.dtype(np.uint8 if dtype == np.uint8 else np.float32)
        return cls(out, wanted, not moves and dtype == wanted, moves, where)

    def apply(self, block: np.ndarray, start: int) -> np.ndarray:
        """Return some examples, the first of which is at `start`. Raises DataError for what is no finite number."""
        if self.moves_channels:
            block = np.moveaxis(block, -1, 1)
        block = block.reshape(len(block), *self.shape[1:])
        if self.dtype == np.uint8:
            return block
        with np.errstate(over="ignore", invalid="ignore"):
            block = block.astype(np.float32, copy=False)
        is_finite = np.isfinite(block.reshape(len(block), -1)).all(1)
        if not is_finite.all():
            row = start + int((~is_finite).argmax())
            raise DataError(f"{self.where}: row {row} holds what is no finite number (of 32 bits)")
        return block


def to_tensor(inputs: Any, where: str) -> Tensor:
    """Return inputs as a tensor: bytes as uint8, images with their channels first, other numbers as float32.

    Raises DataError for what is no number, or no finite one.
    """
    try:
        values = inputs.numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    except ValueError:
        raise DataError(f"{where}: expected an array of numbers, examples first; got uneven lists") from None
    layout = Layout.of(values.shape, values.dtype, where)
    return torch.from_numpy(np.require(layout.apply(values, 0), requirements=["C", "W"]))


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
        known = ", ".join(map(str, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise DataError(f"{where}: data.{key} has to name the column; there are {known or 'none'}")
    return found


def files(argument: str, suffix: str) -> list[Path]:
    """Return the file, or the files of a directory with a suffix, in order. Raises DataError if there is none."""
    path = Path(argument)
    found = sorted(one for one in path.rglob(f"*{suffix}") if one.is_file()) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise DataError(f"{argument}: " + (f"holds no *{suffix}" if path.is_dir() else "no such file or directory"))
    return found


def read_table(
    paths: Sequence[Path], label: str | None, where: str
) -> tuple[Tensor, Tensor, tuple[str, ...], str, list[int]]:
    """Return (features, labels, classes, what the features are, rows of each file) of tables with the same columns.

    Columns of texts become one input for each text (one-hot). Raises DataError, with row and column, for a missing
    value or label, and for a text in a column of numbers; rows count from 0.
    """
    found = _read(paths, where)
    table = _together(found, where)
    names = table.column_names
    chosen = require(column(names, label, LABELS, "label", where), "label", names, where)
    if table.num_rows == 0:
        raise DataError(f"{where}: holds no rows")
    given = table.column(chosen).to_pylist()
    labels, classes = encode(np.array(given, dtype=object) if None in given else given, f"{where}: '{chosen}'")
    inputs, said = features([table], chosen, where)
    return inputs, labels, classes, said, [one.num_rows for one in found]


def features(found: Sequence[Any], label: str, where: str) -> tuple[Tensor, str]:
    """Return the inputs of Arrow tables, all columns but the label, and what they are. Raises as `read_table`."""
    table = _together(found, where)
    parts = [_features(table.column(name), f"{where}: column '{name}'") for name in table.column_names if name != label]
    if not parts:
        raise DataError(f"{where}: no column but the labels")
    inputs = np.empty((table.num_rows, sum(len(columns) for columns, _ in parts)), np.float32)
    for at, values in enumerate(values for columns, _ in parts for values in columns):
        inputs[:, at] = values
    texts = sum(is_text for _, is_text in parts)
    said = f"{inputs.shape[1]} {'feature' if inputs.shape[1] == 1 else 'features'}"
    if texts:
        said += f" ({texts} {'column' if texts == 1 else 'columns'} of texts as one-hot)"
    return torch.from_numpy(inputs), said


def _read(paths: Sequence[Path], where: str) -> list[Any]:
    import pyarrow.csv
    import pyarrow.parquet

    tables = []
    for path in paths:
        read = pyarrow.csv.read_csv if path.suffix == ".csv" else pyarrow.parquet.read_table
        try:
            tables.append(read(path))
        except Exception as error:  # Arrow raises a dozen kinds for damaged files
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path}: cannot be read as a table: {said}") from None
    return tables


def _together(tables: Sequence[Any], where: str) -> Any:
    """Join tables with the same columns. Raises DataError if they differ, or a column is there twice."""
    import pyarrow as pa

    for names in (table.column_names for table in tables):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{where}: column '{twice}' is there {names.count(twice)} times")
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{where}: its files have different columns: {str(error).splitlines()[0]}") from None


def _features(values: Any, where: str) -> tuple[list[np.ndarray], bool]:
    """Return the inputs that a column becomes, and whether it holds texts."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        values = values.cast(kind)
    if values.null_count:
        raise DataError(f"{where}: row {_first(values.is_null())} has no value")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DataError(f"{where}: {kind} is neither numbers nor texts")
        with np.errstate(over="ignore"):
            numbers = np.asarray(values.to_numpy()).astype(np.float32)
        if not np.isfinite(numbers).all():
            row = int((~np.isfinite(numbers)).argmax())
            raise DataError(f"{where}: row {row} holds no finite number (of 32 bits)")
        return [numbers], False
    texts = np.array(values.to_pylist(), dtype=object)
    if (texts == "").any():
        raise DataError(f"{where}: row {int((texts == '').argmax())} has no value")
    is_number = np.array([_is_number(text) for text in texts])
    if is_number.all():
        return _features(pa.chunked_array([pa.array([float(text) for text in texts])]), where)
    if is_number.mean() > 0.5:
        row = int((~is_number).argmax())
        raise DataError(f"{where}: row {row}: '{texts[row][:40]}' is no number, as most of the column are")
    names, codes = np.unique(texts.astype(str), return_inverse=True)
    if len(names) > MOST_TEXTS:
        raise DataError(f"{where}: holds {len(names)} different texts, at most {MOST_TEXTS} become inputs: remove it")
    return [codes == code for code in range(len(names))], True


def _first(is_so: Any) -> int:
    return int(np.asarray(is_so.to_numpy()).argmax())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
