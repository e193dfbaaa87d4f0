"""NPZ archives: arrays of NumPy, read block by block, or mapped where they lie.

What a header says is believed once the archive can hold it. An array that is stored as it is used (not compressed,
bytes or float32, channels first) is not copied at all.
"""

from __future__ import annotations

import contextlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from torch import Tensor

from ressearch.data.spool import Place, Sheet
from ressearch.data.tables import INPUTS, LABELS, Layout, column, encode, require
from ressearch.errors import DataError

_BLOCK = 2**21
"""Bytes read at a time."""
_DEFLATED = 1032
"""Deflate makes at most so many bytes of one."""


@dataclass(frozen=True)
class _Array:
    """An array of an archive, as its header describes it."""

    name: str
    member: zipfile.ZipInfo
    dtype: np.dtype
    shape: tuple[int, ...]
    is_fortran: bool
    header: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(
    argument: str, image: str | None, label: str | None
) -> tuple[Tensor, Place | None, Tensor, tuple[str, ...]]:
    """Return (inputs, their place, labels, classes) of an NPZ file.

    Raises DataError if it is damaged or its arrays do not fit.
    """
    path = Path(argument)
    if path.exists() and not path.is_file():
        raise DataError(f"{argument}: is no file")
    with _damage_said(argument), zipfile.ZipFile(path) as archive:
        found = {one.name: one for one in _described(archive, path)}
        names = list(found)
        inputs = found[require(column(names, image, INPUTS, "image", argument), "image", names, argument)]
        target = found[require(column(names, label, LABELS, "label", argument), "label", names, argument)]
        if inputs.shape[:1] != target.shape[:1]:
            raise DataError(f"{argument}: {_count(inputs)} inputs but {_count(target)} labels")
        labels, classes = encode(_whole(archive, target, argument), f"{argument}: array '{target.name}'")
        tensor, place = _inputs(archive, path, inputs, f"{argument}: array '{inputs.name}'")
    return tensor, place, labels, classes


def _count(array: _Array) -> int | str:
    return array.shape[0] if array.shape else "no row of"


@contextlib.contextmanager
def _damage_said(argument: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{argument}: no such file or directory") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        said = "no NPZ archive, as numpy.savez writes it" if "not a zip" in str(error) else f"damaged: {error}"
        raise DataError(f"{argument}: {said}") from None
    except OSError as error:
        raise DataError(f"{argument}: {(error.strerror or str(error)).lower()}") from None
    except Exception as error:  # zipfile and numpy raise a dozen kinds for odd headers
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{argument}: damaged: {said}") from None


def _described(archive: zipfile.ZipFile, path: Path) -> Iterator[_Array]:
    """Yield the arrays as their headers describe them. Raises DataError for one that the archive cannot hold."""
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            continue
        name = member.filename.removesuffix(".npy")
        where = f"{path}: array '{name}'"
        most = member.compress_size if member.compress_type == zipfile.ZIP_STORED else member.compress_size * _DEFLATED
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where}: is compressed in a way that numpy does not write")
        if member.file_size > most or member.compress_size > path.stat().st_size:
            raise DataError(f"{where}: damaged: {member.file_size:,} bytes cannot be in the archive")
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise DataError(f"{where}: holds no plain array of numbers or texts")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            try:
                shape, is_fortran, dtype = read(file)
            except (ValueError, SyntaxError, TypeError, RecursionError, tokenize.TokenError):
                raise DataError(f"{where}: damaged: its header describes no array") from None
            array = _Array(name, member, dtype, shape, is_fortran, file.tell())
        if dtype.hasobject:
            raise DataError(f"{where}: holds Python objects, which are not read: they could run code")
        if any(side < 0 for side in shape) or array.nbytes != member.file_size - array.header:
            said = f"{array.nbytes:,} bytes, but {member.file_size - array.header:,} are there"
            raise DataError(f"{where}: damaged: its header says {said}")
        yield array


def _whole(archive: zipfile.ZipFile, array: _Array, where: str) -> np.ndarray:
    with archive.open(array.member) as file:
        file.read(array.header)
        data = _exactly(file, array.nbytes, where)
        _require_end(file, where)
    values = np.frombuffer(data, array.dtype)
    return values.reshape(array.shape[::-1]).T if array.is_fortran else values.reshape(array.shape)


def _exactly(file: IO[bytes], size: int, where: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise DataError(f"{where}: damaged: ends early")
    return data


def _require_end(file: IO[bytes], where: str) -> None:
    """Read the last bytes, of which there are none: the archive's checksum is compared then."""
    if file.read(1):
        raise DataError(f"{where}: damaged: holds more than its header says")


def _inputs(archive: zipfile.ZipFile, path: Path, array: _Array, where: str) -> tuple[Tensor, Place | None]:
    """Return the inputs in the form that networks take, mapped where they lie if they have it already."""
    layout = Layout.of(array.shape, array.dtype, where)
    if array.is_fortran:
        sheet = Sheet(layout.shape, layout.dtype)
        sheet.append(layout.apply(_whole(archive, array, where), 0))
        return sheet.done()
    offset = _offset(path, array)
    is_as_used = layout.is_identity and offset % layout.dtype.itemsize == 0
    is_in_place = is_as_used and array.member.compress_type == zipfile.ZIP_STORED
    target = None if is_in_place else Sheet(layout.shape, layout.dtype)
    row = array.nbytes // array.shape[0]
    rows = max(1, _BLOCK // row)
    with archive.open(array.member) as file:
        file.read(array.header)
        for start in range(0, array.shape[0], rows):  # in place too: for the checksum, and numbers that are none
            count = min(rows, array.shape[0] - start)
            block = np.frombuffer(_exactly(file, count * row, where), array.dtype)
            block = layout.apply(block.reshape(count, *array.shape[1:]), start)
            if target is not None:
                target.append(block)
        _require_end(file, where)
    if target is not None:
        return target.done()
    place = Place.of(path, offset, array.dtype, layout.shape)
    return place.open(), place


def _offset(path: Path, array: _Array) -> int:
    """Return where the array's first byte lies in the archive, if it is not compressed."""
    with path.open("rb") as file:
        file.seek(array.member.header_offset)
        local = file.read(30)
    names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return array.member.header_offset + 30 + names + array.header
