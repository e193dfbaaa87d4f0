"""Autotunes grouping and memory layout: seeds as one grouped network or one after another, images channels-last or not.

A warm-up times a few steps on random weights and zeros, on a network with one block per stage of the same widths. It
is held below a share of the time that its trial would train with the usual choice (grouped, channels-last); a trial too
short for one takes that choice unmeasured. It is left only for one that is clearly faster. Another choice rounds
otherwise, so a study puts down what was chosen (`Settle`); the machine remembers it (`ressearch.remembered`).
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build_replicates
from ressearch.networks.cost import cost, input_channels
from ressearch.remembered import recall, remembered
from ressearch.shapes import Shape
from ressearch.training.recipe import Recipe

MOST_SHARE = 0.05
"""The most that a warm-up may take, as a share of the time that its trial would train with the usual choice."""
_CLEARLY = 0.75
"""Another choice must take less than this share of the usual one's time."""
_STEPS, _ROUNDS = 2, 2
_BUILDING = 4
"""Steps that building the timed networks is reckoned as."""
_MOST_TIMED = 4
"""Replicates that are timed; more behave alike."""
_ENOUGH = 0.1
"""Seconds after which a step is timed by its first run: what a first run costs besides is little beside it."""

clock = time.perf_counter


class Choice(NamedTuple):
    """How to run the replicates of a trial."""

    is_grouped: bool
    channels_last: bool


Settle = Callable[[str, Callable[[], Choice]], Choice]
"""Given a shape (`Probe.shape`) and a function that measures, returns the choice on record for the shape; where there
is none, the measured one, which it puts on record."""


class Probe(NamedTuple):
    """What a warm-up times, and for whom.

    Attributes:
        architecture: one block per stage, of the widths of the trial's network.
        input_shape: one input's, without the batch.
        classes: number of classes.
        batch_size: examples of a step.
        precision: the recipe's.
        replicates: how many are timed together.
        device: where.
        choices: what there is to choose from, the usual choice first.
        work: steps of the trial, in steps of the probe.
    """

    architecture: Architecture
    input_shape: Shape
    classes: int
    batch_size: int
    precision: str
    replicates: int
    device: torch.device
    choices: tuple[Choice, ...]
    work: float

    @property
    def shape(self) -> str:
        """What networks have in common that run alike on every machine, as JSON."""
        question = self._asdict() | {"architecture": self.architecture.name}
        return json.dumps({key: question[key] for key in question if key not in ("device", "work")}, sort_keys=True)

    @property
    def is_worthwhile(self) -> bool:
        """Whether the trial is so long that a whole warm-up stays below its share; a count, on every machine alike."""
        return self.work * MOST_SHARE >= warm_up_steps(len(self.choices))


def warm_up_steps(choices: int) -> int:
    """Return what a whole warm-up is reckoned to take, in steps with the usual choice: timing, and building."""
    return choices * _STEPS * _ROUNDS + _BUILDING


def usual(input_shape: Shape, recipe: Recipe) -> tuple[Choice, ...]:
    """Return the ways in which the recipe lets a trial run, the usual one first."""
    is_image = len(input_shape) == 3
    grouped: tuple[bool, ...] = (recipe.replicates != "separate",)
    if recipe.replicates == "auto":
        grouped = (True, False)
    # The gradient scaler of float16 skips a step for all replicates at once, which they would not do alone.
    if len(recipe.seeds) == 1 or recipe.precision == "float16":
        grouped = (False,)
    layouts = (True, False) if recipe.channels_last == "auto" and is_image else (recipe.channels_last is not False,)
    return tuple(itertools.starmap(Choice, itertools.product(grouped, layouts)))


