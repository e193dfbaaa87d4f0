"""Inputs that are decoded when they are needed: larger than memory, read by position, by several threads.

Sources know how to fetch the bytes of one example from where it lies (a file, a place in a tar, a row of a Parquet
file); all of them can be read in any order, so batches are shuffled as exactly as those of data in memory.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ressearch.errors import DataError

Shape = tuple[int, ...]

Image.MAX_IMAGE_PIXELS = 2**28


@contextlib.contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """Open an encoded image. Raises DataError if it, or what is done with it in the block, cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            yield image
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: no image that can be read ({str(error).splitlines()[0]})") from None


def channels_of(data: bytes, where: str) -> int:
    """Return 1 for a grey image, 3 for any other; an alpha channel does not count. Raises DataError as `decode`."""
    with _opened(data, where) as image:
        return 1 if image.mode in ("1", "L", "I", "F", "I;16", "LA") else 3


def decode(data: bytes, where: str, channels: int, size: int | None) -> Tensor:
    """Return an encoded image as uint8, shape (channels, height, width).

    Args:
        data: the file's bytes.
        where: names it in an error.
        channels: 1 converts to grey, 3 to colour.
        size: brings the shorter side to it, and cuts out the middle; None keeps the image.

    Raises:
        DataError: the bytes are no image that can be read.
    """
    with _opened(data, where) as opened:
        image: Image.Image = opened.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        scale = size / min(image.size)
        scaled = tuple(max(size, round(side * scale)) for side in image.size)
        image = image.resize(scaled, Image.Resampling.BILINEAR)  # type: ignore[arg-type]
        left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
        image = image.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


class Source(ABC):
    """Where encoded images lie, by position."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def read(self, index: int) -> tuple[bytes, str]:
        """Return one's bytes, and what to call it in an error."""


class Files(Source):
    """Image files.

    Args:
        paths: one a position.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = np.array([str(path) for path in paths])

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> tuple[bytes, str]:
        """Read a file."""
        path = str(self._paths[index])
        try:
            return Path(path).read_bytes(), path
        except OSError as error:
            raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None


class TarMembers(Source):
    """Images in uncompressed tars (WebDataset shards).

    Args:
        tars: the files.
        members: of each position: which tar, where its bytes start, how many they are.
        names: of each position.
    """

    def __init__(self, tars: Sequence[Path], members: np.ndarray, names: Sequence[str]) -> None:
        self._tars, self._members, self._names = [str(tar) for tar in tars], members, np.array(names)

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> tuple[bytes, str]:
        """Read a member from its place."""
        tar, start, length = (int(one) for one in self._members[index])
        with open(self._tars[tar], "rb") as file:
            file.seek(start)
            return file.read(length), f"{self._tars[tar]}: {self._names[index]}"


class Rows(Source):
    """Images in a column of Parquet files, a row group at a time.

    Args:
        files: the Parquet files.
        column: of encoded images: bytes, or a struct with the field ``bytes`` (Hugging Face).
    """

    def __init__(self, files: Sequence[Path], column: str) -> None:
        import pyarrow.parquet as pq

        self._files, self._column = [str(file) for file in files], column
        groups = []
        for at, file in enumerate(self._files):
            metadata = pq.ParquetFile(file).metadata
            groups += [(at, group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups)]
        self._groups = groups
        self._ends = np.cumsum([rows for _, _, rows in groups])
        self._held: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, index: int) -> tuple[bytes, str]:
        """Read a row; the last few row groups are kept."""
        import pyarrow.parquet as pq

        place = int(np.searchsorted(self._ends, index, side="right"))
        file, group, rows = self._groups[place]
        values = self._held.get(place)
        if values is None:
            table = pq.ParquetFile(self._files[file]).read_row_group(group, columns=[self._column])
            values = table.column(self._column)
            while len(self._held) >= 16:
                self._held.pop(next(iter(self._held)), None)
            self._held[place] = values
        value = values[index - (int(self._ends[place]) - rows)].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise DataError(f"{self._files[file]}: row {index}: column '{self._column}' holds no encoded image")
        return data, f"{self._files[file]}: row {index}"


class Lazy:
    """Images of a source that are decoded when asked for.

    Attributes:
        shape: (examples, channels, height, width).

    Args:
        source: where they lie.
        channels: 1 or 3.
        size: see `decode`; every decoded image must come out as `side`.
        side: (height, width).
        indices: the positions of the source that count, in order; None is all.
    """

    def __init__(
        self, source: Source, channels: int, size: int | None, side: tuple[int, int], indices: np.ndarray | None = None
    ) -> None:
        self.source, self.channels, self.size, self.side = source, channels, size, side
        self.indices = np.arange(len(source)) if indices is None else indices
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, ...]:
        """(examples, channels, height, width)."""
        return (len(self), self.channels, *self.side)

    def take(self, chosen: Tensor) -> Lazy:
        """Return some of the images, still not decoded."""
        return Lazy(self.source, self.channels, self.size, self.side, self.indices[chosen.numpy()])

    def _one(self, index: int) -> Tensor:
        data, where = self.source.read(int(self.indices[index]))
        image = decode(data, where, self.channels, self.size)
        if tuple(image.shape[1:]) != self.side:
            raise DataError(
                f"{where}: {image.shape[2]}x{image.shape[1]} pixels, but the first has {self.side[1]}x{self.side[0]}; "
                "data.size brings all to one size"
            )
        return image

    def load(self, chosen: Tensor) -> Tensor:
        """Decode some of the images, on several threads; shape (chosen, channels, height, width), uint8."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 1))
        return torch.stack(list(self._pool.map(self._one, chosen.tolist())))

    def throughput(self, examples: int = 256) -> float:
        """Return how many images a second are read and decoded here, measured on some that are spread out."""
        chosen = torch.linspace(0, len(self) - 1, min(examples, len(self))).long()
        start = time.perf_counter()
        self.load(chosen)
        return len(chosen) / (time.perf_counter() - start)


def tar_members(tars: Sequence[Path], suffixes: Sequence[str]) -> list[tuple[int, int, int, str]]:
    """Return (tar, start, length, name) of the members with one of the suffixes, in order.

    Raises DataError for a tar that is compressed or damaged.
    """
    found = []
    for at, path in enumerate(tars):
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if member.isfile() and member.name.lower().endswith(tuple(suffixes)):
                        found.append((at, member.offset_data, member.size, member.name))
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{path}: no uncompressed tar that can be read ({error})") from None
    return found
