"""What the layers of a network take, each measured alone: the table that a latency model reads, and its interpolation.

An `Op` is one call of the network's forward pass: a layer, or the meeting of two paths, with the shape that enters it.
`ops` finds the calls of a part in the description that modules and costs are made from. `measure_op` times one of them.
`Interpolation` answers for calls that were not measured, from those of their kind that were: a Gaussian process over
the logarithms of what describes a call, so that times are interpolated in proportion, not in seconds.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ressearch.networks.latency import time_briefly
from ressearch.networks.layers import Layer, Layers
from ressearch.networks.merges import Merge, Place
from ressearch.networks.plan import Block, Chain, Part, Residual
from ressearch.shapes import Shape

_CHANNEL_BLOCK = 16
"""Channels that vector units take at once; a width that is no multiple of it leaves some of them idle."""
_LEAST_MEASURED = 6
"""Calls of one kind that an interpolation needs; for fewer, kinds with few calls share one."""


_MOST_FITTED = 150
"""Calls that one interpolation is fitted to; its cost grows with their cube."""
_LEAST_SINGULAR = 1e-3
"""Directions of the features with less than this share of the largest are not told apart by a straight line."""


class Op(NamedTuple):
    """One call in a forward pass.

    Attributes:
        layer: what is called.
        shape: of one input; of a merge: of F(x), which its shortcut has as well unless the two are concatenated.
        x_shape: of a merge, the shape of x; None for a layer.
    """

    layer: Layer | Merge
    shape: Shape
    x_shape: Shape | None = None

    @property
    def kind(self) -> str:
        """What is of one kind can be interpolated: the layer's type and its choices that are no numbers."""
        texts = [str(value) for value in _fields(self.layer).values() if isinstance(value, str)]
        if (kernel := getattr(self.layer, "kernel", None)) is not None:
            grouped = getattr(self.layer, "groups", 1) > 1
            texts.append("grouped" if grouped else "1x1" if kernel == 1 else "kxk")
        return " ".join([type(self.layer).__name__, *texts, f"{len(self.shape)}d"])

    @property
    def key(self) -> str:
        """Names the call, so that equal calls are measured once."""
        fields = ", ".join(f"{name}={value}" for name, value in _fields(self.layer).items())
        shapes = "x".join(map(str, self.shape)) + (
            "" if self.x_shape is None else "+" + "x".join(map(str, self.x_shape))
        )
        return f"{type(self.layer).__name__}({fields}) {shapes}"

    @property
    def features(self) -> list[float]:
        """What its time may depend on, as logarithms of counts."""
        if isinstance(self.layer, Merge):
            cost, out = self.layer.trace(self.x_shape or self.shape, self.shape)
        else:
            cost, out = self.layer.trace(self.shape)
        return [
            math.log1p(cost.macs),
            math.log(math.prod(self.shape)),
            math.log(math.prod(out)),
            math.log1p(cost.params),
            math.log(_channels(self.shape)),
            math.log(_channels(out)),
            math.log(_idle(_channels(self.shape))),
            math.log(_idle(_channels(out))),
            math.log(getattr(self.layer, "groups", 1)),
            math.log(getattr(self.layer, "kernel", 1)),
        ]


def _fields(layer: Layer | Merge) -> dict[str, Any]:
    """Return a layer's choices; functions of a unit's place change constants, not times."""
    values = {one.name: getattr(layer, one.name) for one in dataclasses.fields(layer)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if not callable(value)}


def _channels(shape: Shape) -> int:
    return shape[0] if len(shape) == 3 else shape[-1]


