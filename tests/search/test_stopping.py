"""How a phase ends early, and what is said of trials on record that hold no recipe."""

from __future__ import annotations

import json
import re
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from ressearch import Study, signals
from ressearch.errors import StudyError
from ressearch.search.advice import warnings_of
from ressearch.search.recorded import answers_of, recipe_of, recipe_values
from ressearch.search.stopping import Asked, Noted
from ressearch.training import Recipe


class Told(Searcher):
    """Proposes what it is given and writes down what it is told."""

    def __init__(self, *proposals: Any) -> None:
        super().__init__(metric="val_loss", mode="min")
        self.proposals, self.told = list(proposals), []

    def suggest(self, trial_id: str) -> Any:
        self.told.append(trial_id)
        return self.proposals.pop(0)

    def on_trial_result(self, trial_id: str, result: Any) -> None:
        self.told.append((trial_id, result))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.told.append((trial_id, result, error))


def store(**statuses: str) -> Any:
    rows = {int(name[1:]): {"status": status} for name, status in statuses.items()}
    return SimpleNamespace(tables=SimpleNamespace(trials=rows))


def test_a_searcher_is_passed_on_and_what_it_said_is_noted() -> None:
    told = Told({"trial": 3}, None, {"trial": 5}, Searcher.FINISHED)
    noted = Noted(told)
    assert (noted.metric, noted.mode) == ("val_loss", "min")
    assert [noted.suggest(name) for name in "abc"] == [{"trial": 3}, None, {"trial": 5}]
    assert noted.proposed == {3, 5}
    assert not noted.is_exhausted
    assert noted.suggest("d") == Searcher.FINISHED
    assert noted.is_exhausted
    noted.on_trial_result("a", {"epoch": 1})
    noted.on_trial_complete("a", {"epoch": 2}, True)
    noted.on_trial_complete("b")
    assert told.told == [*"abcd", ("a", {"epoch": 1}), ("a", {"epoch": 2}, True), ("b", None, False)]
    assert noted.__getstate__() == {}


@pytest.mark.parametrize(
    ("is_exhausted", "on_record", "has_ended"),
    [
        (True, {"t3": "completed", "t5": "stopped"}, True),
        (True, {"t3": "completed", "t5": "running"}, False),
        (True, {"t3": "interrupted", "t5": "failed"}, False),
        (True, {"t3": "completed"}, False),
        (False, {"t3": "completed", "t5": "completed"}, False),
        (True, {"t3": "completed", "t5": "diverged", "t9": "running"}, True),  # of another phase
    ],
)
def test_a_phase_has_ended_when_nothing_is_left_and_all_that_was_proposed_ended(
    is_exhausted: bool, on_record: dict[str, str], has_ended: bool
) -> None:
    noted = Noted(Told({"trial": 3}, {"trial": 5}, Searcher.FINISHED))
    for name in "abc" if is_exhausted else "ab":
        noted.suggest(name)
    assert noted.has_ended(store(**on_record)) is has_ended


def test_a_phase_ends_once_a_signal_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    assert not asked.stop_all()
    monkeypatch.setattr(signals, "asked", lambda: signal.SIGTERM)
    assert asked.stop_all()
    assert asked("any", {}) is False  # no trial by itself


RECIPE = Recipe(epochs=3, lr=0.2)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (None, "what is on record in 'recipe' is no mapping"),
        ("[1]", "what is on record in 'recipe' is no mapping"),
        ("{", "what is on record in 'recipe' is no mapping"),
        ("{}", "what is on record is no recipe: lr is missing or no number"),
        ('{"lr": 0.1}', "what is on record is no recipe: epochs is missing or no number"),
        ('{"lr": "x", "epochs": 1}', "what is on record is no recipe: lr is missing or no number"),
    ],
)
def test_a_trial_whose_recipe_is_none_is_named(recipe: Any, said: str) -> None:
    for read in (recipe_values, recipe_of):
        with pytest.raises(StudyError) as caught:
            read({"trial": 7, "recipe": recipe})
        assert str(caught.value) == f"trial 7: {said}"


def test_a_recipe_on_record_is_read_back_or_its_key_is_named() -> None:
    assert recipe_of({"trial": 7, "recipe": RECIPE.model_dump_json()}) == RECIPE
    spoilt = {**RECIPE.model_dump(mode="json"), "momentum": 7}
    with pytest.raises(StudyError) as caught:
        recipe_of({"trial": 7, "recipe": json.dumps(spoilt)})
    assert str(caught.value) == "trial 7: what is on record is no recipe: momentum"
    spoilt = {**RECIPE.model_dump(mode="json"), "warmup_epochs": 9}
    with pytest.raises(StudyError, match=r"is no recipe: its keys do not go together$"):
        recipe_of({"trial": 7, "recipe": json.dumps(spoilt)})
    assert answers_of({"trial": 1, "answers": '{"depth": 8}'}) == {"depth": 8}
    with pytest.raises(StudyError, match=r"^trial 1: what is on record in 'answers' is no mapping$"):
        answers_of({"trial": 1, "answers": "3"})
    with pytest.raises(StudyError, match=r"^trial None: what is on record in 'answers' is no mapping$"):
        answers_of({})


def advised(**search: Any) -> list[str]:
    """What is advised, without the numbers of lines."""
    found = warnings_of(
        Study.from_dict(
            {
                "space": {"search": {"depth": [8, 14], "width": {"low": 4, "high": 12}}},
                "data": {"name": "synthetic"},
                "recipe": {"schedule": search.pop("schedule", "cosine")},
                "search": {"trials": 6, **search},
            }
        )
    )
    return [re.sub(r"^study:\d+: ", "study: ", one) for one in found]


def test_advice_is_one_line_that_names_its_place() -> None:
    several = {"objective": ["val_accuracy", "macs"], "scheduler": "asha"}
    assert advised(scheduler="asha", schedule="one_cycle") == [
        "study: search.scheduler: asha judges networks by early epochs, and these say little under schedule: "
        "one_cycle, which raises the rate before it lowers it; cosine suits asha better"
    ]
    assert advised(sampler="gp", **several) == [
        "study: search.sampler: gp learns nothing from trials that asha stops: with several objectives only the "
        "last epoch has a value"
    ]
    assert advised(sampler="tpe", **several) == advised(**several) == advised(sampler="gp", scheduler="asha") == []
    assert advised(sampler="gp", objective=["val_accuracy", "macs"]) == []
    assert advised(points=["resnet20-cifar", {"depth": 8}]) == [
        "study: search.points.0: basic-d3.3.3-w16.32.64 is not of this space: it is trained, but tells the sampler "
        "nothing"
    ]


def test_a_point_that_is_too_slow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from ressearch.search import latency

    monkeypatch.setattr(latency, "latency_of", lambda *given: 1.0)
    (said,) = advised(points=[{"depth": 8, "width": 4}], constraints={"max_latency": "5ms"})
    assert said.startswith("study: search.points.0: ")
    assert said.endswith(" takes longer than max_latency and will not be trained")
