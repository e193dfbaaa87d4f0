"""Where encoded images lie: files, places in tars, rows of Parquet files. Each can be read in any order.

A source is sent to every worker, so it holds absolute paths and compact arrays, and reads the same wherever a process
was started.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tarfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ressearch.data.spool import new_file, stamp
from ressearch.errors import DataError


class Source(ABC):
    """Where encoded images lie, by position."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def read(self, index: int) -> tuple[bytes, str]:
        """Return one's bytes, and what to call it in an error."""

    @abstractmethod
    def identity(self) -> str:
        """Say what is read, so that other files, or files that changed, have another identity."""

    def prepare(self) -> None:
        """Do once what makes reading in any order fast."""
        return

    def sample(self, indices: Sequence[int]) -> Source:
        """Return some of the images, read as fast as all of them are after `prepare`."""
        return self


class Files(Source):
    """Image files under a directory.

    Args:
        root: the directory.
        paths: of the files, one a position.
    """

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self._root = str(root.absolute())
        # As bytes, and without the root: a million names are tens of megabytes.
        self._names = np.array([os.fsencode(path.relative_to(root)) for path in paths])

    def __len__(self) -> int:
        return len(self._names)

    def _path(self, index: int) -> str:
        return os.path.join(self._root, os.fsdecode(bytes(self._names[index])))

    def read(self, index: int) -> tuple[bytes, str]:
        """Read a file."""
        path = self._path(index)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device never ends
                raise DataError(f"{path}: is no file")
            return Path(path).read_bytes(), path
        except OSError as error:
            raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None

    def identity(self) -> str:
        """Name every file, with its size and time of the last change."""
        return json.dumps([self._root, [_stamped(self._path(index)) for index in range(len(self))]])


class TarMembers(Source):
    """Images in uncompressed tars (WebDataset shards).

    Args:
        tars: the files.
        members: of each position: which tar, where its bytes start, how many they are.
        names: of each position.
    """

    def __init__(self, tars: Sequence[Path], members: np.ndarray, names: Sequence[str]) -> None:
        self._tars, self._members = [str(tar.absolute()) for tar in tars], members
        self._names = np.array([name.encode("utf-8", "surrogateescape") for name in names])

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> tuple[bytes, str]:
        """Read a member from its place."""
        tar, start, length = (int(one) for one in self._members[index])
        name = bytes(self._names[index]).decode("utf-8", "replace")
        return read_at(self._tars[tar], start, length, name), f"{self._tars[tar]}: {name}"

    def identity(self) -> str:
        """Name every tar, with its size and time of the last change, and every place."""
        return json.dumps([[_stamped(tar) for tar in self._tars], self._members.tolist()])


