"""A whole training step captured as one CUDA graph: the many small kernels of a small network are launched at once.

The first steps run eagerly (they make the optimizer's state), then one is captured and later ones replay it. What a
graph cannot hold is said by `why_not_captured`; if capturing fails, steps stay eager and `why_failed` says why.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ressearch.data.batches import Batch
from ressearch.replicated import Stochastic
from ressearch.training.recipe import Recipe

_EAGER_STEPS = 3


def why_not_captured(device: torch.device, recipe: Recipe, network: nn.Module) -> str | None:
    """Return why a step cannot be captured as a CUDA graph; None if it can."""
    if device.type != "cuda":
        return f"no CUDA graphs on a {device.type}"
    if recipe.cuda_graph == "off":
        return "cuda_graph: off"
    if recipe.precision == "float16":
        return "the gradient scaler of float16 looks at the gradients in each step"
    if recipe.ema is not None:
        return "the moving average counts its steps"
    if any(isinstance(module, Stochastic) for module in network.modules()):
        return "the network draws random numbers"
    return None


class CapturedStep:
    """Calls a step like the step itself, from a CUDA graph once it has run a few times.

    Args:
        step: takes a batch of tensors that always have the same shapes, returns tensors; reads nothing else that
            changes but what it holds in tensors on the device.
    """

    def __init__(self, step: Callable[[Batch], tuple[Tensor, Tensor]]) -> None:
        self._step = step
        self._calls = 0
        self._stream: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch | None = None
        self._results: tuple[Tensor, Tensor] | None = None
        self.why_failed: str | None = None

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Train one step."""
        self._calls += 1
        if self._calls <= _EAGER_STEPS:
            return self._on_side_stream(batch)
        if self._graph is None:
            try:
                self._capture(batch)
            except RuntimeError as error:
                self.why_failed = f"capturing failed: {str(error).strip().splitlines()[0]}"
                torch.cuda.synchronize()
                return self._step(batch)
        assert self._graph is not None
        assert self._batch is not None
        assert self._results is not None
        for held, new in zip(self._batch, batch, strict=True):
            if held is not None and new is not None:
                held.copy_(new)
        self._graph.replay()
        loss, hits = self._results
        return loss.clone(), hits.clone()

    def _on_side_stream(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self._stream = self._stream or torch.cuda.Stream()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            results = self._step(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return results

    def _capture(self, batch: Batch) -> None:
        self._batch = Batch(*(None if one is None else one.clone() for one in batch))  # type: ignore[arg-type]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._results = self._step(self._batch)
        self._graph = graph
