"""A latency predictor for millions of networks: a table of measured layers, calibrated on whole measured networks.

Every layer of networks drawn from a space is measured alone (`ressearch.networks.layer_times`); what was not is
interpolated. Other networks of the space, measured whole, say how layers take their time in company: a factor for each
of four groups of layers, a constant for each residual unit and one for the network, none of them negative. So a
prediction is a sum over the parts of a plan, each of which is worked out once however many networks have it:

    latency = overhead + sum(count x part(part, shape of its input))

Its error is that of networks which the calibration did not see (cross-validation). A final candidate is still worth a
measurement (`ressearch.networks.latency.measure_latency`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ressearch.errors import ResourceError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import cost, input_channels
from ressearch.networks.latency import build_for_timing, device_name, find_device, resolve_threads, time_passes
from ressearch.networks.layer_times import Interpolation, Op, Surface, measure_op, ops
from ressearch.networks.plan import Block, Part, plan
from ressearch.remembered import keep, recall
from ressearch.shapes import Shape

__all__ = ["HeldOut", "LatencyModel", "fit_latency_model", "latency_model"]

BUDGET_SECONDS = 120.0
"""Seconds that measuring for a fit takes, about."""
_SHARE_OF_LAYERS = 0.5
"""Share of the budget that layers get; whole networks get the rest."""
_ROUNDS = 4
"""How often everything is measured, some time apart; the least disturbed round counts."""
_SECONDS_OF_A_NETWORK = 0.1
"""Seconds that a network is run for in a round."""
_MOST_NETWORKS = 120
_LEAST_NETWORKS = 12
_FOLDS = 6
_SHRINKAGE = 0.05
"""How much the factors are drawn to 1, as a share of a network's weight."""

_GROUPS = {"Conv": "conv", "Linear": "linear", "Norm": "norm", "Activation": "activation"}
_FACTORS = ("conv", "linear", "norm", "activation", "other")
_MICRO = 1e-6


class HeldOut(NamedTuple):
    """Relative errors on networks that were not fitted to.

    Attributes:
        median, high: the median, and the quantile that nine in ten networks stay below, of |predicted / measured - 1|.
        networks: how many there were.
    """

    median: float
    high: float
    networks: int

    def __str__(self) -> str:
        return f"held-out error {self.median:.1%} (nine in ten below {self.high:.1%}; {self.networks} networks)"