def probe(
    architecture: Architecture, input_shape: Shape, classes: int, recipe: Recipe, device: torch.device, examples: int
) -> Probe | None:
    """Return what to time for a trial; None if its recipe or its network leaves no choice. Arguments as of `choose`."""
    choices = usual(input_shape, recipe)
    if len(choices) == 1:
        return None
    try:
        one_block = architecture.replace(depths=(1,) * len(architecture.depths), widths=_widths(architecture))
        ratio = cost(architecture, input_shape, classes).macs / cost(one_block, input_shape, classes).macs
    except ArchitectureError:
        return None
    replicates, batch_size = min(_MOST_TIMED, len(recipe.seeds)), min(recipe.batch_size, examples)
    steps = recipe.epochs * (examples // batch_size)
    return Probe(
        one_block,
        input_shape,
        classes,
        batch_size,
        recipe.precision,
        replicates,
        device,
        choices,
        work=steps * ratio * len(recipe.seeds) / replicates,
    )


def choose(
    architecture: Architecture,
    input_shape: Shape,
    classes: int,
    recipe: Recipe,
    device: torch.device,
    examples: int,
    settle: Settle | None = None,
) -> Choice:
    """Return how to run the seeds of a trial: what the recipe says, and by a warm-up where it says ``auto``.

    Args:
        architecture: what the trial trains.
        input_shape: one input's, without the batch.
        classes: number of classes.
        recipe: how it trains.
        device: where it trains.
        examples: to train on; few of them, for few epochs, are no reason to measure.
        settle: the choices that a study has on record; None knows those of this machine alone.
    """
    question = probe(architecture, input_shape, classes, recipe, device, examples)
    if question is None or not question.is_worthwhile:
        return usual(input_shape, recipe)[0]

    def make() -> Choice:
        found = remembered(_key(question), lambda: _fastest(question))
        return question.choices[0] if found is None else Choice(*found)

    return settle(question.shape, make) if settle is not None else make()


def expect(
    architecture: Architecture, input_shape: Shape, classes: int, recipe: Recipe, device: torch.device, examples: int
) -> Choice:
    """Return what `choose` would, as far as this machine knows it: the usual choice where it has not measured yet."""
    question = probe(architecture, input_shape, classes, recipe, device, examples)
    known = recall(_key(question)) if question is not None and question.is_worthwhile else None
    return Choice(*known) if known is not None else usual(input_shape, recipe)[0]


def _widths(architecture: Architecture) -> tuple[int, ...] | None:
    return None if dict(architecture.skip_options).get("growth_rate") else architecture.widths


def _key(question: Probe) -> dict[str, object]:
    device = question.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"shape": question.shape, "threads": torch.get_num_threads(), "device": name}


def _fastest(question: Probe) -> Choice | None:
    """Time the choices in turns; None if that would take more than the trial's share of time."""
    began = clock()
    first, *others = question.choices
    seconds = dict.fromkeys(question.choices, math.inf)
    candidates = list(question.choices)
    for _ in range(_ROUNDS):  # in turns, so that what else the machine does hits all alike
        for choice in candidates:
            seconds[choice] = min(seconds[choice], _time(question, choice))
            # Seconds of a replicate's step, times the trial's steps and replicates.
            allowed = MOST_SHARE * seconds[first] * question.work * question.replicates
            if clock() - began > allowed:
                return None
        candidates = [first, *(one for one in others if seconds[one] < _CLEARLY * seconds[first])]
        if len(candidates) == 1:
            return first
    return min(candidates, key=seconds.__getitem__)


def _time(question: Probe, choice: Choice) -> float:
    """Return a replicate's share of a step in seconds; infinite where memory does not hold it."""
    try:
        return step_seconds(*question[:7], choice, _STEPS)
    except (torch.OutOfMemoryError, MemoryError):
        return math.inf


def step_seconds(
    architecture: Architecture,
    input_shape: Shape,
    classes: int,
    batch_size: int,
    precision: str,
    replicates: int,
    device: torch.device,
    choice: Choice,
    steps: int = 3,
) -> float:
    """Return the least time of some forward and backward passes on random weights and zeros, per replicate, in seconds.

    On a CPU a step that takes `_ENOUGH` is not repeated.
    """
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
    least = math.inf
    for _ in range(steps):
        start = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision in ("bfloat16", "float16")):
            logits = network(inputs)
        functional.cross_entropy(logits.float().view(-1, classes), labels).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        least = min(least, clock() - start)
        if device.type == "cpu" and least > _ENOUGH:
            break
    return least / together
