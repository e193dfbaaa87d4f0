"""What an architecture costs, without building it: the layers of its plan say it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ressearch.errors import ArchitectureError, BudgetError
from ressearch.limits import LARGEST_SIDE, short
from ressearch.networks.architecture import Architecture
from ressearch.networks.layers import Cost
from ressearch.networks.plan import plan
from ressearch.shapes import MODALITIES, Shape
from ressearch.units import format_count, parse_count, parse_size

__all__ = ["Budget", "Cost", "PartCost", "breakdown", "cost"]


def cost(architecture: Architecture, input_shape: Shape = (3, 32, 32), num_classes: int | None = None) -> Cost:
    """Return the exact cost of `architecture` for one input of `input_shape`.

    Args:
        architecture: the network.
        input_shape: one input's, without the batch: (channels, height, width), (features,) or (tokens, features).
        num_classes: outputs; 0 for no classifier, None as in `ressearch.build`.

    Returns:
        `Cost(params, macs, activations, saved)`. MACs count convolutions, linear layers and attention's products, bias
        additions included (as pycls counts); FLOPs = 2 x MACs. `Cost.training_memory` bounds memory from below.

    Raises:
        ArchitectureError: the fields do not fit each other or the input.

    Examples:
        >>> cost(Architecture.preset("resnet56-cifar"), input_shape=(3, 32, 32)).params
        855770
    """
    shape = tuple(input_shape)
    check_input(architecture, shape)
    params = macs = activations = saved = 0
    for part, count in plan(architecture, input_channels(shape), num_classes).parts:
        one, shape = part.trace(shape)
        params += one[0] * count
        macs += one[1] * count
        activations += one[2] * count
        saved += one[3] * count
    return Cost(params, macs, activations, saved)


class PartCost(NamedTuple):
    """One row of a network's table: a part of the main path.

    Attributes:
        stage: ``stem``, ``stage 1`` …, ``head``.
        part: what it is, such as ``9 x basic``.
        output_shape: the shape that leaves it.
        cost: what it costs, all its blocks together.
    """

    stage: str
    part: str
    output_shape: Shape
    cost: Cost


def breakdown(
    architecture: Architecture, input_shape: Shape = (3, 32, 32), num_classes: int | None = None
) -> list[PartCost]:
    """Return what each part of the network costs, from stem to head; the costs add up to `cost`.

    Arguments and errors as in `cost`.
    """
    shape = tuple(input_shape)
    check_input(architecture, shape)
    planned = plan(architecture, input_channels(shape), num_classes)
    rows: list[PartCost] = []

    def add(stage: str, part: str, cost: Cost, out: Shape) -> None:
        rows.append(PartCost(stage, part, out, cost))

    price, shape = planned.stem.trace(shape)
    add("stem", architecture.stem, price, shape)
    for number, stage in enumerate(planned.stages, start=1):
        if stage.transition:
            price, shape = stage.transition.trace(shape)
            add(f"stage {number}", "transition", price, shape)
        total, blocks = Cost(), 0
        for block, count in stage.runs:
            price, shape = block.trace(shape)
            total, blocks = total + price.times(count), blocks + count
        add(f"stage {number}", f"{blocks} x {architecture.block}", total, shape)
    price, shape = planned.head.trace(shape)
    named = ("conv", architecture.head_width is not None), ("pool", True), ("classifier", num_classes != 0)
    add("head", ", ".join(part for part, is_there in named if is_there), price, shape)
    return rows


def check_input(architecture: Architecture, shape: Shape) -> None:
    """Raise ArchitectureError if `shape` is not one input's of the architecture's kind: an image's, a vector's, …"""
    axes = MODALITIES[architecture.modality]
    if len(shape) == len(axes) and all(type(side) is int and side > 0 for side in shape):
        if max(shape) > LARGEST_SIDE:
            raise ArchitectureError(f"input shape: {short(max(shape))} is above {LARGEST_SIDE}, the most there can be")
        return
    example = {"image": "(3, 32, 32)", "vector": "(30,)", "sequence": "(64, 16)"}[architecture.modality]
    raise ArchitectureError(
        f"input shape {short(shape)} is not ({', '.join(axes)}), such as {example}: "
        f"block '{architecture.block}' works on {architecture.modality}s"
    )


def input_channels(shape: Shape) -> int:
    """Return the channels of an input's shape (the features of vectors and sequences): `build`'s `in_channels`."""
    return shape[0] if len(shape) == 3 else shape[-1]


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Of a weight on disk, by its type."""

SIZES = ("training_memory", "size")
"""Bounds that are bytes."""

_BOUNDED = ("params", "macs", "activations", *SIZES)


@dataclass(frozen=True)
class Budget:
    """Upper bounds on cost; None is no bound.

    Attributes:
        max_params, max_macs, max_activations: of `Cost`; a number, or a text such as ``20k`` or ``40M``.
        max_training_memory: bytes (or ``2G``) of `Cost.training_memory` with the numbers below.
        max_size: bytes (or ``1MB``) of the parameters, each in `bytes_per_weight`. Batch norm's running statistics are
            not counted.
        batch_size, optimizer_states, bytes_per_number: as `Cost.training_memory` takes them.
        bytes_per_weight: of a parameter on disk, as `BYTES` has it.

    Raises:
        BudgetError: a bound is no count.

    Examples:
        >>> Budget(max_params="20k").max_params
        20000
    """

    max_params: int | str | None = None
    max_macs: int | str | None = None
    max_activations: int | str | None = None
    max_training_memory: int | str | None = None
    max_size: int | str | None = None
    batch_size: int = 64
    optimizer_states: int = 1
    bytes_per_number: int = 4
    bytes_per_weight: int = 4

    def __post_init__(self) -> None:
        for key in (f"max_{field}" for field in _BOUNDED):
            if (bound := getattr(self, key)) is None:
                continue
            try:
                parsed = parse_size(bound) if key.removeprefix("max_") in SIZES else parse_count(bound)
            except ValueError as error:
                raise BudgetError(f"{key}: {error}") from None
            object.__setattr__(self, key, parsed)

    @property
    def bounds(self) -> dict[str, int]:
        """The bounds that are set, by the name of the cost they bound."""
        every = {field: getattr(self, f"max_{field}") for field in _BOUNDED}
        return {field: bound for field, bound in every.items() if bound is not None}

    def value(self, cost: Cost, field: str) -> int:
        """Return one figure of a cost, by the name of a bound; of a cost of columns, a column."""
        if field == "size":
            return cost.params * self.bytes_per_weight
        if field == "training_memory":
            return cost.training_memory(self.batch_size, self.optimizer_states, self.bytes_per_number)
        figure: int = getattr(cost, field)
        return figure

    def allows(self, cost: Cost) -> bool:
        """Return whether `cost` is within every bound."""
        return all(self.value(cost, field) <= bound for field, bound in self.bounds.items())

    def __str__(self) -> str:
        bounds = (f"{field} <= {format_count(bound)}{'B' * (field in SIZES)}" for field, bound in self.bounds.items())
        return ", ".join(bounds) or "no bound"
