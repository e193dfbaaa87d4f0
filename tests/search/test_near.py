"""What a search trains where its sampler proposes what was proposed before, by a sampler that is stubborn."""

from __future__ import annotations

import json
import random
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ressearch import Architecture, Study
from ressearch.search import proposer
from ressearch.search import sampling as module
from ressearch.search.proposer import Proposer
from ressearch.search.sampling import Sampling
from ressearch.spaces.trials import FixedTrial

FIRST = {"depth": 8, "width": 4}


class Stubborn(optuna.samplers.RandomSampler):
    """Proposes the same point again and again, and notes something of it."""

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        study._storage.set_trial_system_attr(trial._trial_id, "nsga2:generation", 3)
        study._storage.set_trial_system_attr(trial._trial_id, "tpe:noted", 4)
        return FIRST[name]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Sampling:
    """A search whose sampler is stubborn and was asked once."""
    study = Study.from_dict(
        {
            "space": {"search": {"depth": [8, 14], "width": {"low": 4, "high": 6}}},
            "data": {"name": "synthetic"},
            "search": {"trials": 6, "sampler": "tpe"},
        }
    )
    made = Sampling(study, lambda architecture: True)
    made.optuna_study.sampler = Stubborn()
    first = made.ask(0)
    assert first is not None
    assert first.columns == {"proposal": 0, "answers": '{"depth": 8, "width": 4}'}
    return made


@pytest.mark.parametrize("fresh_at", [0, 19, 20, 59, None])
def test_one_answer_is_changed_then_two_then_three_twenty_times_each(
    asked: Sampling, monkeypatch: pytest.MonkeyPatch, fresh_at: int | None
) -> None:
    tries: list[int] = []
    chance = random.Random(0)
    trial = asked.optuna_study.ask()
    assert asked.drawing.point(trial) in asked.drawing.seen

    def neighbour(params: Any, distributions: Any, changes: int, given: random.Random) -> FixedTrial:
        assert (params, set(distributions), given) == (FIRST, set(FIRST), chance)
        tries.append(changes)
        return FixedTrial({"depth": 14, "width": 6} if len(tries) - 1 == fresh_at else FIRST)

    monkeypatch.setattr(module, "neighbour", neighbour)
    found = asked._near(trial, chance)
    every = [1] * 20 + [2] * 20 + [3] * 20
    if fresh_at is None:
        assert found is None
        assert tries == every
    else:
        assert found is not None
        assert found.noted.params == {"depth": 14, "width": 6}
        assert tries == every[: fresh_at + 1]


def test_what_is_trained_instead_is_a_trial_of_its_own_and_keeps_what_holds_for_it_too(
    asked: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "neighbour", lambda *given: FixedTrial({"depth": 14, "width": 6}))
    asked.tell(0, "completed", {"val_accuracy": 0.5, "val_loss": 1.0, "epoch": 9})
    proposal = asked.ask(1)
    assert proposal is not None
    assert proposal.columns == {"proposal": 2, "answers": '{"depth": 14, "width": 6}'}
    first, refused, instead = asked.optuna_study.trials
    assert (refused.state, refused.values) == (TrialState.COMPLETE, [0.5])  # what is known of it
    assert refused.user_attrs == {"not_trained": "proposed before"}
    assert (instead.state, instead.user_attrs) == (TrialState.RUNNING, {"trial": 1})
    assert instead.system_attrs == {"nsga2:generation": 3}
    assert first.user_attrs == {"trial": 0}
    assert asked.asked == 2


def test_a_proposal_that_still_trains_is_told_as_failed_and_any_other_network_is_drawn(
    asked: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "neighbour", lambda *given: FixedTrial(FIRST))
    proposals = [asked.ask(number) for number in range(1, 7)]
    assert proposals[-1] is None  # all six are spent
    points = [one.point for one in proposals if one is not None]
    assert len(set(points)) == 5
    refused = [one for one in asked.optuna_study.trials if "not_trained" in one.user_attrs]
    assert [one.state for one in refused] == [TrialState.FAIL] * 6
    assert [one.user_attrs["not_trained"] for one in refused] == ["proposed before"] * 6


def test_a_proposal_that_is_no_network_is_told_so(asked: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.drawing.is_quick = lambda network: network.depth == 14
    monkeypatch.setattr(module, "neighbour", lambda *given: FixedTrial({"depth": 14, "width": 5}))
    proposal = asked.ask(1)
    assert proposal is not None
    assert proposal.point[0].widths[0] == 5
    refused = asked.optuna_study.trials[1]
    assert (refused.state, refused.user_attrs) == (TrialState.FAIL, {"not_trained": "no network, or too dear"})


def test_a_point_to_try_first_that_is_too_slow_or_was_tried_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [Architecture(depths=(depth,) * 3, widths=(4, 8, 16)) for depth in (1, 2, 3)]
    monkeypatch.setattr(proposer, "latency_filter", lambda study: lambda network: network.depths[0] != 1)
    one = Study.from_dict(
        {
            "space": {"search": {"depth": [8, 14], "width": 4}},
            "data": {"name": "synthetic"},
            "search": {
                "trials": 5,
                "points": [one.name for one in (networks[0], networks[2], networks[2], networks[1])],
            },
        }
    )
    asking = Proposer(one)
    configs = [asking.suggest(str(number)) for number in range(3)]
    assert [Architecture.from_dict(config["architecture"]) for config in configs[:2]] == [networks[2], networks[1]]
    assert configs[2] == Proposer.FINISHED
    assert configs[0]["columns"] == {}  # the space does not know it
    assert json.loads(configs[1]["columns"]["answers"]) == {"depth": 14}
