"""What CMA-ES is told again of the generations that have ended, with a stand-in for the optimizer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.study import StudyDirection

from ressearch.search.cmaes import CmaEs

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

RANGES = {"width": IntDistribution(4, 8), "share": FloatDistribution(0.0, 1.0)}


class Optimizer:
    """Two solutions of two numbers are a generation."""

    population_size, dim = 2, 2

    def __init__(self) -> None:
        self.generation = 0
        self.told: list[list[tuple[list[float], float]]] = []

    def tell(self, solutions: Any) -> None:
        self.told.append([(list(x), value) for x, value in solutions])
        self.generation += 1


def ended(generation: int | None, value: float, solution: Any) -> Any:
    attributes = {} if generation is None else {"cmawm:generation": generation, "x_for_tell": solution}
    return SimpleNamespace(system_attrs=attributes, values=[value])


SEARCHED = [
    ended(None, 9.0, None),  # drawn at random, before the first generation
    ended(0, 0.5, [0.1, 0.2]),
    ended(0, 0.6, [0.3]),  # of a space with one range
    ended(0, 0.7, "pickled"),
    ended(1, 0.8, [0.5, 0.6]),
    ended(0, 0.9, [0.7, 0.8]),
    ended(0, 1.0, [0.9, 0.1]),  # asked while the generation was full
    ended(2, 1.1, [0.2, 0.3]),
    ended(1, 1.2, [0.4, 0.5]),
    ended(2, 1.3, [0.6, 0.7]),
]


def retold(trials: list[Any], direction: StudyDirection, startup: int = 1) -> Optimizer | None:
    """What a sampler that was made anew tells its optimizer."""
    made: list[Optimizer] = []
    sampler = CmaEs(0, startup, None)
    study: Any = SimpleNamespace(direction=direction)

    def init(space: Any, towards: StudyDirection) -> Optimizer:
        assert towards == direction
        assert space.bounds.tolist() == [[0.0, 1.0], [0.0, 1.0]]
        assert space.transform({"width": 8, "share": 0.25}).tolist() == pytest.approx([1.0, 0.25])
        made.append(Optimizer())
        return made[-1]

    sampler._get_trials = lambda asked: trials if asked is study else []
    sampler._init_optimizer = init
    sampler._retell(study, RANGES)
    return made[0] if made else None


@pytest.mark.parametrize(("direction", "sign"), [(StudyDirection.MINIMIZE, 1), (StudyDirection.MAXIMIZE, -1)])
def test_each_generation_that_ended_is_told_by_its_first_solutions(direction: StudyDirection, sign: int) -> None:
    optimizer = retold(SEARCHED, direction)
    assert optimizer is not None
    # The last generation is told by the next proposal.
    assert optimizer.told == [
        [([0.1, 0.2], sign * 0.5), ([0.7, 0.8], sign * 0.9)],
        [([0.5, 0.6], sign * 0.8), ([0.4, 0.5], sign * 1.2)],
    ]


def test_a_generation_that_has_not_ended_is_not_told() -> None:
    optimizer = retold(SEARCHED[:5], StudyDirection.MINIMIZE)
    assert optimizer is not None
    assert optimizer.told == []


def test_before_as_many_trials_as_it_starts_with_there_is_no_optimizer() -> None:
    assert retold(SEARCHED[:4], StudyDirection.MINIMIZE, startup=5) is None
    assert retold(SEARCHED[:5], StudyDirection.MINIMIZE, startup=5) is not None


def test_it_is_told_again_where_there_is_no_optimizer_or_the_ranges_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, calls = CmaEs(0, 1, None), [{}][:0]
    monkeypatch.setattr(optuna.samplers.CmaEsSampler, "sample_relative", lambda self, *given: given)
    monkeypatch.setattr(CmaEs, "_retell", lambda self, study, space: calls.append(space))
    study, trial = optuna.create_study(), SimpleNamespace()
    assert sampler.sample_relative(study, trial, RANGES) == (study, trial, RANGES)  # type: ignore[arg-type,comparison-overlap]
    assert calls == [RANGES]
    sampler._kept = Optimizer()  # type: ignore[assignment]
    sampler.sample_relative(study, trial, RANGES)  # type: ignore[arg-type]
    assert calls == [RANGES]
    one = {"width": RANGES["width"]}
    sampler.sample_relative(study, trial, one)  # type: ignore[arg-type]
    assert calls == [RANGES, one]
    assert sampler._kept is None
    sampler.sample_relative(study, trial, {})  # type: ignore[arg-type]
    assert calls == [RANGES, one]


def test_the_optimizer_is_kept_and_nothing_of_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, made = CmaEs(0, 1, None), Optimizer()
    monkeypatch.setattr(optuna.samplers.CmaEsSampler, "_init_optimizer", lambda self, *given: (made, given))
    assert sampler._init_optimizer("space", "towards") == (made, ("space", "towards"))  # type: ignore[arg-type,comparison-overlap]
    assert sampler._restore_optimizer([]) == (made, ("space", "towards"))  # type: ignore[comparison-overlap]
    assert sampler._split_optimizer_str("pickled") == {}
