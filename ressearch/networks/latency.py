"""How long a network takes on the device at hand: measured with `torch.utils.benchmark`'s care, and kept by device.

What is kept (`ressearch.remembered`) belongs to one device, number of threads and version of torch, so that a study
that goes on, or a second one, need not measure the same network again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import benchmark

from ressearch.errors import ResourceError
from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build
from ressearch.networks.cost import cost, input_channels
from ressearch.remembered import cpu_model, keep, remembered
from ressearch.shapes import Shape
from ressearch.units import format_milliseconds

__all__ = ["Latency", "device_name", "find_device", "measure_latency"]

MIN_RUN_TIME = 0.5
"""Seconds that a network is run for at the least."""
_LEAST_RUNS = 5
"""A network that takes longer than the time above is run as often as this nevertheless."""


@dataclass(frozen=True)
class Latency:
    """The time of a forward pass of one batch in evaluation mode, measured.

    Attributes:
        median, low, high: seconds: the median over the runs, and their lower and upper quartile.
        runs: timings that these come from (of very quick networks each is the mean of several passes).
        batch_size: inputs at once.
        device: its name: the GPU's, or the processor's.
        threads: that torch computed with, on a CPU.
        exported: whether the torch.export'ed program ran instead of the module.
    """

    median: float
    low: float
    high: float
    runs: int
    batch_size: int
    device: str
    threads: int
    exported: bool

    def __str__(self) -> str:
        low, high = 1e3 * self.low, 1e3 * self.high
        text = f"{format_milliseconds(self.median)} (quartiles {low:.3g} to {high:.3g}, {self.runs} runs)"
        threads = f", {self.threads} {'thread' if self.threads == 1 else 'threads'}" if self.threads else ""
        return f"{text}, batch {self.batch_size}, {self.device}{threads}{', exported' if self.exported else ''}"


def measure_latency(
    architecture: Architecture,
    input_shape: Shape = (3, 32, 32),
    num_classes: int | None = None,
    *,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    exported: bool = False,
    min_run_time: float = MIN_RUN_TIME,
    remember: bool = False,
) -> Latency:
    """Measure a forward pass in evaluation mode: warmed up, synchronised, many times.

    Args:
        architecture: the network, built with random weights (they do not change its time).
        input_shape: one input's, as in `ressearch.cost`.
        num_classes: outputs; None as in `ressearch.build`.
        batch_size: inputs at once.
        device: where, such as ``cpu`` or ``cuda:0``.
        threads: that torch computes with on a CPU, while measuring; None: as many as now.
        exported: run the program that ``ressearch export --to pt2`` writes (`torch.export`) instead of the module.
        min_run_time: seconds to go on for at the least.
        remember: return what this device measured before, if it did. Every measurement is kept for such calls.

    Raises:
        ArchitectureError: the network does not fit the input.
        ResourceError: torch knows no such device here.

    Examples:
        >>> quick = measure_latency(Architecture("mlp", (1,), (4,)), (8,), min_run_time=0.01)
        >>> 0 < quick.low <= quick.median <= quick.high < 1
        True
    """
    cost(architecture, input_shape, num_classes)  # refuses in words what does not fit
    where = find_device(device)
    threads = resolve_threads(where, threads)
    question = {
        "latency": architecture.to_json(),
        "input_shape": list(input_shape),
        "num_classes": num_classes,
        "batch_size": batch_size,
        "device": device_name(where),
        "threads": threads,
        "exported": exported,
    }

    def measure() -> dict[str, Any]:
        network = build_for_timing(architecture, input_shape, num_classes, where)
        inputs = torch.zeros(batch_size, *input_shape, device=where)
        if exported:
            network = torch.export.export(network, (inputs,)).module()
        times = time_passes(lambda: network(inputs), threads or 1, min_run_time)
        low, median, high = (float(one) for one in np.quantile(times, (0.25, 0.5, 0.75)))
        spent = Latency(median, low, high, len(times), batch_size, device_name(where), threads, exported)
        return dataclasses.asdict(spent)

    return Latency(**(remembered(question, measure) if remember else keep(question, measure())))


def time_passes(call: Callable[[], object], threads: int, min_run_time: float) -> list[float]:
    """Return the seconds of each of many calls, after some that warm up; short calls are timed in blocks.

    `torch.utils.benchmark` sets the threads, waits for a GPU before it reads the clock, and chooses the blocks.
    """
    with torch.inference_mode():
        timer = _timer(call, threads)
        timer.timeit(2)
        times = list(timer.blocked_autorange(min_run_time=min_run_time).times)
        while len(times) < _LEAST_RUNS:
            times += timer.timeit(1).times
    return times


def time_briefly(call: Callable[[], object], threads: int, blocks: int = 3, block_time: float = 1e-3) -> float:
    """Return the least mean seconds of a call over a few short blocks of calls: of what other processes disturb least.

    Less is known of the call than `time_passes` tells, but it takes milliseconds.
    """
    with torch.inference_mode():
        timer = _timer(call, threads)
        once = timer.timeit(2).median
        number = max(1, math.ceil(block_time / once)) if once > 0 else 1
        return float(min(timer.timeit(number).median for _ in range(blocks)))


def _timer(call: Callable[[], object], threads: int) -> benchmark.Timer:
    return benchmark.Timer("call()", globals={"call": call}, num_threads=threads)


def find_device(name: torch.device | str) -> torch.device:
    """Return a device that there is here. Raises ResourceError for any other."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        known = ["cpu", *(f"cuda:{at}" for at in range(torch.cuda.device_count()))]
        reason = str(error).splitlines()[0].split(".")[0]
        raise ResourceError(f"device '{name}' is not here ({reason}); there is {', '.join(known)}") from None
    return device


def device_name(device: torch.device) -> str:
    """Return what a device is called by who made it: a GPU's name, else the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


def resolve_threads(device: torch.device, threads: int | None) -> int:
    """Return the threads that count for a measurement: none where the device is no CPU."""
    if device.type != "cpu":
        return 0
    return torch.get_num_threads() if threads is None else threads


def build_for_timing(
    architecture: Architecture, input_shape: Shape, num_classes: int | None, device: torch.device
) -> nn.Module:
    with torch.random.fork_rng():
        return build(architecture, input_channels(input_shape), num_classes).to(device).eval()
