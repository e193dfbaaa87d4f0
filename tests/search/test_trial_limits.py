"""A trial's time limit, by a clock of our own: it is the trial's alone, whatever its process did before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import clocks
import pytest
import torch

from ressearch import Architecture, Study
from ressearch.search import trial as module
from ressearch.search.trial import TrialSpec, TrialTrainable, checkpoint_name, to_arrays
from ressearch.training import Engine, Recipe

TINY = Architecture(depths=(1,), widths=(4,))


class Clock(clocks.Clock):
    """A clock whose timers say how long they would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 500.0
        self.timers: list[float] = []
        self.cancelled = 0

    def Timer(self, seconds: float, function: Any, arguments: list[Any]) -> Any:
        clock = self
        self.timers.append(seconds)

        class Timer:
            daemon = False

            def start(self) -> None:
                assert self.daemon  # it must not keep a process that has ended

            def cancel(self) -> None:
                clock.cancelled += 1

        return Timer()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    monkeypatch.setattr(module, "time", ticking)
    monkeypatch.setattr(module, "threading", ticking)
    return ticking


def started(tmp_path: Path, **spec: Any) -> TrialTrainable:
    study = Study.from_dict({"space": {"grid": {"depth": 8, "width": 4}}, "data": {"name": "synthetic"}})
    given = {"recipe": Recipe(epochs=9, seeds=1), "threads": torch.get_num_threads(), "classes": 3, **spec}
    one = TrialTrainable.__new__(TrialTrainable)
    config = {"trial": 7, "architecture": TINY.to_dict(), "lr": None}
    one.setup(config, TrialSpec(checkpoints=str(tmp_path), **given), to_arrays(study.splits()))
    return one


def test_the_limit_counts_from_the_trials_own_start(clock: Clock, tmp_path: Path) -> None:
    one = started(tmp_path, time_limit=60.0)
    clock.now += 60
    assert one.step()["epoch"] == 1  # at the limit, not past it
    clock.now += 0.5
    ended = one.step()
    assert (ended["outcome"], ended["reason"]) == ("failed", "over its time limit of 60 s")
    assert ended["done"]
    assert one.reset_config({**one._config, "trial": 8})  # the next trial in the same process begins anew
    clock.now += 59
    assert one.step()["epoch"] == 1
    clock.now += 2
    assert one.step()["reason"] == "over its time limit of 60 s"


def test_without_a_limit_no_trial_is_watched_or_ends(clock: Clock, tmp_path: Path) -> None:
    one = started(tmp_path)
    clock.now += 1e9
    assert one.step()["outcome"] is None
    assert clock.timers == []


def test_an_epoch_may_take_what_is_left_and_ten_seconds(clock: Clock, tmp_path: Path) -> None:
    one = started(tmp_path, time_limit=60.0)
    for passed in (0, 20, 40):
        clock.now = 500.0 + passed
        one.step()
    assert clock.timers == [70.0, 50.0, 30.0]
    assert clock.cancelled == 3


def test_the_watchdog_lets_go_of_an_epoch_that_raised(clock: Clock, tmp_path: Path, monkeypatch: Any) -> None:
    one = started(tmp_path, time_limit=60.0)
    monkeypatch.setattr(Engine, "train_epoch", lambda self: (_ for _ in ()).throw(ValueError("first\nsecond")))
    ended = one.step()
    assert (ended["outcome"], ended["reason"]) == ("failed", "ValueError: first")
    assert clock.cancelled == 1


def test_a_report_says_the_means_over_seeds_of_its_epoch(tmp_path: Path, monkeypatch: Any) -> None:
    one = started(tmp_path, recipe=Recipe(epochs=2, seeds=2))
    train_epoch, scores = Engine.train_epoch, ((0.25, 3.0), (0.75, 1.0))

    def epoch(self: Engine) -> list[Any]:
        return [
            dataclasses.replace(result, val_accuracy=accuracy, val_loss=loss)
            for result, (accuracy, loss) in zip(train_epoch(self), scores, strict=True)
        ]

    monkeypatch.setattr(Engine, "train_epoch", epoch)
    first, second = one.step(), one.step()
    assert (first["epoch"], first["val_accuracy"], first["val_loss"]) == (1, 0.5, 2.0)
    assert (first["outcome"], first["done"], first["test"]) == (None, False, None)
    assert (second["epoch"], second["outcome"], second["done"], second["test"]) == (2, "completed", True, None)
    assert [[result["epoch"] for result in results] for results in first["results"]] == [[1, 1]]
    assert [[result["epoch"] for result in results] for results in second["results"]] == [[2, 2]]
    assert first["device"] == "cpu"


def test_a_finalist_is_scored_on_the_test_part_after_its_last_epoch_alone(tmp_path: Path) -> None:
    splits = Study.from_dict(
        {"space": {"grid": {"depth": 8, "width": 4}}, "data": {"name": "synthetic"}, "recipe": {"seeds": 2}}
    ).splits()
    one = TrialTrainable.__new__(TrialTrainable)
    spec = TrialSpec(Recipe(epochs=2, seeds=2), torch.get_num_threads(), 3, is_final=True)
    one.setup({"trial": 0, "architecture": TINY.to_dict(), "lr": None}, spec, to_arrays(splits, with_test=True))
    assert one.step()["test"] is None
    scored = one.step()["test"]
    assert [set(of_seed) for of_seed in scored] == [{"loss", "accuracy"}] * 2
    rights = [of_seed["accuracy"] * len(splits.test) for of_seed in scored]
    assert rights == pytest.approx([round(right) for right in rights])  # a share of the test part's examples


def test_a_checkpoint_is_named_by_its_trial_and_none_is_where_none_is_kept() -> None:
    assert checkpoint_name(12) == "trial-12.pt"
    assert TrialSpec(Recipe(), 1, 3, checkpoints="s3://bucket/checkpoints").checkpoint(12) == (
        "s3://bucket/checkpoints/trial-12.pt"
    )
    assert TrialSpec(Recipe(), 1, 3).checkpoint(12) is None


@pytest.mark.parametrize(
    ("changed", "goes_on"),
    [
        ({}, True),
        ({"architecture": TINY.replace(widths=(8,)).to_dict()}, False),
        ({"lr": 0.05}, False),
    ],
)
def test_a_checkpoint_of_another_network_or_rate_is_never_loaded(
    tmp_path: Path, changed: dict[str, Any], goes_on: bool
) -> None:
    one = started(tmp_path)
    one.step()
    one.step()
    other = started(tmp_path)
    other.reset_config({**other._config, **changed})
    assert other.step()["epoch"] == (3 if goes_on else 1)


def test_a_checkpoint_of_another_recipe_is_never_loaded(tmp_path: Path) -> None:
    started(tmp_path).step()
    assert started(tmp_path, recipe=Recipe(epochs=9, seeds=1, weight_decay=0.01)).step()["epoch"] == 1
    assert started(tmp_path, recipe=Recipe(epochs=9, seeds=1, weight_decay=0.01)).step()["epoch"] == 2


def test_after_a_restart_the_epochs_that_came_before_are_told_again_once(tmp_path: Path) -> None:
    one = started(tmp_path)
    one.step()
    one.step()
    again = started(tmp_path)
    epochs = [[results[0]["epoch"] for results in again.step()["results"]] for _ in range(2)]
    assert epochs == [[1, 2, 3], [4]]
