"""What a scheduler hears of a resumed study, and how its choices are put on record: written down by stand-ins."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from ressearch.errors import StudyError
from ressearch.search.choices import Choices, put_back
from ressearch.search.replay import Continued, to_result
from ressearch.training.choose import Choice


class Heard(TrialScheduler):
    """A scheduler that writes down what it is told, and stops a trial at an epoch."""

    metric = "val_accuracy"

    def __init__(self, stops: dict[int, int] | None = None) -> None:
        super().__init__()
        self.told: list[tuple[Any, ...]] = []
        self.stops = stops or {}

    @staticmethod
    def number(trial: Any) -> int:
        return int(trial.trial_id.removeprefix("trial-"))

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self.told.append(("add", self.number(trial)))

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self.number(trial)
        self.told.append(("epoch", number, result["epoch"], result["val_accuracy"]))
        return self.STOP if self.stops.get(number) == result["epoch"] else self.CONTINUE

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.told.append(("complete", self.number(trial), result["epoch"]))

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.told.append(("error", self.number(trial)))

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self.told.append(("remove", self.number(trial)))

    def choose_trial_to_run(self, controller: Any) -> Any:
        return controller

    def debug_string(self) -> str:
        return "heard"

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        self.told.append((metric, mode, spec))
        return True


def epoch(number: int, accuracy: float = 0.5) -> dict[str, Any]:
    return {"epoch": number, "training_iteration": number, "val_accuracy": accuracy, "val_loss": 1.0}


def seeds(number: int, *accuracies: float) -> list[dict[str, Any]]:
    return [{"epoch": number, "val_accuracy": one, "val_loss": 2.0 - one} for one in accuracies]


def trial(number: int) -> Any:
    return SimpleNamespace(config={"trial": number})


STATUSES = {0: "completed", 1: "stopped", 2: "interrupted", 3: "failed", 4: "diverged", 5: "running"}
ROWS: dict[int, Any] = {n: {"status": status, "epochs": 2} for n, status in STATUSES.items()}


def test_the_past_is_told_as_tune_told_it() -> None:
    heard = Heard()
    Continued(heard, ROWS, [(number, epoch(at)) for at in (1, 2) for number in ROWS])
    assert heard.told[:6] == [("add", number) for number in ROWS]
    of = {number: [told for told in heard.told[6:] if told[1] == number] for number in ROWS}
    first = {number: ("epoch", number, 1, 0.5) for number in ROWS}
    second = {number: ("epoch", number, 2, 0.5) for number in ROWS}
    assert of == {
        0: [first[0], ("complete", 0, 2)],
        1: [first[1], second[1], ("complete", 1, 2)],
        2: [first[2], second[2]],
        3: [first[3], second[3], ("error", 3)],
        4: [first[4], second[4], ("error", 4)],
        5: [first[5], second[5]],
    }


def test_each_epoch_is_told_once_those_of_a_lost_process_included() -> None:
    heard = Heard()
    going = Continued(heard, {}, [])
    going.on_trial_add(None, trial(7))
    going.on_trial_add(None, trial(7))  # Tune adds it again after a restart
    assert going.on_trial_result(None, trial(7), epoch(1)) == TrialScheduler.CONTINUE
    told = {"results": [seeds(1, 0.2, 0.4), seeds(2, 0.2, 0.6), seeds(3, 0.5, 0.5)], **epoch(3, 0.5)}
    assert going.on_trial_result(None, trial(7), told) == TrialScheduler.CONTINUE
    going.on_trial_complete(None, trial(7), {"results": [seeds(4, 0.3, 0.5), seeds(5, 1, 1)], **epoch(5, 1.0)})
    assert heard.told == [
        ("add", 7),
        ("epoch", 7, 1, 0.5),
        ("epoch", 7, 2, 0.4),
        ("epoch", 7, 3, 0.5),
        ("epoch", 7, 4, 0.4),
        ("complete", 7, 5),
    ]


def test_a_trial_that_was_to_stop_stops_and_is_told_no_more() -> None:
    heard = Heard(stops={7: 2})
    going = Continued(heard, {}, [])
    going.on_trial_add(None, trial(7))
    assert going.on_trial_result(None, trial(7), epoch(1)) == TrialScheduler.CONTINUE
    told = {"results": [seeds(2, 0.5), seeds(3, 0.5)], **epoch(3)}
    assert going.on_trial_result(None, trial(7), told) == TrialScheduler.STOP
    assert going.on_trial_result(None, trial(7), epoch(4)) == TrialScheduler.STOP
    assert heard.told[1:] == [("epoch", 7, 1, 0.5), ("epoch", 7, 2, 0.5)]
    again = Heard(stops={5: 1})
    resumed = Continued(again, {5: ROWS[5]}, [(5, epoch(1)), (5, epoch(2))])
    assert again.told == [("add", 5), ("epoch", 5, 1, 0.5)]
    assert resumed.on_trial_result(None, trial(5), epoch(3)) == TrialScheduler.STOP


def test_an_end_without_a_value_and_a_lost_process_are_errors() -> None:
    heard = Heard()
    going = Continued(heard, {}, [])
    for number in (1, 2):
        going.on_trial_add(None, trial(number))
    going.on_trial_complete(None, trial(1), {"outcome": "failed", "epoch": 3})
    going.on_trial_error(None, trial(2))
    going.on_trial_remove(None, trial(2))
    assert heard.told[2:] == [("error", 1), ("error", 2)]


def test_the_rest_is_passed_on() -> None:
    heard = Heard()
    going = Continued(heard, {}, [])
    assert going.set_search_properties("val_loss", "min", total=3) is True
    assert heard.told == [("val_loss", "min", {"total": 3})]
    controller = object()
    assert going.choose_trial_to_run(controller) is controller
    assert (going.debug_string(), going.__getstate__()) == ("heard", {})


def test_an_epoch_is_the_mean_over_its_seeds() -> None:
    assert to_result(seeds(3, 0.25, 0.75)) == {
        "epoch": 3,
        "training_iteration": 3,
        "val_accuracy": 0.5,
        "val_loss": 1.5,
    }


def test_a_choice_is_written_once_with_its_shape(tmp_path: Path) -> None:
    for place in (str(tmp_path / "a"), f"file://{tmp_path}/b"):
        choices = Choices(place)
        choices.put({"wide": Choice(True, False)})
        choices.put({"wide": Choice(False, True), "deep": Choice(False, True)})
        asked: list[str] = []

        def make(asked: list[str] = asked) -> Choice:
            asked.append("made")
            return Choice(True, True)

        assert choices("wide", make) == Choice(True, False)
        assert choices("deep", make) == Choice(False, True)
        assert choices("new", make) == Choice(True, True)
        assert choices("new", make) == Choice(True, True)
        assert asked == ["made"]
    for place in ("a", "b"):
        files = [json.loads(file.read_text()) for file in (tmp_path / place).iterdir()]
        assert sorted(files, key=lambda one: str(one["shape"])) == [
            {"shape": "deep", "is_grouped": False, "channels_last": True},
            {"shape": "new", "is_grouped": True, "channels_last": True},
            {"shape": "wide", "is_grouped": True, "channels_last": False},
        ]


def test_the_choices_that_a_study_repeats_are_put_back(tmp_path: Path) -> None:
    store: Any = SimpleNamespace(tables=SimpleNamespace(trials={}), directory=tmp_path)
    put_back(store, {"choices": {"one": [True, False], "other": [False, True]}}, str(tmp_path))
    choices = Choices(str(tmp_path))

    def never() -> Choice:
        raise AssertionError

    assert choices("one", never) == Choice(True, False)
    assert choices("other", never) == Choice(False, True)
    put_back(store, {}, str(tmp_path))
    for damaged in ({"one": [True]}, {"one": 3}, ["one"]):
        with pytest.raises(StudyError) as caught:
            put_back(store, {"choices": damaged}, str(tmp_path))
        assert str(caught.value) == f"{tmp_path}/run.json: damaged: choices"


def test_an_epoch_that_was_told_before_stops_nothing() -> None:
    from ray.tune.schedulers import MedianStoppingRule

    scheduler = MedianStoppingRule(time_attr="epoch", metric="val_accuracy", mode="max")
    again = Continued(scheduler, {3: {"status": "running", "epochs": 1}}, [(3, to_result(seeds(1, 0.25, 0.75)))])
    trial: Any = SimpleNamespace(config={"trial": 3})
    assert again.on_trial_result(None, trial, to_result(seeds(1, 0.25, 0.75))) == "CONTINUE"
    assert again.on_trial_result(None, trial, {}) == "CONTINUE"
