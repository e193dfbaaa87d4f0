"""A whole training step captured as one CUDA graph: the many small kernels of a small network are launched at once.

The first steps run eagerly (they make the optimizer's state), then one is captured and later ones replay it. What a
graph cannot hold is said by `why_not_captured`; if capturing fails, steps stay eager and `why_failed` says why.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, cuda, nn

from ressearch.data.batches import Batch
from ressearch.errors import first_line
from ressearch.networks.replicated import Stochastic
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


Step = Callable[[Batch], tuple[Tensor, Tensor]]
"""Takes a batch of tensors that always have the same shapes, returns tensors; reads nothing else that changes but what
it holds in tensors on the device."""


class CapturedStep:
    """Runs a step eagerly a few times, then captures it as a CUDA graph and replays that.

    It keeps no reference to the step: the network that a step belongs to, and its memory on the GPU, are freed as soon
    as their owner lets go of them.

    Attributes:
        why_failed: why the step could not be captured and runs eagerly; None if it could, or was not tried yet.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._stream: cuda.Stream | None = None
        self._graph: cuda.CUDAGraph | None = None
        self._batch: Batch | None = None
        self._results: tuple[Tensor, Tensor] | None = None
        self.why_failed: str | None = None

    def __call__(self, step: Step, batch: Batch) -> tuple[Tensor, Tensor]:
        """Train one step; `step` must be the same in every call."""
        if self.why_failed is not None:
            return step(batch)
        self._calls += 1
        if self._calls <= _EAGER_STEPS:
            return self._run_beside(step, batch)
        if self._graph is None:
            try:
                self._capture(step, batch)
            except RuntimeError as error:
                self.why_failed = f"capturing failed: {first_line(error)}"
                cuda.synchronize()
                return step(batch)
        assert self._graph is not None
        assert self._batch is not None
        assert self._results is not None
        for held, new in zip(self._batch, batch, strict=True):
            if held is not None and new is not None:
                held.copy_(new)
        self._graph.replay()
        loss, hits = self._results
        return loss.clone(), hits.clone()

    def _run_beside(self, step: Step, batch: Batch) -> tuple[Tensor, Tensor]:
        """Run the step on the stream that it will be captured on, as CUDA graphs ask for before a capture."""
        self._stream = self._stream or cuda.Stream()
        self._stream.wait_stream(cuda.current_stream())
        with cuda.stream(self._stream):
            results = step(batch)
        cuda.current_stream().wait_stream(self._stream)
        return results

    def _capture(self, step: Step, batch: Batch) -> None:
        held = Batch(*(None if one is None else one.clone() for one in batch))  # type: ignore[arg-type]
        graph = cuda.CUDAGraph()
        before = cuda.current_stream()
        try:
            # Only this thread's calls can spoil a capture: streamed batches are pinned and copied by another one.
            with cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                results = step(held)
        except BaseException:
            # torch leaves its own stream the current one where the end of a broken capture raises, too.
            cuda.set_stream(before)
            raise
        self._graph, self._batch, self._results = graph, held, results
