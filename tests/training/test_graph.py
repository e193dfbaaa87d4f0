"""Captured steps: what cannot be captured, and what is called of CUDA in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ressearch import Architecture
from ressearch.data.batches import Batch
from ressearch.networks.build import build_replicates
from ressearch.training import Recipe, graph
from ressearch.training.graph import CapturedStep, why_not_captured

CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "recipe", "network", "why"),
    [
        ("cuda", {}, {}, None),
        ("cuda", {"precision": "bfloat16"}, {}, None),
        ("cuda", {"cuda_graph": "off"}, {}, "cuda_graph: off"),
        (
            "cuda",
            {"precision": "float16"},
            {},
            "the gradient scaler of float16 looks at the gradients in each step",
        ),
        ("cuda", {"ema": 0.9}, {}, "the moving average counts its steps"),
        ("cuda", {}, {"dropout": 0.1}, "the network draws random numbers"),
        ("cuda", {}, {"skip": "stochastic_depth"}, "the network draws random numbers"),
        ("cpu", {"cuda_graph": "off"}, {}, "no CUDA graphs on a cpu"),
        ("mps", {}, {}, "no CUDA graphs on a mps"),
    ],
)
def test_what_a_graph_cannot_hold_is_said(
    device: str, recipe: dict[str, Any], network: dict[str, Any], why: str | None
) -> None:
    built = build_replicates(Architecture(depths=(2,), widths=(4,), **network), (0, 1), 3, 10)
    assert why_not_captured(torch.device(device), Recipe(**recipe), built) == why


class Calls:
    """Stands in for `torch.cuda`: writes down what is called, in order."""

    def __init__(self, refuses: bool = False) -> None:
        self.log: list[Any] = []
        self.refuses, self.streams = refuses, 0

    def Stream(self) -> Any:
        self.streams += 1
        return self.named(f"side {self.streams}")

    def named(self, name: str) -> Any:
        return SimpleNamespace(name=name, wait_stream=lambda other: self.log.append(f"{name} waits for {other.name}"))

    def current_stream(self) -> Any:
        return self.named("main")

    def set_stream(self, stream: Any) -> None:
        self.log.append(f"set {stream.name}")

    def synchronize(self) -> None:
        self.log.append("synchronize")

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.log.append(f"on {stream.name}")
        yield
        self.log.append(f"off {stream.name}")

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.log.append("replay"))

    @contextlib.contextmanager
    def graph(self, captured: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert hasattr(captured, "replay")
        self.log.append(f"capture on {stream.name} {capture_error_mode}")
        if self.refuses:
            raise RuntimeError("not permitted\nat all")
        yield
        self.log.append("captured")


class Step:
    """A step that returns the tensors it made, the same ones each time, and keeps the batches it saw."""

    def __init__(self, log: list[Any]) -> None:
        self.log, self.batches = log, []  # type: ignore[var-annotated]
        self.results = (torch.tensor([1.0, 2.0]), torch.tensor([3, 4]))

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.log.append("step")
        self.batches.append(batch)
        return self.results


def batch(value: float, targets: bool = False) -> Batch:
    return Batch(
        torch.full((2, 3), value), torch.full((2,), int(value)), torch.full((2, 4), value) if targets else None
    )


EAGER = ["side 1 waits for main", "on side 1", "step", "off side 1", "main waits for side 1"]


@pytest.mark.parametrize("targets", [False, True])
def test_three_steps_run_beside_one_is_captured_and_the_others_replay_it(
    targets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = Calls()
    monkeypatch.setattr(graph, "cuda", cuda)
    captured, step = CapturedStep(), Step(cuda.log)
    for value in (1, 2, 3):
        cuda.log.clear()
        assert captured(step, batch(value, targets)) is step.results
        assert cuda.log == EAGER
    assert cuda.streams == 1
    cuda.log.clear()
    found = captured(step, batch(4, targets))
    assert cuda.log == ["capture on side 1 thread_local", "step", "captured", "replay"]
    for one, expected in zip(found, step.results, strict=True):
        assert torch.equal(one, expected)
        assert one is not expected  # the next replay writes over those of the graph
    held = step.batches[-1]
    assert isinstance(held, Batch)
    cuda.log.clear()
    given = batch(5, targets)
    captured(step, given)
    assert cuda.log == ["replay"]
    assert [None if one is None else one.unique().tolist() for one in held] == [[5], [5], [5] if targets else None]
    assert all(one is not other for one, other in zip(held, given, strict=True) if one is not None)
    assert captured.why_failed is None
    assert len(step.batches) == 4


def test_a_capture_that_is_refused_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Calls(refuses=True)
    monkeypatch.setattr(graph, "cuda", cuda)
    captured, step = CapturedStep(), Step(cuda.log)
    for value in (1, 2, 3):
        captured(step, batch(value))
    assert captured.why_failed is None
    cuda.log.clear()
    fourth = batch(4)
    assert captured(step, fourth) is step.results
    assert step.batches[-1] is fourth
    assert cuda.log == ["capture on side 1 thread_local", "set main", "synchronize", "step"]
    assert captured.why_failed == "capturing failed: not permitted"
    cuda.log.clear()
    fifth = batch(5)
    assert captured(step, fifth) is step.results
    assert step.batches[-1] is fifth
    assert cuda.log == ["step"]


def test_what_is_no_failure_of_a_capture_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Calls()
    monkeypatch.setattr(graph, "cuda", cuda)
    captured, step = CapturedStep(), Step(cuda.log)
    for value in (1, 2, 3):
        captured(step, batch(value))

    def interrupted(batch: Batch) -> tuple[Tensor, Tensor]:
        raise KeyboardInterrupt

    cuda.log.clear()
    with pytest.raises(KeyboardInterrupt):
        captured(interrupted, batch(4))
    assert cuda.log == ["capture on side 1 thread_local", "set main"]
    assert captured.why_failed is None
