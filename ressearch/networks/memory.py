"""How much memory training a network takes on the device at hand: what its allocator hands out at once, at the most.

`Cost.training_memory` bounds the same from below without running anything.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build
from ressearch.networks.cost import cost, input_channels
from ressearch.networks.latency import find_device
from ressearch.shapes import Shape

__all__ = ["measure_memory"]

_STEPS = 2
"""The optimizer makes its states in the first step: all are there in the second."""


def measure_memory(
    architecture: Architecture,
    input_shape: Shape = (3, 32, 32),
    num_classes: int | None = None,
    *,
    batch_size: int = 64,
    optimizer_states: int = 1,
    device: torch.device | str = "cpu",
) -> int:
    """Return the bytes that training holds at once at the most: weights, gradients, states, activations, temporaries.

    On a GPU torch's allocator counts them (`torch.cuda.max_memory_allocated`), on a CPU the tensors are added up that
    are there at once. What a library keeps for itself, inside an operation or for good, is not among them on a CPU.

    Args:
        architecture: the network.
        input_shape: one input's, as in `ressearch.cost`.
        num_classes: outputs; None as in `ressearch.build`.
        batch_size: inputs of a training step.
        optimizer_states: numbers that the optimizer keeps for each parameter: 0 (SGD), 1 (with momentum) or 2 (AdamW).
        device: where to train.

    Raises:
        ArchitectureError: the network does not fit the input.
        ResourceError: torch knows no such device here.
        ValueError: `optimizer_states` is another number.
    """
    cost(architecture, input_shape, num_classes)  # refuses in words what does not fit
    if optimizer_states not in (0, 1, 2):
        raise ValueError(f"optimizer_states: {optimizer_states} is not 0 (SGD), 1 (momentum) or 2 (AdamW)")
    where = find_device(device)

    def train() -> None:
        with torch.random.fork_rng():
            network = build(architecture, input_channels(input_shape), num_classes).to(where)
            inputs = torch.rand(batch_size, *input_shape, device=where)
        _train(network, inputs, optimizer_states)

    return _peak_of_gpu(train, where) if where.type == "cuda" else _peak_of_cpu(train)


def _train(network: nn.Module, inputs: torch.Tensor, optimizer_states: int) -> None:
    optimizer: torch.optim.Optimizer
    if optimizer_states == 2:
        optimizer = torch.optim.AdamW(network.parameters())
    else:
        optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9 * optimizer_states)
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()


def _peak_of_gpu(train: Callable[[], None], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    train()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


def _peak_of_cpu(train: Callable[[], None]) -> int:
    with _Held() as held:
        train()
    return int(held.peak)


class _Held(TorchDispatchMode):
    """Adds up the memory of all tensors that operations made and that are still there.

    Attributes:
        now, peak: bytes, and the most that they ever were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it made."""
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self._count(one.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._alive or not size:
            return

        def free(_: object) -> None:
            self._alive.pop(address, None)
            self.now -= size

        self._alive[address] = weakref.ref(storage, free)
        self.now += size
        self.peak = max(self.peak, self.now)