class Samples(Protocol):
    """What a model is fitted to, such as a `ressearch.SearchSpace`."""

    @property
    def input_shape(self) -> Shape:
        """One input's, without the batch."""

    @property
    def num_classes(self) -> int | None:
        """Outputs; None as in `ressearch.build`."""

    def sample(self, n: int, seed: int = 0) -> list[Architecture]:
        """Draw networks at random."""


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Predicts the latency of one batch on one device with a number of threads.

    Attributes:
        overhead: seconds of a network beside its parts.
        per_unit: seconds of a residual unit beside its layers.
        factors: what the time of layers alone is multiplied by, for each group of layers.
        table: seconds of measured calls, alone, by `Op.key`.
        interpolation: of calls that were not measured.
        error: on networks that it was not fitted to.
        batch_size, device, threads: what was measured, as in `Latency`.
    """

    overhead: float
    per_unit: float
    factors: Mapping[str, float]
    table: Mapping[str, float]
    interpolation: Interpolation
    error: HeldOut
    batch_size: int
    device: str
    threads: int
    _ops: dict[str, float] = field(default_factory=dict, repr=False)
    _parts: dict[tuple[Part, Shape], float] = field(default_factory=dict, repr=False)

    def predict(
        self, architecture: Architecture, input_shape: Shape = (3, 32, 32), num_classes: int | None = None
    ) -> float:
        """Return the expected seconds of a forward pass; arguments and errors as of `ressearch.cost`."""
        cost(architecture, input_shape, num_classes)  # refuses in words what does not fit
        return self.overhead + sum(
            count * self.part(part, shape) for part, count, shape in _walk(architecture, input_shape, num_classes)
        )

    def part(self, part: Part, shape: Shape) -> float:
        """Return the expected seconds of one part of a plan for inputs of `shape` (without the batch)."""
        known = self._parts.get((part, shape))
        if known is None:
            known = sum(self.factors[_group(op)] * self._op(op) for op in ops(part, shape))
            known += self.per_unit * _units(part)
            self._parts[part, shape] = known
        return known

    def _op(self, op: Op) -> float:
        key = op.key
        seconds = self._ops.get(key)
        if seconds is None:
            seconds = self._ops[key] = self.table.get(key) or self.interpolation.seconds(op)
        return seconds

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        surfaces = {kind: _surface_to_json(one) for kind, one in self.interpolation.surfaces.items()}
        return {**plain, "error": self.error._asdict(), "surfaces": surfaces}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LatencyModel:
        """Undo `to_json`."""
        surfaces = {kind: _surface_from_json(one) for kind, one in values["surfaces"].items()}
        plain = {name: values[name] for name in _PLAIN}
        return cls(**plain, interpolation=Interpolation(surfaces), error=HeldOut(**values["error"]))


_PLAIN = ("overhead", "per_unit", "factors", "table", "batch_size", "device", "threads")


def latency_model(
    space: Samples,
    *,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    batch_size: int = 1,
    budget_seconds: float = BUDGET_SECONDS,
) -> LatencyModel:
    """Return the model of a space on a device, fitted there once and kept by device. As `fit_latency_model`."""
    where = find_device(device)
    question = {
        "latency model": [one.to_json() for one in space.sample(20, seed=0)],
        "input_shape": list(space.input_shape),
        "num_classes": space.num_classes,
        "batch_size": batch_size,
        "device": device_name(where),
        "threads": resolve_threads(where, threads),
    }
    if (known := recall(question)) is not None:
        return LatencyModel.from_json(known)
    model = fit_latency_model(
        space, device=where, threads=threads, batch_size=batch_size, budget_seconds=budget_seconds
    )
    keep(question, model.to_json())
    return model


def fit_latency_model(
    space: Samples,
    *,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    batch_size: int = 1,
    budget_seconds: float = BUDGET_SECONDS,
    seed: int = 0,
) -> LatencyModel:
    """Measure layers and networks of a space, and fit a model to them.

    Args:
        space: whose networks are drawn at random, with the input's shape and the classes: a `SearchSpace`.
        device: where to measure.
        threads: that torch computes with on a CPU; None: as many as now.
        batch_size: inputs at once.
        budget_seconds: that measuring takes, about; a few networks are measured however short it is.
        seed: of the draws.

    Raises:
        ResourceError: torch knows no such device here, or the space holds too few networks to fit to.
    """
    where = find_device(device)
    threads = resolve_threads(where, threads)
    found = _measure(space, _Bench(batch_size, where, threads), budget_seconds, seed)
    table, times = found.table, found.networks
    interpolation = Interpolation.fit([(found.calls[key], seconds) for key, seconds in table.items()])
    alone = LatencyModel(
        0.0,
        0.0,
        dict.fromkeys(_FACTORS, 1.0),
        table,
        interpolation,
        HeldOut(0.0, 0.0, 0),
        batch_size,
        device_name(where),
        threads,
    )
    terms = np.array([_terms(alone, one, space.input_shape, space.num_classes) for one in times])
    seconds = np.array(list(times.values()))
    weights = _calibrate(terms, seconds)
    return LatencyModel(
        overhead=float(weights[-1]) * _MICRO,
        per_unit=float(weights[-2]) * _MICRO,
        factors=dict(zip(_FACTORS, map(float, weights), strict=False)),
        table=table,
        interpolation=interpolation,
        error=_held_out(terms, seconds),
        batch_size=batch_size,
        device=alone.device,
        threads=threads,
    )


def _draw(space: Samples, seed: int) -> list[Architecture]:
    """Return distinct networks: every second one is measured whole, the layers of the others alone."""
    drawn = list(dict.fromkeys(space.sample(4 * _MOST_NETWORKS, seed=seed)))[: 3 * _MOST_NETWORKS]
    if len(drawn) < 2 * _LEAST_NETWORKS:
        raise ResourceError(
            f"a latency model needs {2 * _LEAST_NETWORKS} different networks to fit to; the space gave {len(drawn)}: "
            "measure them instead"
        )
    return drawn


class _Measured(NamedTuple):
    """What a fit has measured: calls by key, their seconds, and networks with theirs."""

    calls: dict[str, Op]
    table: dict[str, float]
    networks: dict[Architecture, float]


def _measure(space: Samples, bench: _Bench, budget_seconds: float, seed: int) -> _Measured:
    """Measure layers and networks in turn, in rounds: in each, everything is measured under much the same load.

    The first round takes as many networks as its share of the budget allows, the others measure the same again; the
    quickest round of each counts, which other processes disturbed the least.
    """
    drawn = _draw(space, seed)
    share = budget_seconds / _ROUNDS
    found = _Measured({}, {}, {})
    start = time.monotonic()
    for number, one in enumerate(drawn[1::2]):
        if number >= _LEAST_NETWORKS // 2 and time.monotonic() - start > _SHARE_OF_LAYERS * share:
            break
        for part, _, shape in _walk(one, space.input_shape, space.num_classes):
            for op in ops(part, shape):
                if (key := op.key) not in found.calls:
                    found.calls[key], found.table[key] = op, bench.measure(op)
    for number, one in enumerate(drawn[::2][:_MOST_NETWORKS]):
        if number >= _LEAST_NETWORKS and time.monotonic() - start > share:
            break
        found.networks[one] = bench.measure_network(one, space)
    for _ in range(_ROUNDS - 1):
        for key, op in found.calls.items():
            found.table[key] = min(found.table[key], bench.measure(op))
        for one in found.networks:
            found.networks[one] = min(found.networks[one], bench.measure_network(one, space))
    return found


class _Bench(NamedTuple):
    """Where and how a fit measures."""

    batch_size: int
    device: torch.device
    threads: int

    def measure(self, op: Op) -> float:
        """Return the seconds of a call."""
        return measure_op(op, self.batch_size, self.device, self.threads)

    def measure_network(self, architecture: Architecture, space: Samples) -> float:
        """Return the median seconds of a network over a tenth of a second."""
        network = build_for_timing(architecture, space.input_shape, space.num_classes, self.device)
        inputs = torch.zeros(self.batch_size, *space.input_shape, device=self.device)
        return float(np.median(time_passes(lambda: network(inputs), self.threads or 1, _SECONDS_OF_A_NETWORK)))


def _walk(architecture: Architecture, input_shape: Shape, num_classes: int | None) -> Iterator[tuple[Part, int, Shape]]:
    """Yield the parts of a network, how often each, and the shape that enters it."""
    shape = tuple(input_shape)
    for part, count in plan(architecture, input_channels(shape), num_classes).parts:
        yield part, count, shape
        shape = part.trace(shape)[1]


def _group(op: Op) -> str:
    return _GROUPS.get(type(op.layer).__name__, "other")


def _units(part: Part) -> int:
    return len(part.units) if isinstance(part, Block) else 0


def _terms(alone: LatencyModel, architecture: Architecture, input_shape: Shape, num_classes: int | None) -> list[float]:
    """Return what a network's time is a weighted sum of: seconds of each group, of its units, of itself."""
    sums, units = dict.fromkeys(_FACTORS, 0.0), 0
    for part, count, shape in _walk(architecture, input_shape, num_classes):
        units += count * _units(part)
        for op in ops(part, shape):
            sums[_group(op)] += count * alone._op(op)
    return [*sums.values(), _MICRO * units, _MICRO]


