"""What is faster here: seeds as one grouped network or one after another, images channels-last or not. By measuring.

A short warm-up times a few steps on random numbers, on a network with one block a stage of the same widths. The usual
choice (grouped, channels-last) is left only for one that is clearly faster. What was found is remembered on the machine
(`ressearch.training.remembered`), since another choice rounds otherwise: a repeated study gets the same numbers.
"""

from __future__ import annotations

import functools
import itertools
import time
from typing import NamedTuple

import torch
from torch.nn import functional

from ressearch.architecture import Architecture
from ressearch.cost import input_channels
from ressearch.errors import ArchitectureError
from ressearch.layers import Shape
from ressearch.network import build_replicates
from ressearch.training.recipe import Recipe
from ressearch.training.remembered import remembered

_CLEARLY = 0.75
"""Another choice must take less than this share of the usual one's time."""
_STEPS, _ROUNDS = 2, 2
_MOST_TIMED = 4
"""Replicates that are timed; more behave alike."""


class Choice(NamedTuple):
    """How to run the replicates of a trial."""

    is_grouped: bool
    channels_last: bool


def choose(
    architecture: Architecture, input_shape: Shape, classes: int, recipe: Recipe, device: torch.device
) -> Choice:
    """Return how to run the seeds of a trial: what the recipe says, and by a warm-up where it says ``auto``."""
    is_image = len(input_shape) == 3
    grouped: tuple[bool, ...] = (recipe.replicates != "separate",)
    if recipe.replicates == "auto":
        grouped = (True, False)
    # The gradient scaler of float16 skips a step for all replicates at once, which they would not do alone.
    if len(recipe.seeds) == 1 or recipe.precision == "float16":
        grouped = (False,)
    layouts = (True, False) if recipe.channels_last == "auto" and is_image else (recipe.channels_last is not False,)
    choices = tuple(itertools.starmap(Choice, itertools.product(grouped, layouts)))
    if len(choices) == 1:
        return choices[0]
    try:
        probe = architecture.replace(depths=(1,) * len(architecture.depths), widths=_widths(architecture))
    except ArchitectureError:
        return choices[0]
    return _fastest(
        probe,
        input_shape,
        classes,
        recipe.batch_size,
        recipe.precision,
        min(_MOST_TIMED, len(recipe.seeds)),
        torch.get_num_threads(),
        device,
        choices,
    )


def _widths(architecture: Architecture) -> tuple[int, ...] | None:
    return None if dict(architecture.skip_options).get("growth_rate") else architecture.widths


@functools.lru_cache(maxsize=1024)
def _fastest(
    probe: Architecture,
    input_shape: Shape,
    classes: int,
    batch_size: int,
    precision: str,
    replicates: int,
    threads: int,
    device: torch.device,
    choices: tuple[Choice, ...],
) -> Choice:
    question = {
        "probe": probe.name,
        "input_shape": input_shape,
        "classes": classes,
        "batch_size": batch_size,
        "precision": precision,
        "replicates": replicates,
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "choices": choices,
    }

    def measure() -> list[bool]:
        seconds = dict.fromkeys(choices, float("inf"))
        for _ in range(_ROUNDS):  # in turns, so that what else the machine does hits all alike
            for choice in choices:
                took = step_seconds(probe, input_shape, classes, batch_size, precision, replicates, device, choice)
                seconds[choice] = min(seconds[choice], took)
        usual, fastest = choices[0], min(seconds, key=seconds.__getitem__)
        return list(fastest if seconds[fastest] < _CLEARLY * seconds[usual] else usual)

    return Choice(*remembered(question, measure))


def step_seconds(
    architecture: Architecture,
    input_shape: Shape,
    classes: int,
    batch_size: int,
    precision: str,
    replicates: int,
    device: torch.device,
    choice: Choice,
) -> float:
    """Return the least time of a forward and backward pass on random weights and zeros, a replicate, in seconds."""
    together = replicates if choice.is_grouped else 1
    layout = torch.channels_last if choice.channels_last and len(input_shape) == 3 else torch.contiguous_format
    dtype = torch.float64 if precision == "float64" else torch.float32
    network = build_replicates(architecture, range(together), input_channels(input_shape), classes).to(device, dtype)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]
    channels = input_shape[0] if len(input_shape) == 3 else input_shape[-1]
    shape = (
        (together * channels, *input_shape[1:]) if len(input_shape) == 3 else (*input_shape[:-1], together * channels)
    )
    inputs = torch.zeros(batch_size, *shape, device=device, dtype=dtype).contiguous(memory_format=layout)
    labels = torch.zeros(batch_size * together, dtype=torch.long, device=device)
    least = float("inf")
    for _ in range(1 + _STEPS):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision in ("bfloat16", "float16")):
            logits = network(inputs)
        functional.cross_entropy(logits.float().view(-1, classes), labels).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        least = min(least, time.perf_counter() - start)
    return least / together
