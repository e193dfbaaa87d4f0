"""Images that are decoded when they are needed: larger than memory, read by position, on several threads.

They can be read in any order, so batches are shuffled exactly as those of data in memory.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ressearch.data.images import decode
from ressearch.data.sources import Source
from ressearch.errors import DataError


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

    def identity(self) -> str:
        """Say what is decoded, and how: equal identities give equal pixels."""
        return f"{self.source.identity()}|{self.channels}|{self.size}"

    def prepare(self) -> None:
        """Do once what makes reading in any order fast."""
        self.source.prepare()

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
        if len(chosen) == 0:
            return torch.empty(0, *self.shape[1:], dtype=torch.uint8)
        return torch.stack(list(self._pool.map(self._one, chosen.tolist())))

    def throughput(self, examples: int = 512) -> float:
        """Return how many images a second a shuffled epoch reads and decodes here, measured on some of them."""
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:examples]
        some = self.take(chosen)
        some.source = self.source.sample(some.indices.tolist())
        start = time.perf_counter()
        for batch in torch.arange(len(chosen)).split(64):
            some.load(batch)
        return len(chosen) / (time.perf_counter() - start)
