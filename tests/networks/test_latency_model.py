"""The latency model on a device that is made up, whose times are known: what it finds out, predicts and keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ressearch import Architecture, SearchSpace
from ressearch.errors import ArchitectureError, ResourceError
from ressearch.networks import latency_model as module
from ressearch.networks.latency_model import HeldOut, LatencyModel, fit_latency_model, latency_model
from ressearch.networks.layer_times import Interpolation, Op, fit_surface, ops
from ressearch.networks.layers import Activation, Conv, Linear, Norm
from ressearch.networks.plan import Block, plan

SHAPE = (3, 8, 8)
SPACE = {
    "block": ["basic", "bottleneck"],
    "blocks_per_stage": {"low": 1, "high": 4},
    "width": {"low": 8, "high": 64, "step": 8},
    "skip": ["none", "identity"],
}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace(SPACE, input_shape=SHAPE, num_classes=10)


@dataclass
class Device:
    """A device whose layers take known times, alone and in company.

    Attributes:
        overhead, per_unit, factors: of its networks.
        now: its clock, in seconds, which measuring moves on.
        disturbed: what measured times are multiplied by, one after the other; then 1.
    """

    overhead: float = 40e-6
    per_unit: float = 5e-6
    factors: dict[type, float] = field(default_factory=lambda: {Conv: 1.25, Norm: 0.75, Activation: 0.5, Linear: 1.5})
    now: float = 0.0
    layer_costs: float = 0.01
    network_costs: float = 0.1
    layers: list[Op] = field(default_factory=list)
    networks: list[Architecture] = field(default_factory=list)
    asked: set[Any] = field(default_factory=set)

    def alone(self, op: Op) -> float:
        """Return the seconds of a call alone."""
        elements = float(np.prod(op.shape))
        macs = op.layer.trace(op.shape)[0].macs if not op.x_shape else 0  # type: ignore[call-arg, arg-type]
        return 1e-6 + 1e-10 * macs + 1e-9 * elements

    def seconds(self, architecture: Architecture) -> float:
        """Return the seconds of a network."""
        total, shape = self.overhead, SHAPE
        for part, count in plan(architecture, 3, 10).parts:
            total += count * self.per_unit * (len(part.units) if isinstance(part, Block) else 0)
            total += sum(count * self.factors.get(type(op.layer), 1.0) * self.alone(op) for op in ops(part, shape))
            shape = part.trace(shape)[1]
        return total

    def measure_op(self, op: Op, *where: Any) -> float:
        self.asked.add(where)
        self.layers.append(op)
        self.now += self.layer_costs
        return self.alone(op) * (1.5 if len(self.layers) % 3 else 1.0)

    def measure_network(self, bench: Any, architecture: Architecture, space: Any) -> float:
        self.asked.add(tuple(bench))
        self.networks.append(architecture)
        self.now += self.network_costs
        return self.seconds(architecture)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    made = Device()
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "measure_op", made.measure_op)
    monkeypatch.setattr(module._Bench, "measure_network", lambda *given: made.measure_network(*given))
    monkeypatch.setattr(module.time, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have interpolations take milliseconds to fit, where it does not matter what they say."""
    monkeypatch.setattr(Interpolation, "fit", classmethod(lambda cls, found: cls({"": fit_surface(found[:12])})))


