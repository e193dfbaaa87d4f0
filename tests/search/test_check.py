"""The whole of what `check` returns, its steps timed by a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ressearch
from ressearch import Architecture, Study, cost
from ressearch.search import estimate
from ressearch.search.drawing import Drawing
from ressearch.search.estimate import known_networks

GRID = {"grid": {"depth": [8, 11, 14], "width": [4, 8], "block": ["basic", "bottleneck"]}}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Each timed step; it takes 2 ms, 1 ms for each layer of depth and 1 ns for each MAC of a network."""
    timed: list[tuple[Any, ...]] = []

    def step_seconds(
        architecture: Architecture,
        shape: Any,
        classes: int,
        batch: int,
        precision: str,
        replicates: int,
        device: Any,
        choice: Any,
        *,
        steps: int,
    ) -> float:
        timed.append((architecture.depth, shape, classes, batch, precision, replicates, device.type, steps))
        return 2e-3 + 1e-3 * architecture.depth + 1e-9 * cost(architecture, shape, classes).macs

    monkeypatch.setattr(estimate, "step_seconds", step_seconds)
    return timed


def entry(network: Architecture) -> dict[str, Any]:
    price = cost(network, (1, 8, 8), 3)
    return {
        "name": network.name,
        "depth": network.depth,
        "params": price.params,
        "macs": price.macs,
        "activations": price.activations,
    }


def test_check_says_all_of_a_grid(steps: list[tuple[Any, ...]]) -> None:
    study = Study.from_dict(
        {
            "name": "mine",
            "space": GRID,
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 3, "seeds": 6, "batch_size": 100},
            "resources": {"cpus_per_trial": 1, "concurrency": 1},
        }
    )
    networks = list(study.search_space.enumerate())
    assert len(networks) == 6  # basic 8 and 14, bottleneck 11, each at two widths
    found = ressearch.check(study)
    macs = {one: cost(one, (1, 8, 8), 3).macs for one in networks}
    by_macs = sorted(networks, key=macs.__getitem__)
    # The six steps lie on the plane that is fitted, so the mean is theirs; 360 examples are 3 batches of 100.
    mean = sum(2e-3 + 1e-3 * one.depth + 1e-9 * macs[one] for one in networks) / 6
    seconds = round(6 * 6 * 3 * 3 * mean, 1)
    assert found["cheapest"] | entry(by_macs[0]) == found["cheapest"]
    assert found["dearest"] | entry(by_macs[-1]) == found["dearest"]
    expected = {
        "name": "mine",
        "form": "grid",
        "space_size": 12,
        "networks": 6,
        "sampled": None,
        "refused": {
            "depth 11 is not 6n+2 (basic blocks in 3 stages); nearest: 8 or 14": 2,
            "depth 8 is not 9n+2 (bottleneck blocks in 3 stages); nearest: 11": 2,
            "depth 14 is not 9n+2 (bottleneck blocks in 3 stages); nearest: 11 or 20": 2,
        },
        "matched": None,
        "data": study.dataset.source,
        "data_is_here": True,
        "data_missing": None,
        "memory": study.dataset.memory,
        "trials": 6,
        "seeds": 6,
        "epochs": 3,
        "replicate_epochs": 6 * 6 * 3,
        "phases": {"search": {"trials": 6, "seeds": 6, "epochs": 3, "replicate_epochs": 108, "seconds": seconds}},
        "init": None,
        "is_exhaustive": True,
        "cpus_per_trial": 1,
        "gpus_per_trial": 0,
        "concurrency": 1,
        "detectable": {
            "accuracy": 0.9,
            "standard_deviation": round((0.09 / 120) ** 0.5, 5),
            "difference": pytest.approx(0.0492, abs=5e-5),  # 6 and 12 seeds each: tests/test_power.py draws them
            "with_twice_the_seeds": pytest.approx(0.0328, abs=5e-5),
        },
        "estimated_seconds": seconds,
        "warnings": [],
    }
    assert {key: value for key, value in found.items() if key not in ("cheapest", "dearest")} == expected
    assert len(steps) == 5  # of six networks
    assert {step[1:] for step in steps} == {((1, 8, 8), 3, 100, "float32", 4, "cpu", 2)}


