"""How many CPU threads torch uses, within a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Have torch use so many threads within the block; None leaves them as they are.

    Where other processes use the cores, threads wait for each other: one is then many times as fast as all.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


__all__ = ["torch_threads"]
