"""The timed step: what it is fed, where it runs, and which of its times counts. Clocks and networks are fake."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import nn

from ressearch import Architecture
from ressearch.training import choose
from ressearch.training.choose import Choice

CPU = torch.device("cpu")
TINY = Architecture(depths=(1, 1), widths=(4, 8))
GROUPED, GROUPED_PLAIN, ALONE, ALONE_PLAIN = (Choice(*one) for one in ((1, 1), (1, 0), (0, 1), (0, 0)))


class Network(nn.Module):
    """Stands in for the network that is timed: writes down how it is called."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3, 2, 2))
        self.outputs, self.calls = outputs, []  # type: ignore[var-annotated]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        is_last = inputs.ndim == 4 and inputs.is_contiguous(memory_format=torch.channels_last)
        layouts = (is_last, self.weight.is_contiguous(memory_format=torch.channels_last))
        assert not inputs.any()
        cast = (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))
        self.calls.append((tuple(inputs.shape), inputs.dtype, self.weight.dtype, layouts, cast))
        return self.weight.sum() * torch.ones(len(inputs), self.outputs, dtype=self.weight.dtype)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize(
    ("shape", "choice", "fed", "is_last"),
    [
        ((2, 4, 6), GROUPED, (5, 6, 4, 6), True),
        ((2, 4, 6), GROUPED_PLAIN, (5, 6, 4, 6), False),
        ((2, 4, 6), ALONE, (5, 2, 4, 6), True),
        ((7,), GROUPED, (5, 21), False),
        ((7,), ALONE_PLAIN, (5, 7), False),
        ((4, 6), GROUPED, (5, 4, 18), False),
        ((4, 6), ALONE, (5, 4, 6), False),
    ],
)
def test_a_step_is_timed_on_zeros_as_the_trial_would_have_it(
    shape: tuple[int, ...],
    choice: Choice,
    fed: tuple[int, ...],
    is_last: bool,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = 3 if choice.is_grouped else 1
    network, built = Network(10 * seeds), []
    monkeypatch.setattr(choose, "build_replicates", lambda *arguments: built.append(arguments) or network)
    ticks = iter([0.0, 9.0, 10.0, 16.0])
    monkeypatch.setattr(choose, "clock", lambda: next(ticks))
    monkeypatch.setattr(choose, "_ENOUGH", 100.0)
    seconds = choose.step_seconds(TINY, shape, 10, 5, precision, 3, CPU, choice, 2)
    assert seconds == 6.0 / seeds
    dtype = torch.float64 if precision == "float64" else torch.float32
    is_cast = precision in ("bfloat16", "float16")
    cast = (is_cast, torch.bfloat16)
    assert network.calls == [(fed, dtype, dtype, (is_last, is_last), cast)] * 2
    assert built == [(TINY, range(seeds), shape[0] if len(shape) == 3 else shape[-1], 10)]
    # Of 2 steps on logits that are all alike: the mean over the batch of softmax minus one-hot sums to 0.
    assert network.weight.grad is not None
    assert bool((network.weight.grad.abs() < 1e-6).all())


@pytest.mark.parametrize(
    ("ticks", "timed", "least"),
    [([0, 0.1, 1, 1.05, 2, 2.07], 3, 0.05), ([0, 0.11], 1, 0.11), ([0, 0.05, 1, 1.3, 2, 2.04], 3, 0.04)],
)
def test_a_step_that_takes_a_tenth_of_a_second_is_timed_once(
    ticks: list[float], timed: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, times = Network(10), iter(ticks)
    monkeypatch.setattr(choose, "build_replicates", lambda *arguments: network)
    monkeypatch.setattr(choose, "clock", lambda: next(times))
    assert choose.step_seconds(TINY, (7,), 10, 5, "float32", 2, CPU, ALONE) == pytest.approx(least)
    assert len(network.calls) == timed


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "float64"])
def test_a_step_on_a_gpu_is_waited_for_and_never_skipped(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Device(str):
        """The CPU, which says that it is a GPU."""

        type = "cuda"
        __slots__ = ()

    network, log, times = Network(10), [], iter([0, 5, 10, 13, 20, 24])  # type: ignore[var-annotated]
    monkeypatch.setattr(choose, "build_replicates", lambda *arguments: network)
    monkeypatch.setattr(choose, "clock", lambda: log.append("clock") or next(times))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("wait"))

    def autocast(*arguments: Any, enabled: bool) -> Any:
        log.append((*arguments, enabled))
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    device: Any = Device("cpu")
    assert choose.step_seconds(TINY, (7,), 10, 5, precision, 2, device, ALONE) == 3
    cast = ("cuda", torch.bfloat16, precision in ("bfloat16", "float16"))
    assert log == ["clock", cast, "wait", "clock"] * 3


def test_network_and_data_lie_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class There(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(7, 10))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.extend([inputs.device.type, self.weight.device.type])
            return inputs @ self.weight

    entropy = choose.functional.cross_entropy

    def watched(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(labels.device.type)
        return entropy(logits, labels)

    monkeypatch.setattr(choose, "build_replicates", lambda *arguments: There())
    monkeypatch.setattr(choose.functional, "cross_entropy", watched)
    monkeypatch.setattr(torch, "autocast", lambda *arguments, enabled: contextlib.nullcontext())
    choose.step_seconds(TINY, (7,), 10, 5, "float32", 2, torch.device("meta"), ALONE, 1)
    assert seen == ["meta"] * 3