def _calibrate(terms: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of terms, none negative, of the least squared relative errors; factors are drawn to 1."""
    from scipy.optimize import nnls

    ridge = np.sqrt(_SHRINKAGE * len(seconds)) * np.eye(len(_FACTORS), terms.shape[1]) / len(_FACTORS)
    rows = np.vstack([terms / seconds[:, None], ridge])
    weights: NDArray[np.float64] = nnls(rows, np.concatenate([np.ones(len(seconds)), ridge.sum(1)]))[0]
    return weights


def _held_out(terms: NDArray[np.float64], seconds: NDArray[np.float64]) -> HeldOut:
    """Return the errors on networks that the weights were not fitted to; their layers were measured in others alone."""
    order = list(range(len(seconds)))
    random.Random(0).shuffle(order)
    errors: list[float] = []
    for fold in range(_FOLDS):
        out = order[fold::_FOLDS]
        kept = sorted(set(order) - set(out))
        weights = _calibrate(terms[kept], seconds[kept])
        errors += list(np.abs(terms[out] @ weights / seconds[out] - 1))
    return HeldOut(float(np.median(errors)), float(np.quantile(errors, 0.9)), len(errors))


def _surface_to_json(surface: Surface) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in surface._asdict().items()}


def _surface_from_json(values: Mapping[str, Any]) -> Surface:
    return Surface(*(np.array(values[name]) for name in Surface._fields))