def _idle(channels: int) -> float:
    """Return how many times the channels' share of vector units is what they would need."""
    return -(-channels // _CHANNEL_BLOCK) * _CHANNEL_BLOCK / channels


def ops(part: Part, shape: Shape) -> Iterator[Op]:
    """Yield the calls of a part for one input of `shape`, in order."""
    if isinstance(part, Chain):
        yield from _chain(part.layers, shape)
    elif isinstance(part, Block):
        for unit in part.units:
            yield from _unit(unit, shape)
            shape = unit.trace(shape)[1]
    else:
        raise TypeError(f"a {type(part).__name__} is no chain of layers and no block")


def _chain(layers: Layers, shape: Shape) -> Iterator[Op]:
    for layer in layers:
        yield Op(layer, shape)
        shape = layer.trace(shape)[1]


def _end(layers: Layers, shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.trace(shape)[1]
    return shape


def _unit(unit: Residual, shape: Shape) -> Iterator[Op]:
    yield from _chain(unit.before, shape)
    shape = _end(unit.before, shape)
    yield from _chain(unit.branch, shape)
    out = _end(unit.branch, shape)
    if unit.merge is not None:
        yield from _chain(unit.shortcut, shape)
        yield Op(unit.merge, out, shape)
        out = unit.merge.trace(shape, out)[1]
    yield from _chain(unit.after, out)


def measure_op(op: Op, batch_size: int, device: torch.device, threads: int) -> float:
    """Return the seconds of one call, alone, with random weights and inputs."""
    with torch.random.fork_rng():
        if isinstance(op.layer, Merge):
            module = op.layer.module(Place(1, 3))
            x = torch.rand(batch_size, *(op.x_shape or op.shape))
            residual = torch.rand(batch_size, *op.shape)
            inputs = [x, residual if op.layer.adds else x, residual]
        else:
            module, inputs = op.layer.module(), [torch.rand(batch_size, *op.shape)]
    module, inputs = module.to(device).eval(), [one.to(device) for one in inputs]
    return time_briefly(lambda: module(*inputs), threads or 1)


class Interpolation:
    """Times of calls that were not measured, from measured ones of their kind.

    For each kind a Gaussian process over the standardised features of its calls (an RBF kernel with a length for each
    feature, and noise, by maximum likelihood; Rasmussen and Williams 2006, chapters 2 and 5) tells what the logarithm
    of seconds is beside a straight line through them. A kind with few calls shares the surface of all.

    Args:
        surfaces: by kind, as `fit` makes them; the one of all kinds under ``""``.
    """

    def __init__(self, surfaces: Mapping[str, Surface]) -> None:
        self.surfaces = dict(surfaces)

    @classmethod
    def fit(cls, measured: Sequence[tuple[Op, float]]) -> Interpolation:
        """Fit to calls with their seconds."""
        by_kind: dict[str, list[tuple[Op, float]]] = {"": list(measured)}
        for op, seconds in measured:
            by_kind.setdefault(op.kind, []).append((op, seconds))
        enough = {kind: several for kind, several in by_kind.items() if not kind or len(several) >= _LEAST_MEASURED}
        return cls({kind: fit_surface(several) for kind, several in enough.items()})

    def seconds(self, op: Op) -> float:
        """Return the expected seconds of a call."""
        surface = self.surfaces.get(op.kind) or self.surfaces[""]
        return surface.seconds(np.array(op.features))


class Surface(NamedTuple):
    """One Gaussian process: log seconds over features.

    Attributes:
        mean, scale: of the features, shape (features,); what they are standardised by.
        line: intercept and slopes, shape (1 + features,).
        variance: of the process about the line, shape ().
        points: standardised features of the measured calls, in lengths of the kernel, shape (calls, features).
        length: of the kernel along each feature, shape (features,).
        weights: of the calls, shape (calls,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    line: NDArray[np.float64]
    variance: NDArray[np.float64]
    points: NDArray[np.float64]
    length: NDArray[np.float64]
    weights: NDArray[np.float64]

    def seconds(self, features: NDArray[np.float64]) -> float:
        """Return the expected seconds of a call with these features, shape (features,)."""
        point = (features - self.mean) / self.scale
        distance = ((self.points - point / self.length) ** 2).sum(1)
        bump = self.variance * np.exp(-0.5 * distance) @ self.weights
        return float(np.exp(self.line[0] + point @ self.line[1:] + bump))


def fit_surface(measured: Sequence[tuple[Op, float]]) -> Surface:
    """Fit the process of one kind to calls with their seconds."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    chosen = measured[:: max(1, -(-len(measured) // _MOST_FITTED))]
    features = np.array([op.features for op, _ in chosen])
    mean, scale = features.mean(0), features.std(0)
    scale[scale < 1e-9] = 1.0
    points = (features - mean) / scale
    target = np.log([seconds for _, seconds in chosen])
    with_ones = np.hstack([np.ones((len(points), 1)), points])
    line = np.linalg.lstsq(with_ones, target, rcond=_LEAST_SINGULAR)[0]
    kernel = ConstantKernel(0.1, (1e-4, 1e2)) * RBF(np.full(points.shape[1], 3.0), (0.2, 1e2))
    process = GaussianProcessRegressor(kernel + WhiteKernel(1e-2, (1e-4, 1.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a feature that does not matter has a length at the bound
        process.fit(points, target - with_ones @ line)
    signal = process.kernel_.k1
    length = np.atleast_1d(signal.k2.length_scale)
    return Surface(mean, scale, line, np.array(signal.k1.constant_value), points / length, length, process.alpha_)
