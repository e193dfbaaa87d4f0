"""Mean and deviation of training inputs by channel (feature), exact, in blocks, without a copy of the data.

Pixels are summed as whole numbers, so the figures depend neither on the order nor on whether images are decoded at once
or when needed. What took a pass over images that are decoded when needed is kept in the cache directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import torch
from torch import Tensor

from ressearch.cache import cache_directory
from ressearch.data.lazy import Lazy
from ressearch.threads import torch_threads

_BLOCK = 2**18
"""Numbers of a block: as few as the processor's cache holds, which is ten times as fast as blocks of megabytes."""
_DECODED = 256
"""Images decoded at a time."""


def moments(pool: Tensor | Lazy, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, shaped to broadcast: (channels, 1, 1) or (features,); a constant has 1.

    Args:
        pool: all inputs.
        places: the positions of those that count.
    """
    kept = _kept(pool, places) if isinstance(pool, Lazy) else None
    if kept is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(kept.read_text(encoding="utf-8"))
            return _shaped(torch.tensor(found["mean"]), torch.tensor(found["std"]), len(pool.shape))
    with torch_threads(1):  # blocks are small
        mean, std = _measure(pool, places)
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps({"mean": mean.tolist(), "std": std.tolist()}), encoding="utf-8")
            part.replace(kept)
    return _shaped(mean, std, len(pool.shape))


def are_kept(pool: Tensor | Lazy, places: Tensor) -> bool:
    """Return whether `moments` needs no pass over images that have to be decoded."""
    return not isinstance(pool, Lazy) or _kept(pool, places).is_file()


def _shaped(mean: Tensor, std: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    return (mean.view(-1, 1, 1), std.view(-1, 1, 1)) if axes == 4 else (mean, std)


def _measure(pool: Tensor | Lazy, places: Tensor) -> tuple[Tensor, Tensor]:
    """Combine the blocks' sums (Chan et al. 1983 where numbers are no pixels)."""
    count, mean, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    size = _DECODED if isinstance(pool, Lazy) else max(1, _BLOCK // max(1, pool[0].numel()))
    is_pixels = isinstance(pool, Lazy) or pool.dtype == torch.uint8
    for chosen in places.split(size):
        block = pool.load(chosen) if isinstance(pool, Lazy) else pool.index_select(0, chosen)
        axis = 1 if block.ndim == 4 else block.ndim - 1
        others = [one for one in range(block.ndim) if one != axis]
        size_of_block = block.numel() // block.shape[axis]
        numbers = block.double()
        if is_pixels:  # whole numbers below 2^53: every sum is exact
            count += size_of_block
            mean = mean + numbers.sum(others)
            squares = squares + numbers.square().sum(others)
            continue
        apart = numbers.mean(others) - mean
        together = count + size_of_block
        centred = numbers - numbers.mean(others, keepdim=True)
        squares = squares + centred.square().sum(others)
        squares = squares + apart.square() * (count * size_of_block / together)
        mean = mean + apart * (size_of_block / together)
        count = together
    if is_pixels:
        sums = mean
        mean = sums / count
        squares = squares - sums * mean
    std = (squares.clamp(min=0) / max(1, count - 1)).sqrt()
    std = torch.where(std > 1e-6, std, torch.ones_like(std))
    return mean.float(), std.float()


def _kept(pool: Lazy, places: Tensor) -> Path:
    text = f"{pool.identity()}|{hashlib.sha256(pool.indices[places.numpy()].tobytes()).hexdigest()}"
    return cache_directory() / "moments" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