def test_check_of_a_sampled_space_says_how_many_it_drew(steps: list[tuple[Any, ...]]) -> None:
    study = Study.from_dict(
        {
            "space": {"search": {"depth": [8, 14], "se_ratio": {"low": 0.1, "high": 0.9}, "width": 4}},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 3},
            "search": {"trials": 5, "sampler": "random", "finalists": {"count": 2, "seeds": 3, "epochs": 7}},
            "resources": {"concurrency": 1},
        }
    )
    found = ressearch.check(study)
    assert (found["form"], found["space_size"], found["networks"], found["is_exhaustive"]) == (
        "search",
        None,
        None,
        False,
    )
    assert found["sampled"] == 1000
    assert found["refused"] == {}
    assert (found["trials"], found["seeds"], found["epochs"]) == (5, 1, 3)
    assert set(found["phases"]) == {"search", "final"}
    assert found["replicate_epochs"] == 5 * 3 + 2 * 3 * 7
    assert found["estimated_seconds"] == pytest.approx(sum(plan["seconds"] for plan in found["phases"].values()))


def test_a_matched_width_says_how_near_its_networks_come(steps: list[tuple[Any, ...]]) -> None:
    study = Study.from_dict(
        {
            "space": {"grid": {"depth": [8, 14, 20], "width": {"match": "macs", "target": "1M", "tolerance": 0.2}}},
            "data": {"name": "synthetic"},
        }
    )
    macs = [cost(one, (1, 8, 8), 3).macs for one in study.search_space.enumerate()]
    found = ressearch.check(study)["matched"]
    assert (found["cost"], found["target"]) == ("macs", 1_000_000)
    assert found["lowest"] == pytest.approx(min(macs) / 1e6 - 1)
    assert found["highest"] == pytest.approx(max(macs) / 1e6 - 1)


def test_a_large_space_is_sampled_by_the_studys_seed() -> None:
    def drawn(seed: int) -> tuple[list[Architecture], bool]:
        space = {"search": {"depths": {"low": 1, "high": 40}, "widths": {"low": 4, "high": 40}}}
        return known_networks(
            Study.from_dict({"space": space, "data": {"name": "synthetic"}, "seed": seed, "search": {"trials": 3}})
        )

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1)[1] is False
    assert len(drawn(1)[0]) == 1000


def test_what_is_left_of_a_small_space_is_drawn_in_an_order_of_the_seed() -> None:
    def order(seed: int) -> list[int]:
        study = Study.from_dict(
            {
                "space": {"search": {"depth": [8, 14], "width": {"low": 4, "high": 14}}},
                "data": {"name": "synthetic"},
                "search": {"trials": 3},
                "seed": seed,
            }
        )
        drawing = Drawing(study, lambda network: True)
        return [params["width"] for params in drawing._remaining() if params["depth"] == 8]

    assert sorted(order(1)) == list(range(4, 15))
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) not in (sorted(order(1)), sorted(order(1), reverse=True))


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (0.25, 1), (1.5, 2), (2, 2)])
def test_steps_are_timed_on_the_threads_of_a_trial(cpus: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(estimate, "epoch_seconds", lambda study, priced, threads: asked.append(threads) or 0.1)
    monkeypatch.setattr(estimate, "trial_resources", lambda study: (cpus, 0.0, 3))
    monkeypatch.setattr(estimate, "require_fit", lambda study, priced, slots: asked.append(slots))
    study = Study.from_dict({"space": GRID, "data": {"name": "synthetic"}, "recipe": {"epochs": 3}})
    found = ressearch.check(study)
    assert asked == [(cpus, 0.0, 3), threads]
    assert found["estimated_seconds"] == 0.6  # 18 epochs of a tenth of a second, three at once
    assert (found["cpus_per_trial"], found["gpus_per_trial"], found["concurrency"]) == (cpus, 0.0, 3)


def test_storage_is_asked_for_and_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(estimate, "require_storage", lambda *given: asked.append(given))
    monkeypatch.setattr(estimate, "epoch_seconds", lambda *given: 0.1)
    file = tmp_path / "mine.yaml"
    file.write_text(f"space: {GRID}\ndata: {{name: synthetic}}\nsearch:\n  storage: sqlite:///{tmp_path}/search.db\n")
    assert ressearch.check(str(file))["name"] == "mine"
    assert asked == [(f"sqlite:///{tmp_path}/search.db", "mine", f"{file}:4: search.storage")]