class Rows(Source):
    """Images in a column of Parquet files.

    A row of Parquet is not read alone, but with its row group. Before they are read in any order, the images of more
    row groups than are kept in memory are copied once, as they are, to one file from which each is read alone; where
    there is no room for it, a row group is read for each of its rows again.

    Args:
        files: the Parquet files.
        column: of encoded images: bytes, or a struct with the field ``bytes`` (Hugging Face).

    Raises:
        DataError: a file is damaged, or has no such column.
    """

    _KEPT, _KEPT_BYTES = 16, 2**28

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._files, self._column = [str(file.absolute()) for file in files], column
        self._groups: list[tuple[int, int, int]] = []
        self._bytes = 0
        for at, file in enumerate(self._files):
            with opened_parquet(file) as opened:
                metadata = opened.metadata
                for group in range(metadata.num_row_groups):
                    found = metadata.row_group(group)
                    self._groups.append((at, group, found.num_rows))
                    self._bytes += found.total_byte_size
        self._ends = np.cumsum([rows for _, _, rows in self._groups], dtype=np.int64)
        self._copy: tuple[str, np.ndarray] | None = None  # the file; where each image starts and ends
        self._forget()

    def _forget(self) -> None:
        self._held: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def identity(self) -> str:
        """Name every file, with its size and time of the last change."""
        return json.dumps([self._column, [_stamped(file) for file in self._files]])

    def read(self, index: int) -> tuple[bytes, str]:
        """Read a row: from the copy if there is one, else with its row group, the last few of which are kept."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        where = f"{self._files[self._groups[place][0]]}: row {index}"
        if self._copy is not None and os.path.exists(self._copy[0]):  # on another node of a cluster it is not
            start, end = (int(one) for one in self._copy[1][index])
            return read_at(self._copy[0], start, end - start, where), where
        with self._lock:
            values = self._held.get(place)
        if values is None:
            values = self._group(place)
            with self._lock:
                while len(self._held) >= self._KEPT:
                    self._held.pop(next(iter(self._held)))
                self._held[place] = values
        value = values[index - (int(self._ends[place]) - self._groups[place][2])].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise DataError(f"{where}: column '{self._column}' holds no encoded image")
        return data, where

    def _group(self, place: int) -> Any:
        file, group, rows = self._groups[place]
        with opened_parquet(self._files[file]) as opened:
            values = opened.read_row_group(group, columns=[self._column]).column(self._column)
            if len(values) != rows:
                raise DataError(f"{self._files[file]}: damaged: {len(values)} rows in row group {group}, not {rows}")
            return values

    @property
    def _is_small(self) -> bool:
        return len(self._groups) <= self._KEPT and self._bytes <= self._KEPT_BYTES

    def prepare(self) -> None:
        """Copy the images to one file, unless they are copied already or few row groups hold them."""
        if self._copy is None and not self._is_small:
            self._copy = self._copied(np.arange(len(self)), self._bytes)

    def sample(self, indices: Sequence[int]) -> Source:
        """Return some of the images, copied as `prepare` copies all."""
        if self._copy is not None or self._is_small:
            return self
        some = Rows.__new__(Rows)
        some.__setstate__(self.__getstate__())
        some._copy = self._copied(np.array(sorted(set(indices))), 0)
        return some

    def _copied(self, indices: np.ndarray, size: int) -> tuple[str, np.ndarray] | None:
        """Copy some images, in order, to a new file; returns it and where each lies. None where there is no room."""
        path = new_file(size)
        if path is None:
            return None
        places = np.zeros((len(self), 2), np.int64)
        try:
            with path.open("wb") as file:
                for index in indices.tolist():
                    start = file.tell()
                    file.write(self.read(index)[0])
                    places[index] = start, file.tell()
        except OSError:  # the disk is full after all
            path.unlink(missing_ok=True)
            return None
        return str(path), places


def _stamped(path: str) -> list[Any]:
    try:
        return [path, *stamp(Path(path))]
    except OSError:
        return [path]


def read_at(path: str, start: int, length: int, name: str) -> bytes:
    """Return some bytes of a file. Raises DataError if it has not so many."""
    try:
        with open(path, "rb") as file:
            if start < 0 or length < 0 or start + length > os.fstat(file.fileno()).st_size:
                raise DataError(f"{path}: {name}: damaged: the file ends before it does")
            file.seek(start)
            return file.read(length)
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None


@contextlib.contextmanager
def opened_parquet(file: str | Path) -> Iterator[Any]:
    """Open a Parquet file for a block. Raises DataError if it is damaged, or cannot do what the block asks."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except (DataError, GeneratorExit):
        raise
    except FileNotFoundError:
        raise DataError(f"{file}: no such file or directory") from None
    except Exception as error:  # Arrow raises a dozen kinds for damaged files
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file}: damaged, or no Parquet file: {said}") from None


def _require_end(path: Path, end: int, size: int) -> None:
    """Raise DataError if a tar does not end as tars do, with blocks of zeros: what was cut off would not be missed."""
    with path.open("rb") as file:
        file.seek(end)
        first = file.read(512)
        if len(first) < 512 or any(first):
            raise DataError(f"{path}: damaged: the tar ends without its last blocks, so it may have been cut")
        if any(file.read(2**20)):
            raise DataError(f"{path}: holds more after the tar's end; tars that were joined have to be apart")


def tar_members(tars: Sequence[Path], suffixes: Sequence[str]) -> Iterator[tuple[int, int, int, str]]:
    """Yield (tar, start, length, name) of the members with one of the suffixes, in order.

    Raises DataError for a tar that is compressed, cut or damaged.
    """
    for at, path in enumerate(tars):
        try:
            size = path.stat().st_size
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if not member.isfile() or not member.name.lower().endswith(tuple(suffixes)):
                        continue
                    if member.size < 0 or member.offset_data + member.size > size:
                        raise DataError(f"{path}: {member.name}: damaged: the file ends before it does")
                    yield at, member.offset_data, member.size, member.name
                _require_end(path, tar.offset, size)
        except DataError:
            raise
        except Exception as error:  # tarfile raises a dozen kinds for damaged headers
            raise DataError(f"{path}: no uncompressed tar that can be read ({error})") from None
