"""What `check` says that a study takes: every phase of it, in bounded time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import ressearch
from ressearch import Architecture, Study, cost
from ressearch.cli import main
from ressearch.networks.cost import Cost
from ressearch.search import estimate
from ressearch.search.estimate import PhasePlan, phase_plans

SEARCH = {
    "space": {"search": {"depth": [8, 14, 20, 26], "width": {"low": 4, "high": 40, "step": 1}}},
    "data": {"name": "synthetic"},
    "recipe": {"epochs": 10, "seeds": 2},
}


def plans(concurrency: int = 4, **search: Any) -> dict[str, PhasePlan]:
    study = Study.from_dict({**SEARCH, "search": {"trials": 20, **search}})
    return phase_plans(study, epoch_seconds=3.0, mean_macs=1e6, concurrency=concurrency)


def test_each_phase_is_priced() -> None:
    found = plans(baseline="random", finalists={"count": 3, "seeds": 5, "epochs": 30})
    assert found == {
        "search": PhasePlan(20, 2, 10, 400, 300.0),
        "baseline": PhasePlan(20, 2, 10, 400, 300.0),
        "final": PhasePlan(4, 5, 30, 600, 450.0),  # the baseline's best, too
    }
    assert plans(finalists={"count": 3})["final"] == PhasePlan(3, 3, 10, 90, 90.0)  # three at once, not four
    assert set(plans()) == {"search"}


@pytest.mark.parametrize(
    ("budget", "epochs"),
    [
        ({"epochs": 120}, 120),
        ({"macs_trained": "0.2T"}, round(0.2e12 / (3 * 1e6 * 360))),
        ({"wall_time": 150}, 200),
        ({"epochs": 9000}, 400),
    ],
)
def test_a_budget_bounds_the_search_and_with_it_the_baseline(budget: dict[str, Any], epochs: int) -> None:
    found = plans(budget=budget, baseline="random")
    assert found["search"].replicate_epochs == epochs
    assert found["search"].seconds == pytest.approx(epochs * 3 / 4, abs=1)
    assert found["baseline"].replicate_epochs == pytest.approx(epochs, abs=10)


def test_check_says_each_phase_and_the_total(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "space: {search: {depth: [8, 14], width: {low: 4, high: 8}}}\n"
        "data: {name: synthetic}\n"
        "recipe: {epochs: 2, seeds: 2}\n"
        "search: {trials: 6, baseline: random, finalists: {count: 2, seeds: 3}}\n"
    )
    main(["check", str(file)])
    out = capsys.readouterr().out
    assert "search     6 trials x 2 seeds x 2 epochs, at most 24 epochs in all, about" in out
    assert "baseline   6 trials x 2 seeds x 2 epochs, at most 24 epochs in all, about" in out
    assert "final      3 trials x 3 seeds x 2 epochs, at most 18 epochs in all, about" in out
    assert "total      15 trials, 66 epochs, about" in out
    found = ressearch.check(Study.from_file(file))
    assert {name: plan["replicate_epochs"] for name, plan in found["phases"].items()} == {
        "search": 24,
        "baseline": 24,
        "final": 18,
    }
    assert found["estimated_seconds"] == pytest.approx(sum(plan["seconds"] for plan in found["phases"].values()))


def _worked(monkeypatch: pytest.MonkeyPatch, study: Study) -> tuple[float, list[float]]:
    """Estimate with a step that takes a nanosecond a MAC; return its seconds and each step's MACs."""
    worked: list[float] = []

    def step_seconds(architecture: Architecture, shape: Any, classes: int, batch: int, *rest: Any, steps: int) -> float:
        macs = 3.0 * cost(architecture, shape, classes).macs * batch
        worked.append(macs * rest[1])  # replicates
        return macs * 1e-9

    monkeypatch.setattr(estimate, "step_seconds", step_seconds)
    space = study.search_space
    priced = [(cost(one, space.input_shape, space.num_classes), one) for one in space.enumerate()]
    priced.sort(key=lambda pair: pair[0].macs)
    return estimate.epoch_seconds(study, priced, torch.get_num_threads()), worked


def test_the_dearest_network_costs_check_no_more_than_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.from_dict(
        {
            "space": {"grid": {"depth": [8, 56, 1202], "width": [4, 64, 256]}},
            "data": {"name": "synthetic"},
            "recipe": {"batch_size": 256, "seeds": 30},
        }
    )
    seconds, worked = _worked(monkeypatch, study)
    assert worked
    assert max(worked) <= 10 * estimate._WORK["cpu"]
    mean_macs = sum(cost(one, (1, 8, 8), 3).macs for one in study.search_space.enumerate()) / 9
    assert seconds == pytest.approx(3 * mean_macs * 256 * 1e-9, rel=0.3)  # one batch an epoch; a step in proportion


def test_where_even_the_cheapest_is_too_dear_its_macs_say_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.from_dict(
        {"space": {"grid": {"depth": [302], "width": [1024]}}, "data": {"name": "synthetic"}, "recipe": {"seeds": 3}}
    )
    (only,) = study.search_space.enumerate()
    macs = cost(only, (1, 8, 8), 3).macs
    assert 3 * 2 * macs > 10 * estimate._WORK["cpu"]
    seconds, worked = _worked(monkeypatch, study)
    assert max(worked) < estimate._WORK["cpu"]
    assert seconds == pytest.approx(5 * 3 * macs * 64 * 1e-9)  # five batches of 64 of the 360 examples


def test_timing_stops_when_the_clock_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])

    def slow(study: Study, architecture: Architecture, examples: int) -> float:
        now[0] += 0.6 * estimate._PATIENCE
        return 1.0

    monkeypatch.setattr(estimate, "_step_seconds", slow)
    study = Study.from_dict({**SEARCH, "search": {"trials": 5}})
    priced = [(Cost(1, macs, 1), Architecture()) for macs in range(1, 100)]
    assert estimate.epoch_seconds(study, priced, 1) > 0
    assert now[0] == 2 * 0.6 * estimate._PATIENCE
    assert math.isfinite(now[0])
