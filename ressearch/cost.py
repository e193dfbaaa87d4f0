"""What an architecture costs, without building it: the layers of its plan say it themselves."""

from __future__ import annotations

import functools

from ressearch.architecture import Architecture
from ressearch.errors import ArchitectureError
from ressearch.layers import Cost, Shape
from ressearch.network import Residual, plan

__all__ = ["Cost", "cost"]


def cost(
    architecture: Architecture, input_shape: Shape = (3, 32, 32), num_classes: int | None = None
) -> Cost:
    """Return the exact cost of `architecture` for one input of `input_shape`.

    Args:
        architecture: the network.
        input_shape: (channels, height, width), without the batch.
        num_classes: outputs; None as in `ressearch.build`.

    Returns:
        `Cost(params, macs, activations)`. MACs count convolutions and linear layers, bias additions included (as
        pycls counts); FLOPs = 2 x MACs.

    Raises:
        ArchitectureError: the fields do not fit each other or the input.

    Example:
        >>> cost(Architecture.preset("resnet56-cifar"), input_shape=(3, 32, 32)).params
        855770
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or any(not isinstance(side, int) or side < 1 for side in shape):
        raise ArchitectureError(f"input shape {shape} is not (channels, height, width), such as (3, 32, 32)")
    total = Cost()
    for part in plan(architecture, shape[0], num_classes).parts:
        part_cost, shape = _residual_cost(part, shape) if isinstance(part, Residual) else part.trace(shape)
        total = total + part_cost
    return total


@functools.lru_cache(maxsize=4096)
def _residual_cost(unit: Residual, shape: Shape) -> tuple[Cost, Shape]:
    return unit.trace(shape)