@pytest.fixture
def model(device: Device, space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> LatencyModel:
    monkeypatch.setattr(module, "measure_op", lambda op, *where: device.alone(op))
    return fit_latency_model(space, threads=1, budget_seconds=60)


def test_networks_that_it_has_not_seen_are_predicted(model: LatencyModel, device: Device, space: SearchSpace) -> None:
    unseen = [one for one in space.sample(60, seed=77) if one not in set(device.networks)]
    errors = [abs(model.predict(one, SHAPE, 10) / device.seconds(one) - 1) for one in unseen]
    assert len(unseen) > 20
    assert np.median(errors) < 0.01
    assert max(errors) < 0.05
    assert model.error.median < 0.01
    assert model.error.high < 0.03
    assert model.error.networks == len(set(device.networks)) >= 30


def test_a_prediction_is_a_sum_over_parts(model: LatencyModel) -> None:
    network = Architecture("bottleneck", (3, 1, 2), (16, 32, 64))
    total, shape = model.overhead, SHAPE
    for part, count in plan(network, 3, 10).parts:
        total += count * model.part(part, shape)
        shape = part.trace(shape)[1]
    assert model.predict(network, SHAPE, 10) == pytest.approx(total, rel=1e-12)
    assert model.overhead > 0
    assert min(model.factors.values()) >= 0
    assert model.per_unit >= 0


def table_model(**changes: Any) -> LatencyModel:
    """A model made by hand: three known times, all others 7 microseconds."""

    class Flat:
        def seconds(self, op: Op) -> float:
            return 7e-6

    factors = {"conv": 2.0, "linear": 3.0, "norm": 5.0, "activation": 11.0, "other": 13.0}
    given: dict[str, Any] = {"overhead": 100e-6, "per_unit": 1e-3, "factors": factors, "table": {}}
    given |= {"interpolation": Flat(), "error": HeldOut(0.05, 0.1, 30), "batch_size": 1, "device": "d", "threads": 1}
    return LatencyModel(**{**given, **changes})


def test_groups_have_their_factors_and_units_their_constant_counted_by_hand() -> None:
    network = Architecture("basic", (2,), (4,))
    # Stem: conv, norm, ReLU. Two blocks of two convs, two norms, two ReLUs and a sum. Head: mean and linear layer.
    convs, norms, relus, others, linears = 1 + 4, 1 + 4, 1 + 4, 2 + 1, 1
    layers = 7e-6 * (2 * convs + 5 * norms + 11 * relus + 13 * others + 3 * linears)
    assert table_model().predict(network, SHAPE, 10) == pytest.approx(100e-6 + 2 * 1e-3 + layers)
    stem = Op(Conv(3, 4, 3), SHAPE)
    known = table_model(table={stem.key: 9e-6})
    assert known.predict(network, SHAPE, 10) == pytest.approx(100e-6 + 2e-3 + layers + 2 * 2e-6)
    assert table_model().predict(network, SHAPE) == table_model().predict(network, SHAPE, 10)


def test_parts_and_calls_are_worked_out_once() -> None:
    model = table_model()
    asked: list[str] = []
    model.interpolation.seconds = lambda op: asked.append(op.key) or 1e-6  # type: ignore[method-assign, func-returns-value]
    network = Architecture("basic", (3,), (4,))
    first = model.predict(network, SHAPE, 10)
    assert len(asked) == len(set(asked)) == 7  # two convs, a norm, a ReLU, a sum, a mean, a linear layer
    assert model.predict(network, SHAPE, 10) == first
    assert len(asked) == 7


def test_a_network_that_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(ArchitectureError, match=r"input shape \(8,\) is not \(channels, height, width\)"):
        table_model().predict(Architecture(), (8,))


@pytest.mark.usefixtures("coarse")
def test_what_is_measured_stays_within_the_budget_and_is_measured_four_times(
    device: Device, space: SearchSpace
) -> None:
    fit_latency_model(space, threads=3, batch_size=2, budget_seconds=20)
    assert device.asked == {(2, torch.device("cpu"), 3)}
    distinct = {op.key for op in device.layers}
    assert len(device.layers) == 4 * len(distinct)
    assert len(device.networks) == 4 * len(set(device.networks))
    assert 16 < device.now < 26
    assert 7 < 0.01 * len(device.layers) < 14  # half of it


@pytest.mark.usefixtures("coarse")
def test_the_quickest_round_counts(device: Device, space: SearchSpace) -> None:
    found = fit_latency_model(space, threads=1, budget_seconds=20)
    quickest: dict[str, float] = {}
    for number, op in enumerate(device.layers, start=1):
        seconds = device.alone(op) * (1.5 if number % 3 else 1.0)
        quickest[op.key] = min(seconds, quickest.get(op.key, seconds))
    assert found.table == pytest.approx(quickest)


@pytest.mark.usefixtures("coarse")
def test_a_dozen_networks_are_measured_however_short_the_time_is(device: Device, space: SearchSpace) -> None:
    found = fit_latency_model(space, threads=1, budget_seconds=0)
    assert len(set(device.networks)) == found.error.networks == 12
    assert found.table


@pytest.mark.usefixtures("coarse")
def test_layers_and_networks_come_from_different_draws(device: Device, space: SearchSpace) -> None:
    fit_latency_model(space, threads=1, budget_seconds=5, seed=4)
    drawn = list(dict.fromkeys(space.sample(480, seed=4)))
    networks = list(dict.fromkeys(device.networks))
    assert networks == drawn[::2][: len(networks)]
    (first, *_) = plan(drawn[1], 3, 10).parts
    assert device.layers[0] == next(ops(first[0], SHAPE))


def test_a_space_of_few_networks_is_refused(device: Device) -> None:
    few = SearchSpace({"depth": [8, 14], "width": 8}, input_shape=SHAPE, num_classes=10)
    with pytest.raises(ResourceError, match=r"needs 24 different networks to fit to; the space gave 2: measure them"):
        fit_latency_model(few)
    with pytest.raises(ResourceError, match="device 'banana' is not here"):
        fit_latency_model(few, device="banana")


def test_a_model_goes_through_json_unchanged(model: LatencyModel) -> None:
    again = LatencyModel.from_json(json.loads(json.dumps(model.to_json())))
    unseen = Architecture("basic", (2, 2), (12, 20))
    assert again.predict(unseen, SHAPE, 10) == pytest.approx(model.predict(unseen, SHAPE, 10), rel=1e-12)
    kept = ("overhead", "per_unit", "factors", "table", "error", "batch_size", "device", "threads")
    assert all(getattr(again, name) == getattr(model, name) for name in kept)


@pytest.mark.usefixtures("coarse")
def test_a_model_is_fitted_once_on_a_device_and_for_what_was_asked(device: Device, space: SearchSpace) -> None:
    first = latency_model(space, threads=1, budget_seconds=5)
    measured = len(device.layers)
    assert latency_model(space, threads=1).to_json() == first.to_json()
    assert len(device.layers) == measured
    other = SearchSpace({**SPACE, "skip": ["rezero"]}, input_shape=SHAPE, num_classes=10)
    for asked, given in ((other, {"threads": 1}), (space, {"threads": 2}), (space, {"threads": 1, "batch_size": 2})):
        found = latency_model(asked, budget_seconds=0, **given)
        assert len(device.layers) > measured
        measured = len(device.layers)
        assert (found.threads, found.batch_size) == (given["threads"], given.get("batch_size", 1))


def test_errors_are_those_of_networks_left_out() -> None:
    generator = np.random.default_rng(0)
    terms = np.hstack([generator.uniform(1e-5, 1e-4, (60, 5)), np.full((60, 2), 1e-6)])
    seconds = terms.sum(1)
    seconds[::10] *= 2  # six that nothing explains
    found = module._held_out(terms, seconds)
    assert found.networks == 60
    assert 0.1 < found.high < 0.6
    assert found.median < 0.15
    assert str(HeldOut(0.0512, 0.2, 60)) == "held-out error 5.1% (nine in ten below 20.0%; 60 networks)"


def test_calibration_finds_positive_weights_and_stays_near_one_where_nothing_is_known() -> None:
    generator = np.random.default_rng(1)
    terms = np.hstack(
        [generator.uniform(1e-5, 1e-4, (40, 5)), generator.uniform(1e-6, 5e-5, (40, 1)), np.full((40, 1), 1e-6)]
    )
    terms[:, 1] = 0  # no linear layers
    weights = np.array([1.2, 1.0, 0.8, 1.1, 0.9, 2.0, 30.0])
    found = module._calibrate(terms, terms @ weights)
    assert terms @ found == pytest.approx(terms @ weights, rel=0.03)
    assert found[1] == pytest.approx(1)
    assert found[0] == pytest.approx(1.2, abs=0.1)
    assert (module._calibrate(terms, terms @ np.array([1, 1, 1, 1, 1, 0, 0])) >= 0).all()
